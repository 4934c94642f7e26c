"""The command export."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import (
    Command,
    DirectoryType,
    Settings,
    json_option,
    note,
    pass_settings,
    warn,
)
from vfs.cli.progress import progress
from vfs.cli.targets import TargetType

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.model.names import Target
    from vfs.repo.exporter import ExportResult
    from vfs.repo.repository import Repository


@click.command(
    cls=Command,
    examples=(
        ("A version as a directory", "vfs export data@v3 ./release"),
        ("One directory of it", "vfs export data@v3:images/train /scratch/train"),
        ("The newest version, in place of what is there", "vfs export --replace data ./release"),
        (
            "Share what did not change with the last export",
            "vfs export --like ./v3 data@v4 ./v4",
        ),
        ("A tar archive", "vfs export --tar data@v3 | zstd > data-v3.tar.zst"),
        ("To another machine", "vfs export --tar data@v3 | ssh host tar -x -C /data"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="What to export: a version, or a directory of it.",
)
@click.argument(
    "directory",
    metavar="[DIR]",
    required=False,
    type=DirectoryType(),
    help="Where to: a new or empty directory.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="If DIR is there, exchange it for the export at the end, and remove it.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Leave out files whose content is damaged, and list them. Without it, nothing is exported "
    "then.",
)
@click.option(
    "--like",
    metavar="OLD",
    type=DirectoryType(),
    help="Take files that are the same from OLD, an earlier export, by reflink: they share blocks "
    "of the disk until one is written to.",
)
@click.option(
    "--link",
    is_flag=True,
    help="With --like: make hard links. Whoever changes such a file in one of the exports changes "
    "it in ALL of them: for data that nobody writes to.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="With --like: read and hash all that is taken from OLD; disks lose bits.",
)
@click.option("--tar", "as_tar", is_flag=True, help="Write a tar archive to standard output.")
@click.option(
    "--jobs", metavar="N", type=click.IntRange(min=1), help="Threads. [default: one per core]"
)
@json_option
@pass_settings
def export(
    settings: Settings,
    /,
    target: Target,
    directory: Path | None,
    as_tar: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a version to a directory or archive.

    DIR gets all that the version holds: files with their holes, directories, symbolic and hard
    links, devices, fifos and sockets, with modes, owners, times to the nanosecond, extended
    attributes and ACLs. Whoever is not root gets what is allowed, and is told what is not. Of a
    branch it is the last commit.

    DIR appears whole, when all of it is on the disk, or not at all. Until then it is a hidden
    directory beside it, .DIR.vfs-export; what a killed export left there the next one to DIR
    removes. Content is verified as it is read.

    With --like, what an export of any version left in OLD is taken from there if its entry is the
    same in both versions and nothing was done to it since, as its times prove. What looks the same
    without proof, also in a directory that is no export, is read and compared with the hashes of
    the version. All else is written from the store, as are files with several names. Reflinks take
    a file system that has them (XFS, btrfs, bcachefs), and both directories on it; where none can
    be made, all is written. OLD may be DIR, with --replace.

    The archive of a version is the same to the byte whenever, and from whichever store, it is
    written. It is of the pax format; GNU tar takes attributes and ACLs from it with --xattrs
    --xattrs-include='*' --acls. Sockets have no place in an archive. 'vfs import' of it gives the
    same version.

    JSON, not with --tar: files, directories, bytes, taken (files from OLD), seconds, problem_count,
    problems (what was left out: path and reason), lost (what could not be set, and of how many
    files).
    """
    _check(directory, as_tar=as_tar, as_json=as_json, options=options)
    with settings.repository(readonly=True, cached=True) as repo:
        root = _root(repo, target)
        begun = time.monotonic()
        result = _to_tar(repo, root) if directory is None else _run(repo, root, directory, options)
        took = time.monotonic() - begun
    _write_losses(result)
    if not result.can_take:
        kind = "hard links" if options["link"] else "reflinks"
        warn(f"nothing could be shared with {options['like']}: there can be no {kind} between both")
    if as_json:
        output.write_json(_record(result, took))
    else:
        shared = f", {result.taken:,} of them shared" if result.taken else ""
        held = f"{output.plural(result.files, 'file')}{shared}, {output.size(result.size)}"
        note(f"exported {target}: {held}; {output.seconds(took)}, {_rate(result, took)}")


def _check(directory: Path | None, *, as_tar: bool, as_json: bool, options: dict[str, Any]) -> None:
    if not options["like"] and (options["link"] or options["verify"]):
        raise click.UsageError("--link and --verify need --like")
    if not as_tar:
        if directory is None:
            raise click.UsageError("DIR is missing: where to, or --tar for an archive")
        return
    if directory is not None:
        raise click.UsageError("--tar writes to standard output: DIR can't stand here")
    if as_json or any(options.values()):
        raise click.UsageError("--tar takes none of the other options")
    if sys.stdout.isatty():
        raise click.UsageError("--tar writes to standard output, which is a terminal")


def _root(repo: Repository, target: Target) -> Entry:
    """Return the entry to export; say so where a branch has more than its last commit."""
    resolved = repo.resolve(target.data_set, target.revision)
    root = repo.entry_at(repo.commit(resolved.commit).root, target.path)
    if resolved.kind == "branch":
        with repo.store.overlays.snapshot(resolved.data_set, resolved.name) as taken:
            if taken is not None and taken.has_changes():
                name = f"{resolved.data_set}@{resolved.name}"
                warn(f"{name} has changes that are not committed; they are not exported")
    return root


def _run(repo: Repository, root: Entry, directory: Path, options: dict[str, Any]) -> ExportResult:
    from vfs.repo.exporter import ExportOptions, export_directory

    try:
        with progress() as shown:
            return export_directory(repo, root, directory, ExportOptions(**options), shown)
    except KeyboardInterrupt:
        raise click.Abort("nothing was exported") from None


def _to_tar(repo: Repository, root: Entry) -> ExportResult:
    from vfs.repo.exporter import export_tar

    with progress() as shown:
        return export_tar(repo, root, output.write_all, shown)


def _write_losses(result: ExportResult) -> None:
    for problem in result.problems:
        warn(f"left out: {output.path_text(problem.path) or '.'}: {problem.reason}")
    if result.problem_count > len(result.problems):
        warn(f"left out: {result.problem_count - len(result.problems):,} more")
    for what, count in sorted(result.lost.items()):
        warn(f"not set, of {output.plural(count, 'file')}: {what}")


def _rate(result: ExportResult, took: float) -> str:
    seconds = max(took, 1e-6)
    if not result.size:
        return f"{result.files / seconds:,.0f} files/s"
    return f"{output.size(result.size / seconds)}/s"


def _record(result: ExportResult, took: float) -> dict[str, Any]:
    return {
        "files": result.files,
        "directories": result.directories,
        "bytes": result.size,
        "taken": result.taken,
        "seconds": round(took, 3),
        "problem_count": result.problem_count,
        "problems": [
            {**output.text_fields("path", one.path), "reason": one.reason}
            for one in result.problems
        ],
        "lost": dict(sorted(result.lost.items())),
    }
