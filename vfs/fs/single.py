"""One revision mounted alone: the mount's root is the revision's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vfs.fs.attrs import FOREVER, Attr
from vfs.fs.nodes import ROOT, position
from vfs.fs.past import Subject
from vfs.fs.snapshot import Snapshots
from vfs.repo.repository import Repository
from vfs.store.shown import ShownSlots


class SingleRevision(Snapshots):
    """The snapshots of one root, which the kernel calls node 1."""

    def __init__(self, repo: Repository, slot: int, shown: ShownSlots | None = None) -> None:
        super().__init__(repo, shown)
        self._root_node = position(slot, 0)
        self._only = self.slot(slot)

    def lookup(self, parent: int, name: bytes) -> Attr:
        return self._outward(super().lookup(self._inward(parent), name))

    def negative_timeout(self, parent: int) -> float:
        return FOREVER

    def getattr(self, node: int, pid: int = 0) -> Attr:
        return self._outward(super().getattr(self._inward(node), pid))

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        for name, attr, after in super().readdir(self._inward(node), offset):
            yield name, self._outward(attr), after

    def open(self, node: int) -> None:
        super().open(self._inward(node))

    def _xattrs(self, node: int) -> tuple[tuple[bytes, bytes], ...]:
        return super()._xattrs(self._inward(node))

    def _subject(self, node: int) -> Subject:
        return super()._subject(self._inward(node))

    def _inward(self, node: int) -> int:
        return self._root_node if node == ROOT else node

    def _outward(self, attr: Attr) -> Attr:
        if attr.node != self._root_node:
            return attr
        return attr._replace(node=ROOT, number=ROOT)


def open_single(store: Path, slot: int, shown: ShownSlots | None = None) -> SingleRevision:
    """Open a store and return a view of the root in *slot*. Not to be held over a fork."""
    return SingleRevision(Repository.open(store, readonly=True), slot, shown)
