"""Where the commands of datums run: an interface, and processes of this machine.

Knows no store and no datums: a task is a command line with a name.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from vfs.daemon.linux import die_with
from vfs.run import containers
from vfs.run.command import EXIT_SIGNAL
from vfs.run.guard import Guard, Watched

LOOK_SECONDS: Final = 0.5
"""So often an executor asks whether its tasks are still wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command to be run once."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    log: Path  # a file that gets all that it writes
    timeout_s: float = 0  # 0: none
    memory: int = 0  # bytes; 0: no limit
    needs: Sequence[Path] = ()  # what has to be there where it runs
    mark: str = ""  # an entry of the environment that no other command has
    container: Path | None = None  # gets the id of that to which the command is only a client


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a task; `problem` is "" where its command exited with 0."""

    task: str  # its name
    problem: str
    seconds: float
    lost: bool = False  # the command is not to blame, but what ran it


TaskT_contra = TypeVar("TaskT_contra", contravariant=True)


class Executor(Protocol[TaskT_contra]):
    """Runs tasks, some at once. Whoever waits is told of each once."""

    def submit(self, task: TaskT_contra) -> None:
        """Have a task run when there is room."""

    def wait(self) -> list[Ended]:
        """Return what ended; waits until something has. Nothing where nothing is left."""

    def close(self) -> None:
        """Kill what runs, and forget what waits."""


@dataclass(slots=True)
class _Running:
    task: Task
    process: subprocess.Popen[bytes]
    watched: Watched
    begun: float


class LocalExecutor:
    """Processes of this machine, so many at once. For one thread."""

    def __init__(
        self, parallelism: int, guard: Guard, is_wanted: Callable[[], bool] | None = None
    ) -> None:
        """*guard* ends what runs when this process is killed.

        *is_wanted* is asked now and then; where it is not, what runs is killed.
        """
        self._parallelism = parallelism
        self._guard = guard
        self._is_wanted = is_wanted
        self._waiting: deque[Task] = deque()
        self._ended: list[Ended] = []
        self._running: dict[int, _Running] = {}  # by the descriptor of the process
        self._selector = selectors.DefaultSelector()

    def submit(self, task: Task) -> None:
        """Have a task run when there is room."""
        self._waiting.append(task)
        self._start()

    def wait(self) -> list[Ended]:
        """Return what ended; waits until something has. Nothing where nothing is left."""
        while not self._ended and self._running:
            for key, _ in self._selector.select(self._patience()):
                self._reap(key.fd, "")
            now = time.monotonic()
            for fd, one in list(self._running.items()):
                limit = one.task.timeout_s
                if limit and now - one.begun >= limit:
                    self._reap(fd, f"it took more than {limit:g} s")
            if self._is_wanted is not None and not self._is_wanted():
                self._stop()
            self._start()
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Kill what runs, and forget what waits."""
        self._stop()
        self._selector.close()

    def _stop(self) -> None:
        self._waiting.clear()
        for fd in list(self._running):
            self._reap(fd, "stopped")

    def _patience(self) -> float | None:
        now = time.monotonic()
        waits = [max(0.0, one.begun + one.task.timeout_s - now) for one in self._running.values()
                 if one.task.timeout_s]  # fmt: skip
        if self._is_wanted is not None:
            waits.append(LOOK_SECONDS)
        return min(waits, default=None)

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._parallelism:
            task = self._waiting.popleft()
            try:
                self._begin(task)
            except OSError as error:
                problem = f"can't run {task.command[0]}: {error.strerror}"
                self._ended.append(Ended(task.name, problem, 0))

    def _begin(self, task: Task) -> None:
        """Begin a task. Raises OSError."""
        begun = time.monotonic()
        watched = self._guard.begin(task.mark, task.container)
        try:
            process = _started(task)
        except OSError:
            self._guard.over(watched)
            raise
        self._guard.has_group(watched, process.pid)
        fd = os.pidfd_open(process.pid)
        self._selector.register(fd, selectors.EVENT_READ)
        self._running[fd] = _Running(task, process, watched, begun)

    def _reap(self, fd: int, problem: str) -> None:
        """End a process, and whatever it left in its group."""
        one = self._running.pop(fd)
        # Before it is waited for: until then nobody else can have its number.
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        ended = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        if one.task.container and ended.si_status:  # it goes on when only its client was killed
            containers.end(one.task.container)
        self._guard.over(one.watched)
        code = one.process.wait()
        self._selector.unregister(fd)
        os.close(fd)
        if not problem and code:
            problem = f"it exited with {EXIT_SIGNAL - code if code < 0 else code}"
        self._ended.append(Ended(one.task.name, problem, time.monotonic() - one.begun))


def _started(task: Task) -> subprocess.Popen[bytes]:
    with task.log.open("ab") as log:
        return subprocess.Popen(
            task.command,
            cwd=task.directory,
            env=dict(task.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
            preexec_fn=partial(_prepare, os.getpid(), task.memory),  # noqa: PLW1509 - see below
        )


def _prepare(parent: int, memory: int) -> None:
    """Prepare the new process; calls the kernel alone, as there may be threads beside."""
    os.umask(0o022)
    die_with(parent)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
