"""Having the kernel write back what it holds of a mount, and waiting until it was answered.

syncfs(2) makes the kernel send what it holds, and does not wait for the answers: a FUSE server
could have it wait for ever (`wait_sb_inodes` in fs/fs-writeback.c leaves such file systems out).
When it returns, all of it is in the connection's queue, from where 12 requests at a time become
readable. All are done at the first moment with nothing to be read and no handler at work.
"""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pyfuse3
import trio

from vfs.fuse.handshake import Handshake

_PAUSE_SECONDS: Final = 0.005

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


class Serving:
    """pyfuse3's main loop, with a look at what it is doing."""

    def __init__(self) -> None:
        self._readable = select.poll()
        self._lock: trio.Lock | None = None
        self._task: trio.lowlevel.Task | None = None

    async def run(self, min_tasks: int, max_tasks: int) -> None:
        """Serve until the kernel ends the session or `pyfuse3.terminate` was called."""
        self._task = trio.lowlevel.current_task()
        module: Any = pyfuse3
        module.trio = _TrioThatTells(self._note_lock, self._readable.register)
        try:
            await pyfuse3.main(min_tasks, max_tasks)
        finally:
            self._task = None
            module.trio = trio

    def _note_lock(self, lock: trio.Lock) -> None:
        self._lock = lock

    def is_idle(self, besides: int = 0) -> bool:
        """Say whether, at this moment, no request waits to be read or is being answered."""
        if self._task is None:
            return True
        if self._lock is None:
            return False
        state = self._lock.statistics()
        readers = state.tasks_waiting + state.locked
        tasks = sum(len(nursery.child_tasks) for nursery in self._task.child_nurseries)
        return tasks - besides <= readers and not self._readable.poll(0)

    async def drained(self, besides: Callable[[], int] = int) -> None:
        """Wait for a moment at which all that had been asked before is answered.

        *besides*: how many handlers are at work that wait for this themselves.
        """
        while not self.is_idle(besides()):  # noqa: ASYNC110 - the kernel sets no event
            await trio.sleep(_PAUSE_SECONDS)


class _TrioThatTells:
    """trio for pyfuse3, but it tells which lock the readers of requests share, and what they read.

    A task that reads the next request holds that lock or waits for it; all others are handlers.
    """

    def __init__(self, lock: Callable[[trio.Lock], None], readable: Callable[..., None]) -> None:
        self._tell_lock = lock
        self._tell_readable = readable
        self._handshake = Handshake()
        self.lowlevel: Any = SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            wait_readable=self._first_wait,
        )

    def Lock(self) -> trio.Lock:  # noqa: N802 - the name that is called
        lock = trio.Lock()
        self._tell_lock(lock)
        return lock

    async def _first_wait(self, fd: int) -> None:
        if self._handshake.step(fd):
            return
        self._tell_readable(fd, select.POLLIN)
        self.lowlevel = trio.lowlevel
        await trio.lowlevel.wait_readable(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)
