"""The command `vfs`: the table of its commands, loaded when used, and the one error boundary.

Knows nothing of stores and mounts: `vfs --help` imports click and this, and no more.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import click

import vfs as package
from vfs.cli.command import COMPLETE_VAR, Context, Settings, debug_option, fail, store_option
from vfs.errors import VfsError

EXIT_ERROR: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT and SIGPIPE, as shells report them
EXIT_BROKEN_PIPE: Final = 141


class Lazy(NamedTuple):
    """A command that is not imported yet: where it is, and its line in `vfs --help`."""

    module: str
    attribute: str
    summary: str


# The summaries repeat the commands' first lines, as importing eight modules for them takes longer
# than all the rest of `vfs --help`; a test keeps the two equal.
SECTIONS: Final[Mapping[str, Mapping[str, Lazy]]] = {
    "Start": {
        "init": Lazy("vfs.cli.store", "init", "Make a store."),
        "create": Lazy("vfs.cli.store", "create", "Make data sets."),
    },
    "Put data in": {
        "import": Lazy("vfs.cli.importing", "import_", "Import files as a new version."),
    },
    "Take data out": {
        "export": Lazy("vfs.cli.exporting", "export", "Write a version to a directory or archive."),
    },
    "See it as files": {
        "mount": Lazy("vfs.cli.mounting", "mount", "Show versions as files."),
        "umount": Lazy("vfs.cli.mounting", "umount", "End a mount."),
        "mounts": Lazy("vfs.cli.mounting", "mounts", "List the mounts."),
        "top": Lazy("vfs.cli.measuring", "top", "Show what mounts are doing."),
        "metrics": Lazy("vfs.cli.measuring", "metrics", "Show what mounts have counted."),
        "volume-plugin": Lazy(
            "vfs.cli.volumes", "volume_plugin", "Give Docker and Podman versions as volumes."
        ),
    },
    "Write to it": {
        "status": Lazy("vfs.cli.branches", "status", "Show what changed in a branch."),
        "commit": Lazy("vfs.cli.branches", "commit", "Make a version of a branch as it is now."),
        "discard": Lazy("vfs.cli.branches", "discard", "Give up what changed in a branch."),
    },
    "Bring versions together": {
        "merge": Lazy("vfs.cli.merging", "merge", "Merge a version into a branch."),
        "cherry-pick": Lazy(
            "vfs.cli.merging", "cherry_pick", "Make again on a branch what versions changed."
        ),
        "revert": Lazy("vfs.cli.merging", "revert", "Undo on a branch what versions changed."),
        "restore": Lazy(
            "vfs.cli.restoring", "restore", "Bring paths of a version back into a branch."
        ),
    },
    "Look into it": {
        "log": Lazy("vfs.cli.history", "log", "Show the versions of a data set."),
        "show": Lazy("vfs.cli.show", "show", "Show a version and what it changed, or a file."),
        "diff": Lazy("vfs.cli.diff", "diff", "Show what differs between two versions."),
        "who": Lazy("vfs.cli.show", "who", "Show which version each file is from."),
        "reflog": Lazy("vfs.cli.history", "reflog", "Show how a branch or tag moved."),
        "ls": Lazy("vfs.cli.browse", "ls", "List data sets, or the files of a version."),
        "cat": Lazy("vfs.cli.browse", "cat", "Write the content of files."),
        "stats": Lazy("vfs.cli.store", "stats", "Show what the store holds and saves."),
    },
    "Run on versions": {
        "run": Lazy(
            "vfs.cli.running", "run", "Run a command on versions, and make one of what it writes."
        ),
        "pipeline": Lazy(
            "vfs.cli.pipelines", "pipeline", "Make versions from versions, as these come."
        ),
        "rerun": Lazy("vfs.cli.running", "rerun", "Run again what made a version, and compare."),
        "provenance": Lazy(
            "vfs.cli.provenance",
            "provenance",
            "Show what a version was made from, or what was made from it.",
        ),
    },
    "Name versions": {
        "tag": Lazy("vfs.cli.refs", "tag", "List, make or delete tags."),
        "branch": Lazy("vfs.cli.refs", "branch", "List, make, rename, move or delete branches."),
    },
    "Share it": {
        "remote": Lazy("vfs.cli.remotes", "remote", "List, add or remove remotes."),
        "push": Lazy("vfs.cli.syncing", "push", "Send versions to a remote."),
        "fetch": Lazy("vfs.cli.syncing", "fetch", "Bring versions from a remote."),
        "pull": Lazy("vfs.cli.syncing", "pull", "Fetch, and move branches on."),
        "clone": Lazy("vfs.cli.syncing", "clone", "Make a store from a remote."),
        "prefetch": Lazy(
            "vfs.cli.prefetching", "prefetch", "Fetch a remote's version before it is read."
        ),
    },
    "Keep it sound": {
        "fsck": Lazy("vfs.cli.checking", "fsck", "Check the store, or a remote."),
        "backup": Lazy("vfs.cli.backup", "backup", "Write the whole store into one file."),
        "gc": Lazy("vfs.cli.collecting", "gc", "Remove what no version needs."),
        "retention": Lazy(
            "vfs.cli.collecting",
            "retention",
            "Show or set which versions of a data set keep their content.",
        ),
        "erase": Lazy("vfs.cli.erasing", "erase", "Erase contents from every version."),
        "audit": Lazy("vfs.cli.auditing", "audit", "Show who changed what, and when."),
    },
    "Other": {
        "completion": Lazy("vfs.cli.completion", "completion", "Print a completion script."),
    },
}
COMMANDS: Final = {name: lazy for table in SECTIONS.values() for name, lazy in table.items()}

HELP: Final = """\
Keep versions of data sets and show them as plain files.

A store holds data sets; a data set has commits, branches and tags. One mount shows every version
of every data set side by side, so that ls, diff -r, rsync and any other program can use them.

A version is written data@REVISION, where REVISION is a branch, a tag, a commit id or the beginning
of one, REVISION~n (n versions before), REVISION^n (its n-th parent), {2026-11-23}, {2 weeks ago},
{2026-11-23T10:00Z}, main@{yesterday}, main@{1} (before its last update), or latest; data alone is
data@main. A file in it is data@REVISION:PATH.
"""

EXAMPLES: Final = (
    ("Make a store and a data set in it", "vfs init && vfs create data"),
    ("Import a directory, and call the version v1", "vfs import ./data data -m 'First' --tag v1"),
    ("Show all versions as files", "vfs mount /mnt && ls /mnt/data@v1"),
)

EXIT_CODES: Final = (
    ("0", "It was done."),
    ("1", "It could not be done; one line on standard error says why."),
    ("2", "The command line is wrong."),
    ("130", "Interrupted with Ctrl-C."),
    ("141", "The reader of the output went away, as with | head."),
)

ENVIRONMENT: Final = (
    ("VFS_STORE", "The store, where --store does not name one."),
    ("VFS_AUTHOR", "Who commits, where --author does not say it."),
    ("NO_COLOR", "Not empty: no colours on a terminal."),
)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, as ordered in the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported now; None where there is none."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        command = getattr(importlib.import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one is answered with its near misses."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the name of a command, without importing any."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return [
                CompletionItem(option, help=param.help)
                for param in self.get_params(ctx)
                for option in param.opts
                if option.startswith(incomplete)
            ]
        return [
            CompletionItem(name, help=lazy.summary)
            for name, lazy in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by what they are for."""
        width = max(map(len, COMMANDS))
        for title, table in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(n.ljust(width), lazy.summary) for n, lazy in table.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, exit codes and the environment."""
        assert isinstance(ctx, Context)
        ctx.write_examples(formatter, EXAMPLES)
        for title, rows in (("Exit codes", EXIT_CODES), ("Environment", ENVIRONMENT)):
            with formatter.section(title):
                formatter.write_dl(rows)
        formatter.write_paragraph()
        formatter.write_text(
            "'vfs COMMAND --help' explains a command, with examples. "
            "'vfs completion --help' says how to complete data sets and revisions with TAB."
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and notice here that the reader of the output has gone."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()
            ctx.exit(EXIT_BROKEN_PIPE)
        return result

    def main(  # type: ignore[override]  # never returns: standalone_mode is the only mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> None:
        """Run the command line *args* and exit with its code."""
        settings = Settings()
        extra.pop("standalone_mode", None)
        if COMPLETE_VAR in os.environ:
            importlib.import_module("vfs.cli.completion")  # registers its bash script
        try:
            code = super().main(
                args,
                prog_name or "vfs",
                complete_var=COMPLETE_VAR,
                standalone_mode=False,
                obj=settings,
                color=False if os.environ.get("NO_COLOR") else None,
                **extra,
            )
        except Exception as error:
            if settings.debug and not isinstance(error, (click.ClickException, click.Abort)):
                raise
            code = report(error)
        sys.exit(code if isinstance(code, int) else 0)


def report(error: Exception) -> int:
    """Say on standard error what went wrong, in one line and a hint; return the exit code."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return error.exit_code
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "vfs"
            fail(error.format_message(), hint=f"see '{path} --help'")
            return error.exit_code
        case click.ClickException():
            fail(error.format_message())
            return error.exit_code
        case click.Abort():
            fail("interrupted", hint=str(error))
            return EXIT_INTERRUPTED
        case VfsError():
            fail(str(error), hint=error.hint)
            return error.exit_code
        case OSError() if error.strerror:
            name = f": {os.fsdecode(error.filename)}" if error.filename else ""
            fail(f"{error.strerror}{name}", hint="'vfs --debug ...' shows where it happened")
        case MemoryError():
            fail("there is not enough memory")
        case _:
            fail(
                f"a bug in vfs: {type(error).__name__}: {error}",
                hint="run it again as 'vfs --debug ...' and report what that shows",
            )
    return EXIT_ERROR


def discard_stdout() -> None:
    """Keep the interpreter from complaining at exit about output that nobody reads."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


@click.group(
    name="vfs",
    cls=LazyGroup,
    help=HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    package.__version__, "--version", prog_name="vfs", message="%(prog)s %(version)s"
)
def vfs() -> None:
    """Hold the commands; the options act by their callbacks."""


vfs.params[:0] = [store_option(), debug_option()]


def fill_standard_streams() -> None:
    """Open /dev/null where descriptor 0, 1 or 2 is missing, as after `>&-`.

    The next file that is opened would get that number, and what is printed would go into it: with
    1 it was LMDB's lock file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def main() -> None:
    """Be the program: run this process's command line."""
    fill_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        # A locale that can't show a name must not be able to stop a command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    vfs.main()
