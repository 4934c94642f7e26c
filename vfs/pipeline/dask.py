"""Commands of datums on the workers of a Dask cluster (the extra `dask`).

A worker runs a task as a job does on its own machine, in the directories that the job made: what
reaches those, and the mounts of the inputs, can be a worker. Each try has directories of its own,
which one worker claims: of a worker that was thought dead nothing gets into the output.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from vfs.errors import NotSupported, RemoteUnavailable
from vfs.pipeline.executor import Ended, LocalExecutor, Task

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS: Final = 5
PATIENCE_SECONDS: Final = 120
"""So long a job waits for a scheduler that went in the middle of it."""

_LOOK_SECONDS: Final = 0.5


class DaskExecutor:
    """Workers of a cluster, so many tasks at once. For one thread."""

    def __init__(self, scheduler: str, parallelism: int) -> None:
        """Raises RemoteUnavailable where no scheduler answers, NotSupported without Dask."""
        self._scheduler = scheduler
        self._client = _connected(scheduler)
        self._parallelism = parallelism
        self._waiting: deque[Task] = deque()
        self._running: dict[Future[Any], Task] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(self, task: Task) -> None:
        """Have a task run when there is room."""
        self._waiting.append(task)
        self._start()

    def wait(self) -> list[Ended]:
        """Return what ended; waits until something has. Nothing where nothing is left.

        Raises RemoteUnavailable where the scheduler is gone for too long.
        """
        while self._running:
            try:
                future = self._done.get(timeout=_LOOK_SECONDS)
            except Empty:
                self._check()
                continue
            ended = _outcome(future, self._running.pop(future))
            self._start()
            return [ended]
        return []

    def close(self) -> None:
        """Kill what runs, and forget what waits."""
        self._waiting.clear()
        # Workers notice that nobody wants it any more, and kill its command.
        self._running.clear()
        with suppress(TimeoutError):
            self._client.close(timeout=CONNECT_SECONDS)

    def _check(self) -> None:
        if self._client.status in ("closed", "closing"):
            raise RemoteUnavailable(
                f"the scheduler {self._scheduler} is gone",
                hint="what was done is kept: run it again when the scheduler is there",
            )

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._parallelism:
            self._check()
            task = self._waiting.popleft()
            future = self._client.submit(run_here, task, pure=False)
            self._running[future] = task
            future.add_done_callback(self._done.put)


def _connected(scheduler: str) -> Client:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotSupported(
            "a pipeline on a cluster needs Dask", hint="pip install 'vfs[dask]'"
        ) from None
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RemoteUnavailable(f"no scheduler answers at {scheduler}: {error}") from None
    # From now on it is how long Dask tries to come back.
    client._timeout = PATIENCE_SECONDS  # noqa: SLF001 - it has no other way to say so
    return client


def _outcome(future: Future[Any], task: Task) -> Ended:
    if future.status == "finished":
        ended: Ended = future.result()
        return ended
    if future.status == "cancelled":
        return Ended(task, "the scheduler was lost", 0, lost=True)
    error = future.exception()
    lost = type(error).__name__ == "KilledWorker"
    return Ended(task, f"on the cluster: {error}", 0, lost=lost)


def run_here(task: Task) -> Ended:
    """Run a task on this worker; *lost* where another one has begun with it."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker: Any = get_worker()
    for path in (task.log.parent, task.directory, *task.needs):
        if not path.exists():
            return Ended(task, f"the worker {worker.address} does not see {path}", 0)
    if not claim(task.log.parent):
        return Ended(task, "its worker was lost", 0, lost=True)
    key = worker.get_current_task()

    def is_wanted() -> bool:
        """Say whether the job still waits, and the scheduler knows of this worker."""
        state = worker.state.tasks.get(key)
        return state is not None and state.state == "executing"

    executor = LocalExecutor(1, is_wanted=is_wanted)
    begun = time.monotonic()
    try:
        executor.submit(task)
        ended = executor.wait()
    finally:
        executor.close()
    return ended[0] if ended else Ended(task, "stopped", time.monotonic() - begun, lost=True)


def claim(directory: Path) -> bool:
    """Be the only one who works in the directory of a try; False where somebody is."""
    try:
        (directory / "claimed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
