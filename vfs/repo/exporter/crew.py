"""Threads that do jobs from a bounded queue, each with a reader of the store of its own."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from vfs.repo.blobs import FileReader

if TYPE_CHECKING:
    from vfs.store.store import Store

JOBS_MAX: Final = 16
_WAITING: Final = 4  # jobs for each thread that may wait
_CACHE_BYTES: Final = 4 << 20  # jobs read what is compressed together together

Job = Callable[[FileReader], None]


class Crew:
    """Does jobs in any order. A context manager: when it is left, no thread is at work."""

    def __init__(self, store: Store, jobs: int | None) -> None:
        """*jobs*: threads; None for one per core."""
        count = min(jobs or os.cpu_count() or 1, JOBS_MAX)
        self._store = store
        self._queue: queue.Queue[Job | None] = queue.Queue(_WAITING * count)
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"vfs-export-{number}", daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._failure is None:
            self._failure = error  # what waits is not begun
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if error is None:
            self._raise_failure()

    def do(self, job: Job) -> None:
        """Have *job* done soon. Raises what another job ran into."""
        self._raise_failure()
        self._queue.put(job)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        files = FileReader(self._store.reader(cache_bytes=_CACHE_BYTES))
        while (job := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    job(files)
                except BaseException as error:  # noqa: BLE001 - raised by whoever gives the jobs
                    self._failure = error
