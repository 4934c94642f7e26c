"""Inodes of a branch, looked at and changed: what names, attributes and open files share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vfs.errors import InvalidInput, NameTooLong, NotFound
from vfs.model.entry import NAME_MAX_BYTES
from vfs.model.overlay import LINKED_INO

if TYPE_CHECKING:
    from vfs.fs.branch.state import State
    from vfs.model.overlay import InodeRow

_COARSE: Final = 5  # CLOCK_REALTIME_COARSE, which the kernel stamps files with


def now_ns() -> int:
    """Return the time as the kernel puts it on files: no time stamp of a file goes backwards."""
    return time.clock_gettime_ns(_COARSE)


class Inodes:
    """Reads and changes inodes."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._users: dict[int, int] = {}  # inode -> open handles
        self.orphans: set[int] = set()  # without a name; somebody may still use them

    def row(self, ino: int) -> InodeRow:
        """Return an inode. Raises StaleHandle."""
        return self.state.row(ino)

    def lookup(self, parent: int, name: bytes) -> tuple[int, InodeRow]:
        """Return the inode behind a name, `.` and `..` included. Raises NotFound."""
        found = self.find(parent, name)
        if found is None:
            raise NotFound(f"there is no {name!r}")
        return found

    def find(self, parent: int, name: bytes) -> tuple[int, InodeRow] | None:
        """Do what `lookup` does; None where there is no such name."""
        if len(name) > NAME_MAX_BYTES:
            raise NameTooLong(f"a name of {len(name)} bytes")
        if name == b".":
            return parent, self.row(parent)
        if name == b"..":
            above = self.row(parent).parent
            return above, self.row(above)
        ino = self.state.find(parent, name)
        return (ino, self.row(ino)) if ino else None

    def readlink(self, ino: int) -> bytes:
        """Return the target of a symlink."""
        target = self.row(ino).target
        if not target:
            raise InvalidInput("not a symlink")
        return target

    def forget(self, inos: Sequence[int]) -> None:
        """Drop inodes that have no name, as the kernel has forgotten them."""
        for ino in self.orphans.intersection(inos):
            if ino not in self._users:
                self.orphans.discard(ino)
                self.state.drop(ino)

    def use(self, ino: int, change: int) -> None:
        """Note that there is a handle of an inode more (1) or less (-1)."""
        users = self._users.get(ino, 0) + change
        if users:
            self._users[ino] = users
        else:
            self._users.pop(ino, None)

    def change(self, ino: int, row: InodeRow) -> InodeRow:
        """Change an inode in a way that a commit holds."""
        if ino & LINKED_INO:
            self.own_links(ino)
        self.state.put(ino, row)
        return row

    def own_links(self, ino: int) -> None:
        """Know all names of an inode that came from the origin with several."""
        state = self.state
        if ino & LINKED_INO and state.row(ino).nlink > 1 and not state.names_of(ino):
            for directory, name in state.origin.names_of_link(ino):
                state.put_link(ino, directory, name, there=True)
