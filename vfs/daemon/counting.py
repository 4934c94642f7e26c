"""Where serving processes count, for others to see: a file of pages for each mount, in `run`.

A process that takes the place of one that died goes on in its page, so the numbers only grow. Of a
daemon that was killed the file is left behind, until its dead mount is cleared; nobody reads it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from vfs.counts import PAGE_BYTES
from vfs.daemon import lockfile, private
from vfs.daemon.registry import RUN_DIR, mount_id
from vfs.fuse.counters import Totals, totals

_PAGES_MAX: Final = 1024


class Pages:
    """Pages in shared memory: one for each process that counts, across forks."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def words(self, index: int) -> memoryview:
        """Return a page as `vfs.counts.use` takes it."""
        start = index * PAGE_BYTES
        return memoryview(self._memory)[start : start + PAGE_BYTES].cast("Q")


@contextmanager
def shared(store: Path, mountpoint: str, count: int, *, keep: bool = False) -> Iterator[Pages]:
    """Give *count* pages; whoever has the record of the mount point may call it.

    *keep*: go on with what an earlier process has counted. Where no file can be had, as on a full
    disk, all is counted and nobody sees it.
    """
    with ExitStack() as undo:
        fd = -1
        for place in private.places(store, make=True):
            with suppress(OSError):
                fd = _open(place / RUN_DIR, mount_id(mountpoint), count, undo, keep=keep)
                break
        # Not closed: children map it, too, and views of it may be in use until the process ends.
        yield Pages(mmap.mmap(fd, count * PAGE_BYTES))


def _open(run: Path, name: str, count: int, undo: ExitStack, *, keep: bool) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if keep else os.O_TRUNC)
    with ExitStack() as files:
        directory = files.enter_context(private.opened(run, make=True))
        fd = os.open(_file_name(name), flags, private.FILE_MODE, dir_fd=directory)
        files.callback(os.close, fd)
        # Room for all of it now: a page that can't be had later ends the process (SIGBUS).
        os.posix_fallocate(fd, 0, count * PAGE_BYTES)
        undo.push(files.pop_all())
        undo.callback(lockfile.unlink, directory, _file_name(name))
        return fd


def read(store: Path, mountpoint: str) -> Totals | None:
    """Return what is counted for a living mount; None where nobody counts, or it can't be seen."""
    name = _file_name(mount_id(mountpoint))
    for place in private.places(store):
        with suppress(OSError), private.opened(place / RUN_DIR) as directory:
            fd = lockfile.look(directory, name)
            try:
                return totals(os.pread(fd, _PAGES_MAX * PAGE_BYTES, 0))
            finally:
                os.close(fd)
    return None


def forget(store: Path, mountpoint: str) -> None:
    """Remove what a dead daemon has left."""
    for place in private.places(store):
        with suppress(OSError), private.opened(place / RUN_DIR) as directory:
            lockfile.unlink(directory, _file_name(mount_id(mountpoint)))


def _file_name(name: str) -> str:
    return f"{name}.counters"
