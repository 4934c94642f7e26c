"""What a process says when LMDB ends it: one line, and the exit code of an error.

LMDB trusts its pages. What it can't make sense of ends the process: an assertion (SIGABRT), or an
access to memory that is not there (SIGSEGV, SIGBUS; the latter also where the disk can't be read).
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

EXIT_CODE: Final = 1
SIGNALS: Final = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)
_SHOW_CURSOR: Final = b"\r\x1b[K\x1b[?25h"  # a progress bar hides it, and is not ended

_libc: Final = ctypes.CDLL(None)
_libc.signal.restype = ctypes.c_void_p
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextmanager
def guarded(path: Path, *, debug: bool = False) -> Iterator[None]:
    """End the process with a line on standard error where the store in *path* kills it.

    `signal.signal` can't do that: Python's handlers run when the C function that failed has
    returned, which it never does. This one runs at once, in the thread that failed, as a ctypes
    callback. It may do so because it never returns, takes no lock but the interpreter's, which the
    thread has or LMDB's caller gave up, and all that it writes was made beforehand. A process of
    its own for each command would cost a fork, and job control, signals and exit codes between two.

    With *debug* a traceback comes first, and says which signal it was.
    """
    lines = (
        f"vfs: the store {path} can't be read: LMDB's pages are damaged, or the disk is\n"
        f"     'vfs fsck' says what is damaged; restore it from a backup\n"
    ).encode(errors="backslashreplace")
    said = _SHOW_CURSOR + lines if os.isatty(2) else lines

    def end(number: int) -> None:
        if debug:
            os.write(2, f"signal {number} ({signal.strsignal(number)})\n".encode())
            faulthandler.dump_traceback(2, all_threads=False)
        os.write(2, said)
        os._exit(EXIT_CODE)

    handler = _Handler(end)
    before = {number: _libc.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            _libc.signal(number, old)
