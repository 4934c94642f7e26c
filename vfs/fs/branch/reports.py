"""What can be told of a branch from inside its mount, as text; and committing from there.

All is to be called in a worker thread, when what was written is stored.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.clock import iso
from vfs.errors import InvalidInput, NotFound
from vfs.repo.branches import commit_overlay
from vfs.repo.branchstatus import overlay_status
from vfs.repo.history import entry_or_none
from vfs.repo.repository import Repository
from vfs.repo.treediff import differences

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry

Path = tuple[bytes, ...]

_LOG_COMMITS: Final = 100


def head(branch: Branch) -> bytes:
    """Return the id of the last commit, on a line; nothing where there is none."""
    ref = branch.store.refs.get(branch.data_set, branch.branch)
    return b"" if ref is None else ref.commit.hex().encode() + b"\n"


def log(branch: Branch) -> bytes:
    """Return the last commits, a line each: id, time, author, first line of the message."""
    if not head(branch):
        return b""
    history = Repository(branch.store).log(branch.data_set, branch.branch)
    lines = [
        f"{oid.hex()} {iso(commit.time_ns)} {commit.author}: {commit.message.partition(chr(10))[0]}"
        for oid, commit in islice(history, _LOG_COMMITS)
    ]
    return "".join(line + "\n" for line in lines).encode()


def status(branch: Branch) -> bytes:
    """Return what differs from the last commit, a line each: a letter as git has it, the path."""
    changes = overlay_status(Repository(branch.store), branch.data_set, branch.branch)
    lines = [
        change.letter.encode()
        + b" "
        + (change.old_path + b" -> " if change.old_path is not None else b"")
        + change.path
        + b"\n"
        for change in changes
    ]
    return b"".join(lines)


def changed_below(branch: Branch, path: Path) -> list[Path]:
    """Return what of a path, or below it, differs from the last commit. Raises NotFound."""
    repo = Repository(branch.store)
    whole = b"/".join(path)
    found = []
    for change in overlay_status(repo, branch.data_set, branch.branch):
        for place in (change.path, change.old_path):
            if place is None:
                continue
            if place in (whole, b".") or whole.startswith(place + b"/"):
                return [path]
            if not path or place.startswith(whole + b"/"):
                found.append(tuple(place.split(b"/")))
    if not found:
        ref = branch.store.refs.get(branch.data_set, branch.branch)
        if ref is None:
            raise NotFound(f"nothing was committed to '{branch.data_set}@{branch.branch}' yet")
        repo.entry_at(repo.commit(ref.commit).root, path)
    return found


class Wanted(NamedTuple):
    """What a path is to be: an entry of some version, or nothing."""

    path: Path
    entry: Entry | None
    whole: bool  # with all below; else of a directory its attributes alone


def wanted(branch: Branch, path: Path, version: ObjectId, source: Path) -> list[Wanted]:
    """Return what of a path, or below it, is not what *version* has at *source*, parents first.

    In O(what differs). Raises NotFound where the version does not have it.
    """
    repo = Repository(branch.store)
    entry = repo.entry_at(repo.commit(version).root, source)
    ref = branch.store.refs.get(branch.data_set, branch.branch)
    root = None if ref is None else repo.commit(ref.commit).root
    was = None if root is None else entry_or_none(repo.nodes, root, path)
    if was is None:
        return [Wanted(path, entry, whole=True)]
    found = {}
    for change in differences(repo.nodes, was, entry, b"/".join(path)):
        here = tuple(change.path.split(b"/")) if change.path else ()
        whole = change.kind != "modified" or not change.is_dir
        found[here] = Wanted(here, change.new, whole)
    for here in changed_below(branch, path):
        there = entry_or_none(repo.nodes, entry, here[len(path) :])
        found[here] = Wanted(here, there, whole=True)
    return [found[here] for here in sorted(found)]


def commit(branch: Branch, message: str, seq: int) -> None:
    """Commit what is stored; *seq* as `commit_overlay` has it. Raises InvalidInput."""
    if not message:
        raise InvalidInput("a commit needs a message")
    repo = Repository(branch.store)
    commit_overlay(repo, branch.data_set, branch.branch, message=message, seq=seq)
