"""The hub: one mount with every revision of every data set. Its top directory alone changes."""

from __future__ import annotations

import logging
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from vfs.errors import InvalidName, NoData, NotFound
from vfs.fs.attrs import FOREVER, Attr
from vfs.fs.nodes import LINK_RANK, ROOT, is_position, position, split_position
from vfs.fs.past import Subject
from vfs.fs.snapshot import Snapshots, open_shown
from vfs.model.names import DEFAULT_BRANCH, SEPARATOR
from vfs.repo.differences import Differences, difference_name
from vfs.repo.repository import Repository
from vfs.store.refrows import Ref
from vfs.store.shown import ShownSlots
from vfs.sync.ondemand import Patience

log = logging.getLogger(__name__)

NAMES_TIMEOUT: Final = 0.5
"""Seconds that a name in the top directory may be kept: new versions show within 1 s."""

_DOTS: Final = 2


class Hub(Snapshots):
    """The top directory, and below it all snapshots."""

    _top_mode = 0o555

    def __init__(self, repo: Repository, shown: ShownSlots | None = None) -> None:
        super().__init__(repo, shown)
        self._refs: list[Ref] = []
        self._refs_slot = -1
        self._differences = Differences(repo.store)

    def lookup(self, parent: int, name: bytes) -> Attr:
        if parent != ROOT:
            if name == b".." and is_position(parent) and self.directory(parent).rank == 0:
                return self._top()
            if name == b"." and _is_link(parent):
                return self.getattr(parent)
            return super().lookup(parent, name)
        if name in (b".", b".."):
            return self._top()
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError:
            raise NotFound(f"there is no {name!r}") from None
        data_set, at, revision = text.partition("@")
        try:
            if SEPARATOR in revision:
                return self._root(self._difference(data_set, revision))
            found = self.repo.resolve(data_set, revision if at else DEFAULT_BRANCH)
        except InvalidName as error:
            raise NotFound(str(error)) from None
        if (at and not revision) or (not at and found.kind != "branch"):
            raise NotFound(f"there is no {name!r}")
        if found.kind == "link" or not at:
            return self._link(found.slot)
        return self._root(found.slot)

    def negative_timeout(self, parent: int) -> float:
        return 0 if parent == ROOT else FOREVER

    def keeps_listing(self, node: int) -> bool:
        return node != ROOT

    def getattr(self, node: int, pid: int = 0) -> Attr:
        if node == ROOT:
            return self._top()
        if _is_link(node):
            return self._link(split_position(node)[0])
        return super().getattr(node, pid)

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        if node != ROOT:
            yield from super().readdir(node, offset)
            return
        if offset < 1:
            yield b".", self._top(), 1
        if offset < _DOTS:
            yield b"..", self._top(), _DOTS
        # In the order of slots, which are the offsets: a version that is made meanwhile comes
        # behind those listed, and none is left out.
        refs = self._refs_by_slot()
        first = bisect_right(refs, offset - _DOTS, key=lambda ref: ref.slot)
        for ref in islice(refs, first, None):
            name = f"{ref.data_set}@{ref.name}".encode("ascii")
            yield name, self._listed(ref), ref.slot + _DOTS

    def readlink(self, node: int) -> bytes:
        if _is_link(node):
            return self._link_target(split_position(node)[0])
        return super().readlink(node)

    def listxattr(self, node: int) -> list[bytes]:
        return [] if node == ROOT or _is_link(node) else super().listxattr(node)

    def _xattrs(self, node: int) -> tuple[tuple[bytes, bytes], ...]:
        return () if node == ROOT or _is_link(node) else super()._xattrs(node)

    def _subject(self, node: int) -> Subject:
        if node == ROOT or _is_link(node):
            raise NoData("a name is in no version")
        return super()._subject(node)

    def _top(self) -> Attr:
        refs = self._refs_by_slot()
        changed_ns = max((ref.time_ns for ref in refs), default=0)
        mode = stat.S_IFDIR | self._top_mode
        uid, gid, timeout = os.getuid(), os.getgid(), NAMES_TIMEOUT
        nlink = 2 + len(refs)
        return Attr(ROOT, ROOT, mode, nlink, uid, gid, 0, 4096, 8, changed_ns, timeout, timeout)

    def _root(self, slot: int) -> Attr:
        attr = self._attr(self.root(slot))
        return attr._replace(entry_timeout=NAMES_TIMEOUT)

    def _difference(self, data_set: str, revision: str) -> int:
        """Return the slot of what differs between two revisions. Raises NotFound, InvalidName."""
        ends = revision.partition(SEPARATOR)[0::2]
        old, new = (self.repo.resolve(data_set, end or DEFAULT_BRANCH).commit for end in ends)
        slot = self._differences.find(data_set, old, new)
        if slot is None:
            self._make_difference(f"{data_set}@{difference_name(old, new)}")
            slot = self._differences.find(data_set, old, new)
        if slot is None:
            raise NotFound(f"there is no '{data_set}@{revision}'")
        return slot

    def _make_difference(self, name: str) -> None:
        """Have it made by a process that may write. Raises VfsError."""
        log.warning("%s is not shown: this mount is read-only, and nobody has made it yet", name)

    def _refs_by_slot(self) -> list[Ref]:
        """Return all references by their slots. Each change of one takes a slot."""
        newest = self.repo.store.refs.newest_slot()
        if newest != self._refs_slot:
            self._refs = sorted(self.repo.all_refs(), key=lambda ref: ref.slot)
            self._refs_slot = newest
        return self._refs

    def _listed(self, ref: Ref) -> Attr:
        """Return what a listing says of a root: its name and that it is a directory.

        Nothing of it is kept, so whoever uses the name looks it up. Listing 5,000 names so reads no
        commit, and a damaged one does not hide the others.
        """
        node = position(ref.slot, 0)
        mode = stat.S_IFDIR | 0o755
        return Attr(node, node, mode, 2, 0, 0, 0, 0, 0, ref.time_ns, 0, 0)

    def _link(self, slot: int) -> Attr:
        node = position(slot, LINK_RANK)
        size = len(self._link_target(slot))
        mode = stat.S_IFLNK | 0o777
        changed_ns = self.repo.commit(self.slot(slot).commit).time_ns
        uid, gid = os.getuid(), os.getgid()
        return Attr(node, node, mode, 1, uid, gid, 0, size, 0, changed_ns, NAMES_TIMEOUT, FOREVER)

    def _link_target(self, slot: int) -> bytes:
        target = self.slot(slot)
        return f"{target.data_set}@{target.name}".encode("ascii")


def _is_link(node: int) -> bool:
    return is_position(node) and split_position(node)[1] == LINK_RANK


def open_hub(store: Path, shown: ShownSlots | None = None, patience: Patience | None = None) -> Hub:
    """Open a store, or with *patience* a remote's cache, and return its hub.

    Not to be held over a fork.
    """
    return Hub(open_shown(store, patience), shown)
