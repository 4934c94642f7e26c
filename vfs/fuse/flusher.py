"""When a branch's changes are stored: on fsync, after a moment, when they are many. Knows trio.

One checkpoint runs at a time, in a worker thread. Whoever asks for one while another runs gets the
next, together with all who ask meanwhile (group commit).
"""

from __future__ import annotations

import ctypes
import logging
from typing import TYPE_CHECKING, Final

import trio

from vfs import counts
from vfs.errors import StoreError, VfsError
from vfs.fuse import counters

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

_LIBC: Final = ctypes.CDLL(None)


class _Round:
    """One checkpoint, or the next to come."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: VfsError | None = None


class Flusher:
    """Stores the changes of one branch."""

    def __init__(self, branch: Branch, *, dirty_limit: int) -> None:
        """*dirty_limit*: bytes of memory for what was written; writers wait when there is more.

        A quarter of it is for the bytes themselves: storing them takes the rest (measured with 128
        MiB, of bytes that can't be compressed: 170 MiB in all).
        """
        self._branch = branch
        self._bytes_max = dirty_limit // 4
        self._bytes_wanted = dirty_limit // 8
        self._next = _Round()
        self._wake = trio.Event()
        self._error: VfsError | None = None  # of the last checkpoint

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
            self._note(current.error)
            current.done.set()

    def _note(self, error: VfsError | None) -> None:
        where = f"{self._branch.data_set}@{self._branch.branch}"
        if error is not None and str(error) != str(self._error):
            log.error("%s: what was written can't be stored yet: %s", where, error)
        elif error is None and self._error is not None:
            log.info("%s: all is stored again", where)
        self._error = error

    async def _checkpoint(self, *, settle: bool) -> VfsError | None:
        branch = self._branch
        counters.put(counts.DIRTY_BYTES, branch.dirty_bytes)
        checkpoint = branch.begin_checkpoint(settle=settle)
        if checkpoint is None:
            return None
        try:
            await trio.to_thread.run_sync(branch.store_checkpoint, checkpoint)
        except VfsError as error:
            branch.fail_checkpoint()
            return error
        except Exception as error:
            branch.fail_checkpoint()
            log.exception("a checkpoint failed")
            return StoreError(f"a checkpoint failed: {error!r}")
        branch.end_checkpoint(checkpoint)
        counters.add(counts.CHECKPOINTS, 1)
        counters.put(counts.DIRTY_BYTES, branch.dirty_bytes)
        stored_bytes, checkpoint = checkpoint.layer.bytes, None
        if stored_bytes > TRIMMED_BYTES:
            await trio.to_thread.run_sync(_LIBC.malloc_trim, 0)
        return None

    async def flush(self) -> None:
        """Return when all that changed so far is durable. Raises StoreFull."""
        if self._branch.is_dirty:
            await self._join()

    async def finish(self) -> None:
        """Store what is left when `run` has ended. Raises StoreFull."""
        with trio.CancelScope(shield=True):
            error = await self._checkpoint(settle=False)  # for which there may be no room
        if error is not None:
            raise error

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
        return (
            self._error is not None
            or branch.dirty_bytes > self._bytes_wanted
            or branch.dirty_rows > ROWS_WANTED
        )

    async def make_room(self) -> None:
        """Have a checkpoint begin, and wait while too much is in memory.

        Where the last one failed, another is tried before anything more is taken. Raises StoreFull.
        """
        branch = self._branch
        self._wake.set()
        if self._error is not None:
            await self._join()
        while branch.dirty_bytes > self._bytes_max or branch.dirty_rows > ROWS_MAX:
            await self._join()
