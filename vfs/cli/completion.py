"""Shell completion: the command that prints a script, and what bash needs beyond click's."""

from __future__ import annotations

import os
import re
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from vfs.cli.command import COMPLETE_VAR, Command

BASH_SCRIPT = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value == *[/:] ]] && compopt -o nospace
                ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class WholeWordBash(BashComplete):
    """click's completion for bash, for words that hold '@' and ':'.

    bash ends a word at those (COMP_WORDBREAKS), and replaces only what stands behind the last ':'
    or from the last '@' on. So this takes the whole line apart itself, and leaves out of each
    answer what bash keeps.
    """

    source_template = BASH_SCRIPT
    kept = 0  # characters at the front of the word that bash keeps

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one to complete, and that one."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        in_quotes = re.search(r"""(^|\s)["'][^\s]*$""", line) is not None
        if not in_quotes:
            breaks = os.environ.get("COMP_WORDBREAKS", "")
            # '@' is one of readline's rl_special_prefixes: it belongs to what is replaced.
            starts = [incomplete.rfind(char) + (char != "@") for char in "@:=" if char in breaks]
            self.kept = max(0, *starts, 0)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return a line of the answer, with what the shell would take apart escaped."""
        value = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", item.value[self.kept :])
        return f"{item.type},{value}"


@click.command(
    cls=Command,
    examples=(
        ("bash, in ~/.bashrc", 'eval "$(vfs completion bash)"'),
        ("zsh, in ~/.zshrc behind compinit", 'eval "$(vfs completion zsh)"'),
        ("fish", "vfs completion fish > ~/.config/fish/completions/vfs.fish"),
    ),
)
@click.argument(
    "shell", type=click.Choice(["bash", "zsh", "fish"]), help="The shell to complete in."
)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script.

    With it, TAB completes commands, options, data sets, revisions behind '@' and paths behind ':',
    from the store that VFS_STORE or --store names.
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "vfs", COMPLETE_VAR).source(), nl=False)
