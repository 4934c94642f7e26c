"""What is known of each object that a store had at one moment: a byte, found by the object's id.

Nine bytes an object, so that 100 million fit into a gigabyte. An object is known by the first 8
bytes of its id; of two that share them (which somebody would have to aim for) both count as marked
when one is, so that nothing is ever taken for less than it is.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES

LIVE: Final = 1
TREE: Final = 2  # it was read as a tree node
BLOB: Final = 4  # it was read as a blob node

_PREFIX_BYTES: Final = 8
_AT_ONCE: Final = 1 << 16


class Marks:
    """A set of marks for each object. For one thread."""

    def __init__(self, ids: Iterable[bytes | memoryview]) -> None:
        """*ids* of all objects, ascending. Raises CorruptObject for what is no id."""
        self._prefixes = array("Q")
        waiting: list[bytes] = []
        for oid in ids:
            if len(oid) != ID_BYTES:
                raise CorruptObject("the index of objects is damaged: a row has a wrong key")
            waiting.append(bytes(oid[:_PREFIX_BYTES]))
            if len(waiting) == _AT_ONCE:
                self._prefixes.frombytes(b"".join(waiting))
                waiting.clear()
        self._prefixes.frombytes(b"".join(waiting))
        if sys.byteorder == "little":
            self._prefixes.byteswap()
        self._marks = bytearray(len(self._prefixes))
        self._later: set[tuple[int, bytes]] = set()

    def __len__(self) -> int:
        return len(self._prefixes)

    def add(self, oid: bytes, mark: int) -> bool:
        """Mark an object as live, and with *mark*; say whether *mark* is new for it."""
        at = self._find(oid)
        if at is None:
            # Stored since. Of chunks there is nothing to remember: nobody removes them.
            if mark == LIVE or (mark, oid) in self._later:
                return False
            self._later.add((mark, oid))
            return True
        before = self._marks[at]
        self._marks[at] = before | mark | LIVE
        return not before & mark

    def is_garbage(self, oid: bytes) -> bool:
        """Say whether an object was there and is not marked."""
        at = self._find(oid)
        return at is not None and not self._marks[at]

    def has(self, oid: bytes, mark: int) -> bool:
        """Say whether an object has *mark*."""
        at = self._find(oid)
        return (mark, oid) in self._later if at is None else bool(self._marks[at] & mark)

    def _find(self, oid: bytes) -> int | None:
        prefix = int.from_bytes(oid[:_PREFIX_BYTES], "big")
        at = bisect_left(self._prefixes, prefix)
        return at if at < len(self._prefixes) and self._prefixes[at] == prefix else None
