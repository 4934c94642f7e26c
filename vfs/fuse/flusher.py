"""When a branch's changes are stored: on fsync, after a moment, when they are many. Knows trio.

One checkpoint runs at a time, in a worker thread. Whoever asks for one while another runs gets the
next, together with all who ask meanwhile (group commit).
"""

from __future__ import annotations

import ctypes
import logging
import os
from typing import TYPE_CHECKING, Final

import trio

from vfs.errors import StoreFull, VfsError

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch

log = logging.getLogger(__name__)

PERIOD_SECONDS: Final = 1.5
"""Between two checkpoints, and between two calls for what the kernel holds back: what was written
is stored within 3 s and the time that storing takes; the contract says 5 s."""

TRIMMED_BYTES: Final = 16 << 20
"""After a checkpoint of more, the C library is told to give memory back: 400 MB stayed with it."""

ROWS_WANTED: Final = 8_000  # a checkpoint begins when so many rows wait
ROWS_MAX: Final = 40_000  # no more are taken before it has ended

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Round:
    """One checkpoint, or the next to come."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: VfsError | None = None


class Flusher:
    """Stores the changes of one branch."""

    def __init__(self, branch: Branch, *, dirty_limit: int) -> None:
        """*dirty_limit*: bytes of files in memory; writers wait when there are more."""
        self._branch = branch
        self._bytes_max = dirty_limit
        self._bytes_wanted = dirty_limit // 4
        self._next = _Round()
        self._wake = trio.Event()

    async def run(self) -> None:
        """Make checkpoints until cancelled."""
        while True:
            with trio.move_on_after(PERIOD_SECONDS):
                await self._wake.wait()
            settle = not self._wake.is_set()  # nobody waits, so there is time for it
            self._wake = trio.Event()
            current, self._next = self._next, _Round()
            with trio.CancelScope(shield=True):
                current.error = await self._checkpoint(settle=settle)
            current.done.set()

    async def _checkpoint(self, *, settle: bool) -> VfsError | None:
        branch = self._branch
        checkpoint = branch.begin_checkpoint(settle=settle)
        if checkpoint is None:
            return None
        try:
            await trio.to_thread.run_sync(branch.store_checkpoint, checkpoint)
        except VfsError as error:
            branch.fail_checkpoint()
            log.error("%s@%s: not stored yet: %s", branch.data_set, branch.branch, error)  # noqa: TRY400
            return error
        except BaseException:
            branch.fail_checkpoint()
            raise
        branch.end_checkpoint(checkpoint)
        stored_bytes, checkpoint = checkpoint.layer.bytes, None
        if stored_bytes > TRIMMED_BYTES:
            await trio.to_thread.run_sync(_LIBC.malloc_trim, 0)
        return None

    async def flush(self) -> None:
        """Return when all that changed so far is durable. Raises StoreFull."""
        if self._branch.is_dirty:
            await self._join()

    async def _join(self) -> None:
        """Wait for the end of the next checkpoint that begins."""
        current = self._next
        self._wake.set()
        await current.done.wait()
        if current.error is not None:
            raise current.error

    @property
    def is_behind(self) -> bool:
        """Say whether `make_room` has something to do."""
        branch = self._branch
        return branch.dirty_bytes > self._bytes_wanted or branch.dirty_rows > ROWS_WANTED

    async def make_room(self) -> None:
        """Have a checkpoint begin, and wait while too much is in memory. Raises StoreFull."""
        branch = self._branch
        self._wake.set()
        while branch.dirty_bytes > self._bytes_max or branch.dirty_rows > ROWS_MAX:
            await self._join()


async def sync_kernel(mountpoint: str) -> None:
    """Have the kernel hand over what it holds back of a mount (syncfs(2)).

    To be called by a task that serves no request: the kernel waits for the writes it sends.
    """
    await trio.to_thread.run_sync(_syncfs, mountpoint, abandon_on_cancel=True)


def _syncfs(mountpoint: str) -> None:
    try:
        fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # unmounted meanwhile
    try:
        if _LIBC.syncfs(fd):
            raise StoreFull(f"not all could be written back: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)
