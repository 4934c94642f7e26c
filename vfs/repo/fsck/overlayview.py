"""A branch as its overlay's rows and its origin show it, whatever of both is damaged."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, VfsError
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.repo.fsck.places import place_text
from vfs.repo.origin import Origin
from vfs.store.layout import key_number, number_key

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.model.overlay import InodeRow
    from vfs.repo.fsck.run import Run

_DEPTH_MAX: Final = 4096  # of a path that is told: rows that are damaged may go in circles


class OriginDamaged(Exception):
    """What the origin has there can't be read. It is told with the version that it is."""


class OverlayView:
    """What is where in one overlay. A row that can't be decoded is as good as none."""

    def __init__(self, run: Run, label: str, overlay: int, root: Entry | None) -> None:
        """*label*: the branch, as a user names it; *root* that of its origin."""
        self.rows = run.store.overlays.rows(overlay)
        self._run = run
        self._label = label
        self._head = number_key(overlay)
        self._origin = Origin(run.repo.nodes, root, run.store.numbering)
        self._alive: dict[int, bool] = {ROOT_INO: True}

    def keys(self, table: str) -> Iterator[tuple[bytes, memoryview]]:
        """Yield the overlay's rows of a table: keys without the overlay, and values."""
        for key, value in self._run.store.rows(table, self._head):
            if not key.startswith(self._head):
                return
            yield key[len(self._head) :], value

    def inode(self, ino: int) -> InodeRow | None:
        """Return the row of an inode, or None."""
        try:
            return self.rows.inode(ino)
        except CorruptObject:
            return None  # told when all rows are decoded

    def entry(self, ino: int) -> tuple[Entry, int] | None:
        """Return what the origin knows of an inode, and its directory. Raises OriginDamaged."""
        if not self._origin.is_base(ino):
            return None
        try:
            return self._origin.entry(ino)
        except CorruptObject as error:
            raise OriginDamaged from error
        except VfsError:
            return None

    def mode(self, ino: int) -> int | None:
        """Return the mode of an inode, or None where there is no such inode."""
        row = self.inode(ino)
        if row is not None:
            return row.mode
        found = self.entry(ino)
        return None if found is None else found[0].mode

    def in_origin(self, directory: int, name: bytes) -> int:
        """Return the inode of a name in the origin, or 0. Raises OriginDamaged."""
        if not self._origin.is_base(directory):
            return 0
        try:
            found = self._origin.find(directory, name)
        except CorruptObject as error:
            raise OriginDamaged from error
        except VfsError:
            return 0
        return 0 if found is None else found[0]

    def find(self, directory: int, name: bytes) -> int:
        """Return the inode that a name leads to, or 0."""
        try:
            row = self.rows.name(directory, name)
        except CorruptObject:
            return 0
        return self.in_origin(directory, name) if row is None else row

    def is_alive(self, directory: int) -> bool:
        """Say whether there is a way from the root to a directory."""
        way: dict[int, None] = {}
        here: int | None = directory
        while here is not None and here not in self._alive:
            if here in way:
                here = None  # a circle leads nowhere
                break
            way[here] = None
            here = self._above(here)
        is_alive = here is not None and self._alive[here]
        self._alive.update(dict.fromkeys(way, is_alive))
        return is_alive

    def _above(self, directory: int) -> int | None:
        """Return the directory that has a name of *directory*; None where none has."""
        row = self.inode(directory)
        if row is not None:
            parent, name = row.parent, row.name
            if not row.nlink:
                return None
        else:
            found = self.entry(directory)
            if found is None:
                return None
            parent, name = found[1], found[0].name
        return parent if self.find(parent, name) == directory else None

    def place(self, ino: int, name: bytes = b"") -> str:
        """Return where an inode is, or a name in a directory, as a user would say it."""
        parts = [name] if name else []
        here = ino
        while here != ROOT_INO:
            row = self.inode(here)
            found = None if row is not None else self.entry(here)
            if row is not None and row.nlink and len(parts) < _DEPTH_MAX:
                here, part = row.parent, row.name
            elif found is not None and found[1]:
                here, part = found[1], found[0].name
            elif found is not None and (names := self._names_of_link(here)):
                here, part = names[0]
            else:
                named = next(self._named(here), None)
                if named is None or len(parts) >= _DEPTH_MAX:
                    return self._label
                here, part = named
            parts.append(part)
        return place_text(self._label, b"/".join(reversed(parts)))

    def _named(self, ino: int) -> Iterator[tuple[int, bytes]]:
        """Yield the names that rows give an inode. Reads all of them."""
        target = number_key(ino)
        for key, value in self.keys("overlay_names"):
            if value == target and len(key) > 8:
                yield key_number(key[:8]), key[8:]

    def is_dir(self, ino: int) -> bool:
        """Say whether an inode is a directory; 0 is none."""
        mode = self.mode(ino) if ino else None
        return mode is not None and stat.S_ISDIR(mode)

    def names_in_origin(self, ino: int) -> list[tuple[int, bytes]]:
        """Return all names of an inode in the origin, with their directories."""
        entry = self.entry(ino)
        if entry is None:
            return []
        if ino & LINKED_INO:
            return self._names_of_link(ino)
        return [(entry[1], entry[0].name)]

    def _names_of_link(self, ino: int) -> list[tuple[int, bytes]]:
        try:
            return self._origin.names_of_link(ino)
        except CorruptObject as error:
            raise OriginDamaged from error

    def in_force(self, parent: int, name: bytes) -> bool:
        """Say whether a name of the origin is one of the branch still."""
        return self.rows.name(parent, name) is None and self.is_alive(parent)
