"""Having the kernel write back what it holds of a mount, and waiting until it was answered.

syncfs(2) makes the kernel send what it holds, and does not wait for the answers: a FUSE server
could have it wait for ever (`wait_sb_inodes` in fs/fs-writeback.c leaves such file systems out).
When it returns, all of it is in the connection's queue, from where 12 requests at a time become
readable. All are done at the first moment with nothing to be read and no handler at work.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)


def send_dirty_pages(mountpoint: str, st_dev: int) -> None:
    """Have the kernel send all dirty pages of the file system *st_dev*, mounted at *mountpoint*.

    To be called in a thread while the file system is served. Where the mount point can't be
    reached any more, as when it is inside of a mount that died, all file systems are told to.
    """
    try:
        fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        os.sync()
        return
    try:
        if os.fstat(fd).st_dev == st_dev:
            _libc.syncfs(fd)
        else:
            os.sync()
    finally:
        os.close(fd)
