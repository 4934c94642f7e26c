"""Commands of datums on the workers of a Dask cluster (the extra `dask`).

Workers of the job's machine run a task as the job does, in the directories that it made; each try
has directories of its own, which one worker claims: of a worker that was thought dead nothing gets
into the output. Workers of other machines are sent orders (`vfs.pipeline.orders`).
"""

from __future__ import annotations

import atexit
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from vfs.errors import NotSupported, RemoteUnavailable
from vfs.pipeline.elsewhere import settle
from vfs.pipeline.executor import Ended, LocalExecutor, Task
from vfs.pipeline.orders import Answer, Order, carry_out, read_part
from vfs.run.guard import Guard

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS: Final = 5
PATIENCE_SECONDS: Final = 120
"""So long a job waits for a scheduler that went in the middle of it, and for a worker that may run
what waits."""

SURVEY_SECONDS: Final = 5.0
"""So often it is looked which workers there are."""

_LOOK_SECONDS: Final = 0.5
_ENDING: Final = ("closing", "closed", "failed")
"""What Dask says of a worker that has lost its scheduler, among others."""

_GUARD: Final = Guard()
"""Of this worker, one for all that it runs."""

atexit.register(_GUARD.close)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


TaskT = TypeVar("TaskT", bound=_Named)


@dataclass(frozen=True, slots=True)
class Call(Generic[TaskT]):
    """How tasks are done: what a worker calls, and what becomes of that here."""

    run: Callable[[TaskT], Any]
    settle: Callable[[Client, TaskT, Any], Ended]


class DaskExecutor(Generic[TaskT]):
    """Workers of a cluster, so many tasks at once. For one thread."""

    def __init__(
        self,
        scheduler: str,
        parallelism: int,
        call: Call[TaskT],
        needs: Mapping[str, float] | None = None,
    ) -> None:
        """*needs*: of each task, by the names of Dask's resources; of those that workers have.

        Raises RemoteUnavailable where no scheduler answers, NotSupported without Dask.
        """
        self._scheduler = scheduler
        self._client = _connected(scheduler)
        self._parallelism = parallelism
        self._call = call
        self._crew = _Crew(self._client, scheduler, needs or {})
        self._waiting: deque[TaskT] = deque()
        self._running: dict[Future[Any], TaskT] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(self, task: TaskT) -> None:
        """Have a task run when there is room."""
        self._waiting.append(task)
        self._start()

    def wait(self) -> list[Ended]:
        """Return what ended; waits until something has. Nothing where nothing is left.

        Raises RemoteUnavailable where the scheduler, or each worker that could run what waits, is
        gone for too long.
        """
        while self._running:
            try:
                future = self._done.get(timeout=_LOOK_SECONDS)
            except Empty:
                self._check()
                continue
            ended = self._outcome(future, self._running.pop(future))
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
        self._crew.check()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._parallelism:
            self._check()
            task = self._waiting.popleft()
            future = self._client.submit(
                self._call.run, task, pure=False, resources=self._crew.asked or None
            )
            self._running[future] = task
            future.add_done_callback(self._done.put)

    def _outcome(self, future: Future[Any], task: TaskT) -> Ended:
        if future.status == "cancelled":
            return Ended(task.name, "the scheduler was lost", 0, lost=True)
        if future.status == "finished":
            try:
                result = future.result(timeout=PATIENCE_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever Dask says of what it lost
                return Ended(task.name, f"its result was lost: {error}", 0, lost=True)
            return self._call.settle(self._client, task, result)
        why = future.exception()
        lost = type(why).__name__ == "KilledWorker"
        return Ended(task.name, f"on the cluster: {why}", 0, lost=lost)


class _Crew:
    """The workers of a cluster, looked at now and then, and what may be asked of them.

    Dask never runs what asks for a resource that no worker has. So only those are asked for that
    some worker says it has, as all others are counted by the threads of a worker alone.
    """

    def __init__(self, client: Client, scheduler: str, needs: Mapping[str, float]) -> None:
        self._client = client
        self._scheduler = scheduler
        self._needs = needs
        self._looked = -SURVEY_SECONDS
        self._well = time.monotonic()
        self.asked: dict[str, float] = {}
        self.check()

    def check(self) -> None:
        """Raise RemoteUnavailable where no worker could run a task for too long."""
        now = time.monotonic()
        if now - self._looked < SURVEY_SECONDS or self._client.status != "running":
            return
        self._looked = now
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except OSError:  # it went just now
            return
        offers = [worker.get("resources", {}) for worker in workers]
        names = {name for offer in offers for name in offer}
        self.asked = {name: much for name, much in self._needs.items() if name in names}
        if any(all(o.get(n, 0) >= m for n, m in self.asked.items()) for o in offers):
            self._well = now
        elif now - self._well >= PATIENCE_SECONDS:
            wanted = ", ".join(f"{name}={much:g}" for name, much in self.asked.items())
            raise RemoteUnavailable(
                f"{self._scheduler} has no worker" + (f" with {wanted}" if wanted else ""),
                hint="what was done is kept: run it again when there is one",
            )


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


# what workers call


def run_here(task: Task) -> Ended:
    """Run a task on this worker; *lost* where another one has begun with it."""
    worker = _worker()
    for path in (task.log.parent, task.directory, *task.needs):
        if not path.exists():
            problem = f"the worker {worker.address} does not see {path}: name a remote"
            return Ended(task.name, problem, 0)
    if not claim(task.log.parent):
        return Ended(task.name, "its worker was lost", 0, lost=True)
    return _execute(task)


def run_order(order: Order) -> Answer:
    """Run an order on this worker."""
    return carry_out(order, _worker().address, _execute)


HERE: Final = Call(run_here, lambda _client, _task, ended: ended)


def _settled(client: Client, order: Order, answer: Answer) -> Ended:
    def part(worker: str, parcel: Path, offset: int) -> bytes:
        try:
            found = client.run(read_part, parcel, offset, workers=[worker])
        except ValueError as error:  # Dask knows no such worker
            raise OSError(str(error)) from None
        data: bytes = found[worker]
        return data

    return settle(order, answer, part)


ELSEWHERE: Final = Call(run_order, _settled)


def _worker() -> Any:
    from distributed import get_worker  # noqa: PLC0415 - an extra

    return get_worker()


def _execute(task: Task) -> Ended:
    """Run a task until it ends, or nobody wants it any more."""
    worker = _worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        """Say whether the job still waits, and the scheduler knows of this worker."""
        if worker.status.name in _ENDING:  # for half a minute it would wait for the command
            return False
        state = worker.state.tasks.get(key)
        return state is not None and state.state == "executing"

    executor = LocalExecutor(1, _GUARD, is_wanted)
    begun = time.monotonic()
    try:
        executor.submit(task)
        ended = executor.wait()
    finally:
        executor.close()
    return ended[0] if ended else Ended(task.name, "stopped", time.monotonic() - begun, lost=True)


def claim(directory: Path) -> bool:
    """Be the only one who works in the directory of a try; False where somebody is."""
    try:
        (directory / "claimed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
