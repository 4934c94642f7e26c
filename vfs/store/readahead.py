"""Reading ahead in LMDB's map: the kernel is asked for the blocks that come next.

The environment is opened for random access, so a page that is not in memory costs one page read
(85 us), not the disk's read-ahead around it (8 MiB and 5 ms on one machine, where a look-up in a
directory of a million names so took 29 ms). Whoever reads block after block is served here.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

STRIDE_BYTES: Final = 4 * 4096  # from one block to the next, of those written together
AHEAD_BLOCKS: Final = 128  # 2 MiB
RUN_BLOCKS: Final = 2  # in a row, before anything is read ahead

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class _Buffer(ctypes.Structure):
    """Py_buffer, of Python's stable ABI (bufferinfo)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _address(view: memoryview) -> int:
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return buffer.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


class ReadAhead:
    """Follows one reader's blocks. Blocks that were written together lie one behind the other."""

    __slots__ = ("_asked", "_next", "_run")

    def __init__(self) -> None:
        self._next = -1
        self._run = 0
        self._asked = 0  # the block up to which the kernel was asked

    def touched(self, block: int, value: memoryview) -> None:
        """Note that *block* was read, where *value* lies in the map."""
        if block == self._next - 1:
            return  # the same again: the next object in it
        if block != self._next:
            self._run, self._asked = 0, 0
            self._next = block + 1
            return
        self._next = block + 1
        self._run += 1
        if self._run < RUN_BLOCKS:
            return
        if block + AHEAD_BLOCKS // 2 < self._asked:
            return
        first = max(block, self._asked)
        self._asked = first + AHEAD_BLOCKS
        start = _address(value) // mmap.PAGESIZE * mmap.PAGESIZE + (first - block) * STRIDE_BYTES
        # Past the end of the file, or of the map, it does nothing: no error counts.
        _libc.madvise(start, AHEAD_BLOCKS * STRIDE_BYTES, mmap.MADV_WILLNEED)
