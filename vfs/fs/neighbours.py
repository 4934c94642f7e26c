"""Which small files are going to be read: those that follow in a directory, if one by one is read.

A worker of a mount sees only some of the requests, and none for what was brought ahead. So what
counts as one after the other is that it goes on, not that nothing is left out.
"""

from __future__ import annotations

from typing import Final

from vfs.ids import ObjectId
from vfs.recent import Recent

FILE_MAX_BYTES: Final = 128 << 10
"""As much as the kernel asks for at once: a larger file it reads ahead by itself."""

BATCH_BYTES: Final = 512 << 10
_FIRST: Final = 4
_MOST: Final = 32
_LEAVES: Final = 16
"""So many directories, or parts of large ones, may be read at once. Who reads at random, among more
than these, is not mistaken for one who goes on."""


class Neighbours:
    """Remembers how far leaves were read. For one thread."""

    def __init__(self) -> None:
        self._runs: Recent[ObjectId, tuple[int, int]] = Recent(_LEAVES)  # reached, and how many
        self._carried = 0  # from the end of a leaf to the beginning of the next

    def after(self, leaf: ObjectId, index: int, length: int) -> range:
        """Return which entries of a leaf of *length* are to be brought, as *index* is read."""
        run = self._runs.get(leaf)
        if run is None:
            number = self._carried if index == 0 else 0
        else:
            reached, before = run
            number = min(max(2 * before, _FIRST), _MOST) if index > reached else 0
        end = min(index + 1 + number, length)
        self._runs.put(leaf, (end - 1, number))
        self._carried = number
        return range(index + 1, end)
