"""Work in order on several cores: chunks go to a pool, what follows from them happens in order.

Knows no files: it takes chunks, and handlers that are called with the ids, one after the other,
by the thread that feeds the pipeline. Memory is bounded by what may be on the way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Self

from vfs.ids import ObjectId
from vfs.store.ingest import Ingest

BATCH_BYTES: Final = 1 << 20
BATCH_EVENTS: Final = 2048
IN_FLIGHT_BYTES: Final = 32 << 20
IN_FLIGHT_EVENTS: Final = 8 * BATCH_EVENTS
"""Each takes about 1 KiB: without a bound, 60 MiB with 16 threads and tiny files."""
JOBS_MAX: Final = 16
"""The thread that reads can't feed more: it reads and cuts about 1 GB/s."""

Chunk = bytes | memoryview
Handler = Callable[[Any, Sequence[ObjectId]], None]
_Batch = tuple["Future[list[ObjectId]] | None", list[tuple[Handler, Any, int]], int]


class Pipeline:
    """Feeds chunks to `Ingest.add_chunks` in a pool. One thread uses it."""

    def __init__(self, ingest: Ingest, jobs: int | None, on_progress: Callable[[], None]) -> None:
        self._ingest = ingest
        jobs = min(jobs or os.cpu_count() or 1, JOBS_MAX)
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="vfs-import")
        self._on_progress = on_progress
        self._depth_max = 2 * jobs + 2
        self._queue: deque[_Batch] = deque()
        self._in_flight = 0
        self._events_in_flight = 0
        self._chunks: list[Chunk] = []
        self._events: list[tuple[Handler, Any, int]] = []
        self._bytes = 0

    def post(self, handler: Handler, argument: Any, size: int = 0) -> None:
        """Call *handler* after all that was given before was handled.

        *size*: bytes that *argument* takes, where that may be much.
        """
        if not self._events and not self._queue:
            handler(argument, ())
            return
        self._events.append((handler, argument, 0))
        self._bytes += size
        self._seal_if_full()

    def put(self, chunks: Sequence[Chunk], size: int, handler: Handler, argument: Any) -> None:
        """Store *chunks*, then call *handler* with their ids. *size*: of all of it, in bytes."""
        self._chunks.extend(chunks)
        self._events.append((handler, argument, len(chunks)))
        self._bytes += size
        self._seal_if_full()

    def _seal_if_full(self) -> None:
        if self._bytes >= BATCH_BYTES or len(self._events) >= BATCH_EVENTS:
            self._seal()

    def _seal(self) -> None:
        future = None
        if self._chunks:
            runs = [count for _, _, count in self._events if count]
            future = self._pool.submit(self._ingest.add_chunks, self._chunks, runs)
        self._queue.append((future, self._events, self._bytes))
        self._in_flight += self._bytes
        self._events_in_flight += len(self._events)
        self._chunks, self._events, self._bytes = [], [], 0
        while (
            len(self._queue) > self._depth_max
            or self._in_flight > IN_FLIGHT_BYTES
            or self._events_in_flight > IN_FLIGHT_EVENTS
        ):
            self._take()

    def _take(self) -> None:
        future, events, size = self._queue.popleft()
        ids: Sequence[ObjectId] = future.result() if future is not None else ()
        self._in_flight -= size
        self._events_in_flight -= len(events)
        at = 0
        for handler, argument, count in events:
            handler(argument, ids[at : at + count])
            at += count
        self._on_progress()

    def finish(self) -> None:
        """Handle all that is left."""
        if self._events:
            self._seal()
        while self._queue:
            self._take()
        self._on_progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        # What is running is at most a few MiB for each thread: waiting for it is short.
        self._pool.shutdown(wait=True, cancel_futures=True)
