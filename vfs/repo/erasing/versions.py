"""All that leads to contents: every version that the store knows, and every branch's overlay."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.ids import ObjectId
from vfs.model.overlay import decode_header
from vfs.repo.branchstate import BranchState
from vfs.store.layout import unpack_slot

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.model.overlay import InodeRow, OverlayHeader
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path
    from vfs.store.held import HeldStore

ID_DIGITS = 12
_ALL_PAGES = 2**51


class Version(NamedTuple):
    """A version, and how to call it."""

    label: str  # data@REVISION
    data_set: str
    commit: ObjectId
    root: Entry


class Uncommitted(NamedTuple):
    """A file that an overlay has a row of."""

    row: InodeRow
    paths: list[Path]  # none for one that is open and has no name
    has_patches: bool


class Branch(NamedTuple):
    """A branch with an overlay."""

    data_set: str
    name: str
    dirty: bool

    @property
    def label(self) -> str:
        """Return what to call it."""
        return f"{self.data_set}@{self.name}"


def all_versions(repo: Repository, store: HeldStore) -> Iterator[Version]:
    """Yield every version: of references, of their logs, and their ancestors.

    Versions of which the commit is gone are none any more.
    """
    seen: set[tuple[str, ObjectId]] = set()
    waiting = deque(_names(repo, store))
    while waiting:
        label, data_set, oid = waiting.popleft()
        if (data_set, oid) in seen or not repo.reader.has(oid):
            continue
        seen.add((data_set, oid))
        commit = repo.commit(oid)
        yield Version(label or f"{data_set}@{oid.hex()[:ID_DIGITS]}", data_set, oid, commit.root)
        waiting += [("", data_set, parent) for parent in commit.parents]


def _names(repo: Repository, store: HeldStore) -> Iterator[tuple[str, str, ObjectId]]:
    for ref in repo.all_refs():
        yield f"{ref.data_set}@{ref.name}", ref.data_set, ref.commit
    for _, value in store.rows("slots"):
        slot = unpack_slot(value)
        yield "", slot.data_set, slot.commit
    for branch, header in _headers(store):
        for oid in (header.origin, header.head):
            if oid is not None:
                yield "", branch.data_set, oid


def _headers(store: HeldStore) -> Iterator[tuple[Branch, OverlayHeader]]:
    for key, value in store.rows("overlays"):
        data_set, _, name = key.decode("ascii").partition("\0")
        header = decode_header(bytes(value))
        yield Branch(data_set, name, header.dirty), header


def overlays(store: HeldStore) -> list[Branch]:
    """Return all branches that have an overlay."""
    return [branch for branch, _ in _headers(store)]


def uncommitted_files(repo: Repository, branch: Branch) -> Iterator[Uncommitted]:
    """Yield the files of which an overlay has a row, committed since or not."""
    with repo.store.overlays.snapshot(branch.data_set, branch.name) as taken:
        if taken is None:
            return
        state = BranchState(repo, taken)
        for ino, row in taken.inodes():
            if stat.S_ISREG(row.mode):
                paths = [
                    (*state.path(directory), name) for directory, name in state.places(ino, row)
                ]
                yield Uncommitted(row, paths, bool(taken.patched_pages(ino, 0, _ALL_PAGES)))
