"""Taking bytes out of a file: holes, or zeros. Knows nothing of LMDB."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

_KEEP_SIZE: Final = 0x01  # FALLOC_FL_*, see fallocate(2)
_PUNCH_HOLE: Final = 0x02

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(fd: int, start: int, end: int) -> None:
    """Give the disk space of a range (bytes) back; it reads as zeros from then on. Raises OSError.

    EOPNOTSUPP where the file system can't do that.
    """
    while _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, end - start) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def data_within(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range (bytes) that take space on the disk. Raises OSError."""
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file
                return
            raise
        if start >= end:
            return
        stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        yield start, stop
        start = stop


def clear(fd: int, start: int, end: int) -> int:
    """Write zeros where a range (bytes) has anything else; return its length if so.

    Raises OSError.
    """
    found = os.pread(fd, end - start, start)
    if found.count(0) == len(found):
        return 0
    zeros = memoryview(bytes(len(found)))
    while zeros:
        written = os.pwrite(fd, zeros, start)
        zeros, start = zeros[written:], start + written
    return len(found)
