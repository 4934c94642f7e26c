"""Who uses LMDB's map of one process: many transactions, or one resize of the map."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vfs.errors import Conflict


class Gate:
    """Many transactions, or one resize, which does not wait for new ones.

    A thread has one transaction open at most, or it would wait for itself. One that is held while
    its thread opens others makes resizes fail instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._open = 0
        self._held = 0  # of those open
        self._resizing = 0  # threads that resize or wait for it

    def enter(self, *, hold: bool = False) -> None:
        """Wait for resizes to end, and hold the next ones back until `leave`."""
        with self._lock:
            while self._resizing:
                self._idle.wait()
            self._open += 1
            self._held += hold

    def leave(self, *, hold: bool = False) -> None:
        """Say that the transaction of an `enter` has ended."""
        with self._lock:
            self._open -= 1
            self._held -= hold
            if self._resizing and not self._open:
                self._idle.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no transaction is open, and keep new ones waiting. Raises Conflict."""
        with self._lock:
            if self._held:
                raise Conflict("the store has grown while it was in use", hint="try again")
            self._resizing += 1
            try:
                while self._open:
                    self._idle.wait()
                yield
            finally:
                self._resizing -= 1
                self._idle.notify_all()
