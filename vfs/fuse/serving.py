"""pyfuse3's main loop under trio, with less of trio for each request, and a look at what it does.

pyfuse3's reader tasks hand a fair lock round: each request costs two task switches and a round of
`epoll`, 20 us. But nearly all handlers run to their end without waiting. So the stand-ins here let
the task that has answered a request read the next one as well, and wait for it in poll(2) for a
moment before it gives way to others. When a handler does wait for something, the next reader is
woken.
"""

from __future__ import annotations

import select
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final, cast

import pyfuse3
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

from vfs.fuse.handshake import DONT_MASK, PARALLEL_DIROPS, Handshake

PATIENCE_MS: Final = 1
"""How long other tasks wait for a request that may come; who reads files one by one sends the next
one within 50 us."""

STREAK_MAX: Final = 64  # requests that are answered before other tasks get their turn
ALARM_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.005


class Serving:
    """The main loop of this process's session."""

    def __init__(self) -> None:
        self._lock = _ReadLock()
        self._readable = select.poll()
        self._fd = -1
        self._streak = 0
        self._patience_ms = 0
        self._handshake = Handshake(DONT_MASK | PARALLEL_DIROPS)
        self._task: Task | None = None

    async def run(self, min_tasks: int, max_tasks: int) -> None:
        """Serve until the kernel ends the session or `pyfuse3.terminate` was called."""
        self._task = trio.lowlevel.current_task()
        module: Any = pyfuse3
        module.trio = _StandIn(self._lock, self._wait_readable)
        trio.lowlevel.add_instrument(self._lock)
        # A request that poll(2) told of is gone if its caller was killed meanwhile: libfuse's read
        # then waits for the next one, with the interpreter's lock. A signal ends it (EINTR).
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS, ALARM_SECONDS)
        try:
            await pyfuse3.main(min_tasks, max_tasks)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            trio.lowlevel.remove_instrument(self._lock)
            self._task = None
            module.trio = trio

    def _wait_readable(self, fd: int) -> Awaitable[None]:
        if self._fd < 0:
            if self._handshake.step(fd):
                return _READY
            self._readable.register(fd, select.POLLIN)
            self._fd = fd
        self._streak += 1
        if self._streak < STREAK_MAX:
            if self._lock.is_news:
                self._lock.is_news = False
                # Where a handler waits for something, nobody else's turn may be held up.
                self._patience_ms = 0 if self._handlers() > 1 else PATIENCE_MS
            if self._readable.poll(self._patience_ms):
                return _READY
        self._streak = 0
        return trio.lowlevel.wait_readable(fd)  # noqa: ASYNC105 - awaited by the caller

    def _handlers(self) -> int:
        """Return how many tasks neither read requests nor wait for their turn to."""
        assert self._task is not None
        tasks = self._task.child_nurseries[-1].child_tasks  # pyfuse3's, the innermost
        return len(tasks) - len(self._lock.waiting)

    def is_idle(self, besides: int = 0) -> bool:
        """Say whether, at this moment, no request waits to be read or is being answered.

        *besides*: handlers that don't count.
        """
        if self._task is None:
            return True
        if self._fd < 0:
            return False
        readers = 1 if self._lock.held else 0
        return self._handlers() - besides <= readers and not self._readable.poll(0)

    async def drained(self, besides: Callable[[], int] = int) -> None:
        """Wait for a moment at which all that had been asked before is answered.

        *besides*: how many handlers are at work that wait for this themselves.
        """
        while not self.is_idle(besides()):  # noqa: ASYNC110 - the kernel sets no event
            await trio.sleep(_PAUSE_SECONDS)


class _Ready:
    """What never suspends whoever awaits it; without a line of Python, as each request does it."""

    __await__ = iter(()).__iter__  # of an iterator at its end


_READY: Final = cast("Awaitable[None]", _Ready())


class _ReadLock(trio.abc.Instrument):
    """Held by the one task that waits for a request. Not fair: it may be taken again at once.

    The next in the queue is woken when a task gives up its turn and nobody holds the lock, that is
    when a handler has to wait for something.
    """

    def __init__(self) -> None:
        self.held = False
        self.is_news = True  # some task had its turn, so handlers may have come to wait, or ended
        self.waiting: deque[Task] = deque()

    def __aenter__(self) -> Awaitable[None]:
        if self.held:
            return self._queue()
        self.held = True
        return _READY

    async def _queue(self) -> None:
        while self.held:
            task = trio.lowlevel.current_task()
            self.waiting.append(task)

            def abort(_: RaiseCancelT, task: Task = task) -> Abort:
                self.waiting.remove(task)
                return Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self.held = True

    def __aexit__(self, *_: object) -> Awaitable[None]:
        self.held = False
        return _READY

    def after_task_step(self, task: Task) -> None:
        self.is_news = True
        if not self.held and self.waiting:
            trio.lowlevel.reschedule(self.waiting.popleft())


class _StandIn:
    """trio, for pyfuse3 alone."""

    def __init__(self, lock: _ReadLock, wait_readable: Callable[[int], Awaitable[None]]) -> None:
        self._lock = lock
        self.lowlevel: Final = SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            notify_closing=trio.lowlevel.notify_closing,
            wait_readable=wait_readable,
        )

    def Lock(self) -> _ReadLock:  # noqa: N802 - the name that is called
        return self._lock

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)
