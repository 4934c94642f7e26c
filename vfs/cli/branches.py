"""Commands about what a branch holds and has not committed: commit, status, discard."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.targets import EntryPathType, branch_argument
from vfs.model.names import DEFAULT_BRANCH

if TYPE_CHECKING:
    from vfs.model.commit import Commit
    from vfs.model.names import Target
    from vfs.repo.branchstatus import Change
    from vfs.repo.repository import CommitResult, Repository
    from vfs.repo.treepaths import Path


def _branch(target: Target) -> tuple[str, str]:
    return target.data_set, target.revision or DEFAULT_BRANCH


def store_what_is_served(settings: Settings, target: Target) -> int | None:
    """Have what is in the memory of a mounted branch stored, so that the store has all of it.

    Returns what `commit_overlay` takes as *seq*; None where the branch is not mounted.
    """
    from vfs.daemon.branches import checkpoint

    return checkpoint(settings.store, *_branch(target))


@click.command(
    cls=Command,
    examples=(
        ("Make a version of what is in the mounted branch main", "vfs commit data -m 'New labels'"),
        ("Of another branch, in somebody else's name", "vfs commit data@fix -m Fix --author Ada"),
        ("The new version's id, in a script", "vfs commit data -m Nightly --json | jq -r .commit"),
        ("From inside the mount, without vfs", "echo 'New labels' > /mnt/data@main/.vfs/commit"),
    ),
)
@branch_argument
@click.option("-m", "--message", metavar="TEXT", required=True, help="What this version is.")
@click.option(
    "--author",
    metavar="TEXT",
    help="Who made it. [default: $VFS_AUTHOR, git's user, or you on this machine]",
)
@click.option("--allow-empty", is_flag=True, help="Make a version even where nothing changed.")
@json_option
@pass_settings
def commit(
    settings: Settings,
    /,
    target: Target,
    message: str,
    author: str | None,
    allow_empty: bool,
    as_json: bool,
) -> None:
    """Make a version of a branch as it is now.

    The new version holds every write to the branch that was finished before. It appears all at
    once. Programs go on writing meanwhile, and their files stay open: what they write later
    belongs to the next version. It takes as long as there is much that changed, whatever the size
    of the branch. Where nothing changed, no version is made.

    JSON: data_set, branch, commit, changed, files, directories, bytes (all that the version holds),
    seconds.
    """
    from vfs.repo.branches import commit_overlay

    begun = time.monotonic()
    seq = store_what_is_served(settings, target)
    with settings.repository(cached=True) as repo:
        done = commit_overlay(
            repo,
            *_branch(target),
            seq=seq,
            message=message,
            author=author,
            allow_empty=allow_empty,
            provenance={"command": ["vfs", *sys.argv[1:]]},
        )
        _report(target, done, repo.commit(done.commit), time.monotonic() - begun, as_json=as_json)


def _report(
    target: Target, done: CommitResult, record: Commit, seconds: float, *, as_json: bool
) -> None:
    from vfs.model.entry import directory_totals

    totals = directory_totals(record.root)
    data_set, branch = _branch(target)
    if as_json:
        output.write_json(
            {
                "data_set": data_set,
                "branch": branch,
                "commit": done.commit.hex(),
                "changed": done.changed,
                "files": totals.files,
                "directories": totals.dirs,
                "bytes": totals.bytes,
                "seconds": round(seconds, 3),
            }
        )
        return
    short = done.commit.hex()[: output.ID_DIGITS]
    if not done.changed:
        click.echo(f"nothing changed: {data_set}@{branch} is still {short}")
        return
    held = f"{output.plural(totals.files, 'file')}, {output.size(totals.bytes)}"
    click.echo(f"{data_set}@{branch} is now {short}: {held}; {output.seconds(seconds)}")


@click.command(
    cls=Command,
    examples=(
        ("What a commit of the branch main would change", "vfs status data"),
        ("Only what was deleted", "vfs status data@fix | grep ^D"),
        (
            "How much there is to commit, in a script",
            "vfs status data --json | jq '.changes | length'",
        ),
    ),
)
@branch_argument
@json_option
@pass_settings
def status(settings: Settings, /, target: Target, as_json: bool) -> None:
    """Show what changed in a branch.

    These are the changes since its last version, which the next commit will hold. A line for each
    path: A added, M modified, D deleted, R renamed (old -> new), RM renamed and modified, T of
    another type than it was. A directory has a / at its end, and is modified if its owner,
    permissions or attributes changed. One that was renamed or deleted is one line, whatever it
    holds. Paths are written as they are to a pipe, and with escapes to a terminal.

    JSON: data_set, branch, commit (the last version, or null), and changes, a list of path, kind,
    directory, old_path (where it was renamed), modified.
    """
    from vfs.repo.branchstatus import overlay_status

    store_what_is_served(settings, target)
    with settings.repository(readonly=True, cached=True) as repo:
        data_set, branch = _branch(target)
        ref = repo.branch_to_commit_to(data_set, branch)
        changes = overlay_status(repo, data_set, branch)
    if as_json:
        output.write_json(
            {
                "data_set": data_set,
                "branch": branch,
                "commit": None if ref is None else ref.commit.hex(),
                "changes": [_change_record(change) for change in changes],
            }
        )
        return
    output.write_lines(_line(change) for change in changes)
    since = "it has no version yet"
    if ref is not None:
        since = f"the last version is {ref.commit.hex()[: output.ID_DIGITS]}"
    note(f"{data_set}@{branch}: {_summary(changes)}; {since}")


def _line(change: Change) -> bytes:
    slash = b"/" if change.is_dir else b""
    path = output.name_bytes(change.path) + slash
    if change.old_path is not None:
        path = output.name_bytes(change.old_path) + slash + b" -> " + path
    letters = change.letter + ("M" if change.modified else "")
    return letters.ljust(3).encode() + path


def _summary(changes: list[Change]) -> str:
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())) or "no changes"


def _change_record(change: Change) -> dict[str, Any]:
    record: dict[str, Any] = {
        **output.text_fields("path", change.path),
        "kind": change.kind,
        "directory": change.is_dir,
    }
    if change.old_path is not None:
        record |= {**output.text_fields("old_path", change.old_path), "modified": change.modified}
    return record


@click.command(
    cls=Command,
    examples=(
        ("Give up all that changed in the branch main", "vfs discard data"),
        ("Give up one file and all of a directory", "vfs discard data@fix labels.csv images/new"),
        ("Without a question, in a script", "vfs discard data --yes"),
    ),
)
@branch_argument
@click.argument(
    "paths",
    metavar="[PATH]...",
    nargs=-1,
    type=EntryPathType(),
    help="What to make again as it is in the last version, from the branch's root, with all below. "
    "Without one: everything.",
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask, on a terminal.")
@pass_settings
def discard(settings: Settings, /, target: Target, paths: tuple[Path, ...], yes: bool) -> None:
    """Give up what changed in a branch.

    What was modified or deleted is again as it is in the last version, what was added is gone for
    good. Of what was renamed, either path brings back the old one. A mounted branch shows it at
    once; where everything is given up, files that are open there become stale.
    """
    from vfs.repo.branchstatus import overlay_status

    store_what_is_served(settings, target)
    with settings.repository(cached=True) as repo:
        paths = () if () in paths else paths
        changes = _affected(overlay_status(repo, *_branch(target)), paths)
        what = f"{output.plural(len(changes), 'change')} of {'@'.join(_branch(target))}"
        if changes and not yes and _is_asked():
            output.write_lines(_line(change) for change in changes)
            click.confirm(f"give up {what}?", abort=True, err=True)
        if changes or not paths:
            _discard(settings, repo, target, _restored(changes, paths))
    click.echo(f"gave up {what}")


def _is_asked() -> bool:
    """Say whether there is somebody to ask."""
    return sys.stdin.isatty()


def _affected(changes: list[Change], paths: tuple[Path, ...]) -> list[Change]:
    """Return the changes at *paths* and below, or all. Raises NotFound where a path has none."""
    if not paths:
        return changes
    from vfs.errors import NotFound

    for path in paths:
        if not any(_is_below(end, [path]) for change in changes for end in _ends(change)):
            raise NotFound(f"nothing changed at '{output.path_text(b'/'.join(path))}'")
    return [change for change in changes if any(_is_below(end, paths) for end in _ends(change))]


def _restored(changes: list[Change], paths: tuple[Path, ...]) -> list[Path]:
    """Return *paths*, and where else is or was what was renamed there."""
    if not paths:
        return []
    ends = (end for change in changes if change.old_path is not None for end in _ends(change))
    return [*paths, *(end for end in ends if not _is_below(end, paths))]


def _ends(change: Change) -> list[Path]:
    """Return the paths that a change is about."""
    both = (change.path, change.old_path)
    return [tuple(path.split(b"/")) for path in both if path is not None]


def _is_below(path: Path, tops: Sequence[Path]) -> bool:
    return any(path[: len(top)] == top for top in tops)


def _discard(settings: Settings, repo: Repository, target: Target, paths: list[Path]) -> None:
    from vfs.daemon import branches, owners

    data_set, branch = _branch(target)
    if branches.discard(settings.store, data_set, branch, paths):
        return
    with owners.owned(settings.store, data_set, branch, "(vfs discard)"):
        if not paths:
            repo.store.overlays.discard(data_set, branch)
            repo.store.overlays.sweep()
            return
        from vfs.fs.branch.branch import Branch

        opened = Branch(repo.store, data_set, branch)
        try:
            for path in paths:
                opened.restore(path)
            checkpoint = opened.begin_checkpoint()
            if checkpoint is not None:
                opened.store_checkpoint(checkpoint)
                opened.end_checkpoint(checkpoint)
        finally:
            opened.close()
