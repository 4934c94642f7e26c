"""Which files of a mount were opened: their inode numbers, in a file that its workers append to."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NUMBER: Final = struct.Struct("<Q")
_PIECE_BYTES: Final = _NUMBER.size << 16


class Reads:
    """Notes numbers, each once. For one worker; several may share the file.

    An open always comes to a worker, also where the kernel has the pages already. What the store's
    disk has no room for is an error for who opens the file: the list has no gaps.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._noted: set[int] = set()

    def note(self, number: int) -> None:
        """Note that the file *number* was opened. Raises OSError."""
        if number not in self._noted:
            os.write(self._fd, _NUMBER.pack(number))  # so few bytes are written whole, or not
            self._noted.add(number)


def read_numbers(path: Path) -> Iterator[int]:
    """Yield what was noted in a file, as often as there were workers to whom it was new."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield from (number for (number,) in _NUMBER.iter_unpack(piece))
