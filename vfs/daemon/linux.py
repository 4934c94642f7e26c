"""Linux calls that Python does not have: umount2, prctl."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

MNT_DETACH: Final = 2
MNT_EXPIRE: Final = 4
UMOUNT_NOFOLLOW: Final = 8
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15

_libc: Final = ctypes.CDLL(None, use_errno=True)


def umount2(path: str, flags: int) -> None:
    """Unmount what is mounted at *path*, see umount(2). Raises OSError."""
    if _libc.umount2(os.fsencode(path), flags | UMOUNT_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when *parent*, which forked it, ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def set_process_name(name: str) -> None:
    """Set what ps and top show as the command's name: at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
