"""What all commands share: global options, the look of help pages and of error lines.

Imported by every start of `vfs`, so it imports click alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from vfs.defaults import default_store

if TYPE_CHECKING:
    from vfs.repo.repository import Repository

Examples: TypeAlias = Sequence[tuple[str, str]]
"""What an example does, and its command line."""

HELP_WIDTH_MAX: Final = 100

COMPLETE_VAR: Final = "_VFS_COMPLETE"
"""The variable with which a shell asks for completions."""


def _store_here() -> Path:
    """Return the store to use where none is named: $VFS_STORE, or that of the mount one is in."""
    if "VFS_STORE" not in os.environ:
        from vfs.mountinfo import mount_of

        with suppress(OSError):  # no /proc
            mount = mount_of(Path())
            if mount is not None and mount.ours:
                return Path(mount.source)
    return default_store()


@dataclass
class Settings:
    """The global options, wherever on the command line they stood."""

    store: Path = field(default_factory=_store_here)
    debug: bool = False

    @contextmanager
    def repository(self, *, readonly: bool = False, cached: bool = False) -> Iterator[Repository]:
        """Open the store's repository, for a with statement.

        *readonly* does not wait for an import to end its transaction. *cached*: the cache of a
        remote will do, which fetches what is read.
        """
        from vfs.cli.opening import open_repository
        from vfs.repo.repository import Repository
        from vfs.store.guard import guarded

        opened = open_repository if cached else Repository.open
        with (
            guarded(self.store, debug=self.debug),
            opened(self.store, readonly=readonly) as repository,
        ):
            yield repository


pass_settings = click.make_pass_decorator(Settings)


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # The same option stands before and behind the command: only the given one acts.
    if value:
        setattr(ctx.ensure_object(Settings), str(param.name), value)


class DirectoryType(click.Path):
    """A directory. The empty string is none: `Path` would take it as the current one."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a `Path`."""
        if not os.fspath(value):
            self.fail("the name of a directory is missing", param, ctx)
        return super().convert(value, param, ctx)


def store_option(*, hidden: bool = False) -> click.Option:
    """Return `--store`; commands have it too, hidden."""
    return click.Option(
        ["--store"],
        type=DirectoryType(),
        expose_value=False,
        is_eager=True,
        callback=_set,
        hidden=hidden,
        help="The store to use, a directory. [default: $VFS_STORE, that of the mount one is in, or "
        "~/.local/share/vfs]",
    )


def debug_option(*, hidden: bool = False) -> click.Option:
    """Return `--debug`; commands have it too, hidden."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set,
        hidden=hidden,
        help="Show the traceback of an error.",
    )


class Formatter(click.HelpFormatter):
    """Help pages with headings and terms that stand out on a terminal."""

    def write_heading(self, heading: str) -> None:
        """Write a heading in bold."""
        self.write(click.style(f"{heading}:", bold=True) + "\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the synopsis."""
        super().write_usage(prog, args, prefix or click.style("Usage:", bold=True) + " ")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write terms and what they mean."""
        styled = [(click.style(term, fg="cyan"), text) for term, text in rows]
        super().write_dl(styled, col_max, col_spacing)


class Context(click.Context):
    """click's context, with this project's help pages."""

    formatter_class = Formatter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_content_width", HELP_WIDTH_MAX)
        super().__init__(*args, **kwargs)

    @staticmethod
    def write_examples(formatter: click.HelpFormatter, examples: Examples) -> None:
        """Write the examples' section; command lines stay unwrapped, to be copied."""
        with formatter.section("Examples"):
            indent = " " * formatter.current_indent
            for what, line in examples:
                formatter.write(f"{indent}{what}:\n")
                formatter.write(f"{indent}  {click.style('$ ' + line, fg='green')}\n")


class Command(click.Command):
    """A command with examples in its help, that takes the global options too."""

    context_class = Context

    def __init__(self, *args: Any, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params += [store_option(hidden=True), debug_option(hidden=True)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the floors below log is shown as lines on standard error."""
        log_lines()
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        Context.write_examples(formatter, self.examples)


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")


def fail(message: str, *, hint: str = "") -> None:
    """Write an error's one line, and its hint, to standard error."""
    click.secho(f"vfs: {_one_line(message)}", err=True, fg="red", color=_color())
    if hint:
        click.secho(f"     {_one_line(hint)}", err=True, dim=True, color=_color())


def warn(message: str) -> None:
    """Write a line about something left undone to standard error."""
    click.secho(f"vfs: {_one_line(message)}", err=True, fg="yellow", color=_color())


def log_lines() -> None:
    """Show what the floors below warn of as lines on standard error."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage())

    logging.basicConfig(handlers=[Lines(logging.WARNING)])


def note(message: str) -> None:
    """Write a line about what happened, which is not the command's output, to standard error."""
    click.secho(_one_line(message), err=True, dim=True, color=_color())


def _color() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def _one_line(text: str) -> str:
    from vfs.cli.output import printable

    return printable(text)
