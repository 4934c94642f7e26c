"""Work for a few threads, with a bound on what waits: memory does not grow with the input."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self, TypeVar

A = TypeVar("A")
B = TypeVar("B")

THREADS: Final = 8
"""Transfers at once: on a line of 10 ms, ranges of 4 MiB on 8 connections fill 10 Gbit/s."""


class Workers:
    """A pool of threads. A context manager: leaving it waits for what runs."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vfs-remote")
        self._ahead = threads
        self._running: deque[Future[object]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def in_order(
        self, work: Callable[[A], B], items: Iterable[A], *, ahead: int | None = None
    ) -> Iterator[B]:
        """Yield work(item) for each item, in their order, *ahead* of them under way at most."""
        running: deque[Future[B]] = deque()
        try:
            for item in items:
                if len(running) >= (ahead or self._ahead):
                    yield running.popleft().result()
                running.append(self._pool.submit(work, item))
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def begin(self, work: Callable[[], object]) -> None:
        """Have *work* done some time; wait while as much as there are threads is under way.

        Raises what earlier work ran into.
        """
        while len(self._running) >= self._ahead:
            self._running.popleft().result()
        self._running.append(self._pool.submit(work))

    def finish(self) -> None:
        """Wait for all that was begun. Raises what it ran into."""
        while self._running:
            self._running.popleft().result()
