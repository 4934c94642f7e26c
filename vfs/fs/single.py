"""One revision, or a directory of it, mounted alone: the mount's root is its root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vfs.errors import NotADirectory
from vfs.fs.attrs import FOREVER, Attr
from vfs.fs.nodes import ROOT, is_position, position
from vfs.fs.past import Subject
from vfs.fs.reads import Reads
from vfs.fs.snapshot import Snapshots, open_shown
from vfs.repo.repository import Repository
from vfs.repo.treepaths import Path as EntryPath
from vfs.store.shown import ShownSlots
from vfs.sync.ondemand import Patience


class SingleRevision(Snapshots):
    """The snapshots of one root, or of a directory below it, which the kernel calls node 1."""

    def __init__(
        self,
        repo: Repository,
        slot: int,
        shown: ShownSlots | None = None,
        *,
        path: EntryPath = (),
        reads: Reads | None = None,
    ) -> None:
        """*path* leads to the directory. Each file that is opened is noted in *reads*.

        Raises NotFound, NotADirectory.
        """
        super().__init__(repo, shown)
        self._only = self.slot(slot)
        self._reads = reads
        self._root_node = position(slot, 0)
        for name in path:
            node = super().lookup(self._root_node, name).node
            if not is_position(node):
                raise NotADirectory(f"{name!r} is no directory, and can't be mounted")
            self._root_node = node

    @property
    def notes_opens(self) -> bool:
        return self._reads is not None

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
        if self._reads is not None:
            self._reads.note(node)

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


def open_single(
    store: Path,
    slot: int,
    shown: ShownSlots | None = None,
    patience: Patience | None = None,
    *,
    path: EntryPath = (),
    reads_file: Path | None = None,
) -> SingleRevision:
    """Open a store, or with *patience* a remote's cache, and return a view of the root in *slot*.

    With *path*, of what is there in it. Not to be held over a fork. Numbers of files that are
    opened go to *reads_file*.
    """
    reads = None if reads_file is None else Reads(reads_file)
    return SingleRevision(open_shown(store, patience), slot, shown, path=path, reads=reads)
