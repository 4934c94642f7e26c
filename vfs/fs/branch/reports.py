"""What can be told of a branch from inside its mount, as text; and committing from there.

All is to be called in a worker thread, when what was written is stored.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from vfs.clock import iso
from vfs.errors import InvalidInput
from vfs.repo.branches import commit_overlay
from vfs.repo.branchstatus import overlay_status
from vfs.repo.repository import Repository

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch

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


def commit(branch: Branch, message: str) -> None:
    """Commit what is stored. Raises InvalidInput for an empty message."""
    if not message:
        raise InvalidInput("a commit needs a message")
    commit_overlay(Repository(branch.store), branch.data_set, branch.branch, message=message)
