"""Requests that wait for a remote, each in a thread, while their worker answers others.

What is missing is brought first, and the request is then answered from its beginning: nothing that
may be parked changes anything. One thread at a time uses the view, whoever has the turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs import counts
from vfs.fuse import counters
from vfs.fuse.errnos import errno_of
from vfs.store.objects import NotHere

if TYPE_CHECKING:
    from vfs.fs.view import View
    from vfs.fuse.answers import Answer
    from vfs.fuse.wire import Request
    from vfs.ids import ObjectId

PARKED_MAX: Final = 32
"""As many wait at once; one more, and the worker waits with them."""

ROUNDS_MAX: Final = 16
"""After so many objects a request waits with the turn: in a cache that is too small for all that it
needs, each one that comes could drive out another one."""

IsWaiting = Callable[[int], bool]
"""Says whether a thread that asked still waits."""

Reply = Callable[[int, bytes | list[bytes], int], None]
"""Answers a request, by its number, with data and an errno."""


class Waiting(NamedTuple):
    """A request that waits, and what is to be done about it."""

    request: Request
    body: bytes
    answer: Answer
    block: int  # where it is counted
    begun_ns: int


class Parking:
    """The requests of one worker that wait."""

    def __init__(self, view: View, is_waiting: IsWaiting, reply: Reply) -> None:
        self._view = view
        self._is_waiting = is_waiting
        self._reply = reply
        self._room = threading.BoundedSemaphore(PARKED_MAX)
        self._is_over = False
        self.turn: Final = threading.Lock()

    def park(self, waiting: Waiting, absent: NotHere) -> None:
        """Have a request answered when what it lacks is here; without the turn."""
        if not self._room.acquire(blocking=False):
            self._finish(waiting, absent.oid)
            return
        run = threading.Thread(
            target=self._run, args=(waiting, absent.oid), name="vfs-parked", daemon=True
        )
        run.start()

    def close(self) -> None:
        """Give up what waits, as nobody does any more; no thread uses the view on return."""
        self._is_over = True
        for _ in range(PARKED_MAX):
            self._room.acquire()

    def _run(self, waiting: Waiting, oid: ObjectId) -> None:
        try:
            self._finish(waiting, oid)
        finally:
            self._room.release()

    def _finish(self, waiting: Waiting, oid: ObjectId) -> None:
        unique = waiting.request.unique
        try:
            data = self._answered(waiting, oid)
        except Exception as exc:  # noqa: BLE001 - said in the log, and to who asked
            self._reply(unique, b"", errno_of(exc, waiting.answer.__name__.strip("_")))
        else:
            self._reply(unique, data or b"", 0)
        with self.turn:
            counters.request(waiting.block, perf_counter_ns() - waiting.begun_ns)

    def _answered(self, waiting: Waiting, oid: ObjectId) -> bytes | list[bytes] | None:
        asker = waiting.request.pid
        for _ in range(ROUNDS_MAX):
            self._view.bring(oid, lambda: not self._is_over and self._is_waiting(asker))
            try:
                with self.turn:
                    counters.add(counts.FETCHES, 1)
                    return waiting.answer(waiting.request, waiting.body)
            except NotHere as absent:
                oid = absent.oid
        with self.turn, self._view.waiting():
            return waiting.answer(waiting.request, waiting.body)
