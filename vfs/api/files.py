"""Files of a version as Python's file objects."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfs.model.entry import Entry

    Read = Callable[[Entry, int, int], bytes]

BUFFER_BYTES = 256 * 1024
"""Read ahead by whoever reads in order: a chunk or a few."""


class RawFile(io.RawIOBase):
    """A regular file, to be read at any place. Its bytes never change."""

    def __init__(self, name: str, entry: Entry, read: Read) -> None:
        """*read* returns the bytes of a range of an entry."""
        super().__init__()
        self.name = name
        self.mode = "rb"
        self._entry = entry
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._require_open()
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._require_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._entry.size}
        if whence not in base:
            raise ValueError(f"whence is {whence}, and can be 0, 1 or 2")
        at = base[whence] + offset
        if at < 0:
            raise ValueError(f"{at} is before the beginning of the file")
        self._at = at
        return at

    def readinto(self, buffer: object, /) -> int:
        self._require_open()
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._read(self._entry, self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        self._require_open()
        data = self._read(self._entry, self._at, max(self._entry.size - self._at, 0))
        self._at += len(data)
        return data

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


def as_wanted(
    raw: io.RawIOBase | io.BufferedIOBase, mode: str, encoding: str | None
) -> io.BufferedIOBase | io.TextIOWrapper:
    """Return *raw* with a buffer, and as text unless *mode* has a `b`."""
    buffered = raw
    if isinstance(raw, RawFile):
        buffered = io.BufferedReader(raw, BUFFER_BYTES)
    binary = cast("io.BufferedIOBase", buffered)
    if "b" in mode:
        if encoding is not None:
            raise ValueError("a file of bytes has no encoding")
        return binary
    return io.TextIOWrapper(cast("io.BufferedReader", binary), encoding=encoding or "utf-8")
