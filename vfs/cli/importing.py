"""The command import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, pass_settings, warn
from vfs.cli.progress import progress
from vfs.cli.targets import TargetType
from vfs.model.names import DEFAULT_BRANCH

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.repo.importer import ImportResult, Problem
    from vfs.repo.repository import Repository


@click.command(
    name="import",
    cls=Command,
    examples=(
        ("A directory becomes the data set's newest version", "vfs import ./release data -m '1.0'"),
        ("The version also gets the tag v3", "vfs import ./release data -m 'Third' --tag v3"),
        (
            "A tar archive, compressed or not, without unpacking it",
            "vfs import data-2.tar.gz data -m 'Second release'",
        ),
        (
            "A tar archive from a pipe",
            "curl -L https://example.org/data.tar.zst | vfs import - data -m 'From the web'",
        ),
        ("One directory of a branch only", "vfs import ./labels data@fix:labels -m 'New labels'"),
        ("A new data set at once", "vfs import --create ./images images -m 'First'"),
    ),
)
@click.argument(
    "source",
    metavar="SRC",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
    help="A directory, a tar archive, or any other file; - is a tar archive from standard input. A "
    "pipe with a name, such as <(...), takes --format tar.",
)
@click.argument(
    "target",
    metavar="DATASET[@BRANCH][:PATH]",
    type=TargetType(path=True),
    help="Where to. The branch is main where none is named. With a PATH, only what is there is "
    "replaced, else the whole content.",
)
@click.option("-m", "--message", metavar="TEXT", required=True, help="What this version is.")
@click.option("--tag", metavar="NAME", help="Tag the new version.")
@click.option("--author", metavar="TEXT", help="Who made it. [default: you, on this machine]")
@click.option(
    "--checksum",
    is_flag=True,
    help="Read all files. Without it, files with the size, times and inode number that they had at "
    "the last import are not read again.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Commit even if files can't be read or change while they are read; those are left out and "
    "listed. Without it, nothing is committed then.",
)
@click.option(
    "--allow-erased",
    is_flag=True,
    help="Store contents again that 'vfs erase' erased; all versions that had them show them again."
    " Without it, such files are refused.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["auto", "dir", "tar", "file"]),
    default="auto",
    show_default=True,
    help="What SRC is; file stores an archive as it is.",
)
@click.option(
    "--jobs", metavar="N", type=click.IntRange(min=1), help="Threads. [default: one per core]"
)
@click.option(
    "--create",
    is_flag=True,
    help="Make the data set if it is not there. If the import fails, it stays, empty.",
)
@json_option
@pass_settings
def import_(
    settings: Settings,
    /,
    source: Path,
    target: Target,
    create: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Import files as a new version.

    The new version holds what SRC holds: directories, files with their holes, symbolic and hard
    links, devices, fifos, with modes, owners, times to the nanosecond, extended attributes and
    ACLs. What the store has already, from any version of any data set, is not stored again. Where
    nothing differs from the newest version, no new one is made.

    It appears all at once at the end. An import that is interrupted leaves no trace in any version;
    the next one uses what was already stored. Ctrl-C is safe at any time.

    JSON: data_set, branch, commit, changed, files, directories, bytes, bytes_read (what had to be
    read), new_stored_bytes (what the store grew by), seconds, problem_count, and two lists of path
    and reason: problems (what could not be imported, with --partial), notes (what was left out on
    purpose).
    """
    stdin = str(source) == "-"
    if stdin and sys.stdin.isatty():
        raise click.UsageError("SRC - reads a tar archive from standard input, which is a terminal")
    with settings.repository() as repo:
        if create and target.data_set not in repo.data_sets():
            repo.create_data_set(target.data_set)
        result = _run(repo, source, stdin, target, options)
        _write_problems(result)
        if as_json:
            output.write_json(_record(target, result))
        else:
            _write(target, result, tag=options["tag"])


def _run(
    repo: Repository, source: Path, stdin: bool, target: Target, options: dict[str, Any]
) -> ImportResult:
    from vfs.repo.importer import ImportOptions, import_source

    format_: Literal["auto", "dir", "tar", "file"] = options.pop("format_")
    import_options = ImportOptions(format=format_, command=("vfs", *sys.argv[1:]), **options)
    origin = sys.stdin.buffer if stdin else source
    try:
        with progress() as shown:
            return import_source(repo, origin, target, import_options, shown)
    except KeyboardInterrupt:
        raise click.Abort("the same import, started again, uses what is stored already") from None


def _write_problems(result: ImportResult) -> None:
    for problem in (*result.notes, *result.problems):
        warn(f"left out: {output.path_text(problem.path) or '.'}: {problem.reason}")
    if result.problem_count > len(result.problems):
        warn(f"left out: {result.problem_count - len(result.problems):,} more")


def _version(target: Target) -> str:
    return f"{target.data_set}@{target.revision or DEFAULT_BRANCH}"


def _write(target: Target, result: ImportResult, *, tag: str | None) -> None:
    short = result.commit.hex()[: output.ID_DIGITS]
    held = f"{output.plural(result.files, 'file')}, {output.size(result.bytes)}"
    took = output.seconds(result.seconds)
    tagged = f", tag {tag}" if tag else ""
    if not result.changed:
        click.echo(f"nothing changed: {_version(target)} is still {short}{tagged} ({held}; {took})")
        return
    read, new = output.size(result.bytes_read), output.size(result.new_stored_bytes)
    click.echo(
        f"{_version(target)} is now {short}{tagged}: {held}; read {read}, newly stored {new}; "
        f"{took}, {_rate(result)}"
    )


def _rate(result: ImportResult) -> str:
    seconds = max(result.seconds, 1e-6)
    if not result.bytes:
        return f"{result.files / seconds:,.0f} files/s"
    return f"{output.size(result.bytes / seconds)}/s"


def _record(target: Target, result: ImportResult) -> dict[str, Any]:
    return {
        "data_set": target.data_set,
        "branch": target.revision or DEFAULT_BRANCH,
        "commit": result.commit.hex(),
        "changed": result.changed,
        "files": result.files,
        "directories": result.directories,
        "bytes": result.bytes,
        "bytes_read": result.bytes_read,
        "new_stored_bytes": result.new_stored_bytes,
        "seconds": round(result.seconds, 3),
        "problem_count": result.problem_count,
        "problems": _problems(result.problems),
        "notes": _problems(result.notes),
    }


def _problems(problems: tuple[Problem, ...]) -> list[dict[str, str]]:
    return [{**output.text_fields("path", p.path), "reason": p.reason} for p in problems]
