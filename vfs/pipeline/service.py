"""The service of a store's pipelines: looks what is due, and has it run, each job by a process.

It keeps nothing in memory that counts: killed at any moment, the next one finds what is due.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.daemon.linux import die_with
from vfs.errors import StoreError
from vfs.pipeline import records
from vfs.pipeline.triggers import Standing, standings

if TYPE_CHECKING:
    from vfs.run.places import OpenRepository

log = logging.getLogger(__name__)

NAME: Final = ".service"
"""What the lock is called that a service holds: no pipeline's name."""

LOOK_SECONDS: Final = 0.25
ALL_SECONDS: Final = 10.0
"""After so long all is looked at again, though nothing moved: clocks go on, and code changes."""

AGAIN_SECONDS: Final = 2.0
"""So long a pipeline rests whose process ended without a job that says why."""

_WATCHED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(
    store: Path,
    open_repository: OpenRepository,
    ready: Callable[[], None],
) -> None:
    """Run what is due until a signal ends it; jobs that go on are stopped, and go on next time.

    Raises Conflict where another one serves this store.
    """
    with records.locked(store, NAME):
        _Service(store, open_repository).run(ready)


class _Service:
    def __init__(self, store: Path, open_repository: OpenRepository) -> None:
        self._store = store
        self._open = open_repository
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._resting: dict[str, float] = {}
        self._seen: object = None
        self._looked = 0.0
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ends = False

    def run(self, ready: Callable[[], None]) -> None:
        before = {number: signal.signal(number, self._end) for number in _WATCHED}
        child = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            ready()
            while not self._ends:
                self._turn()
                self._sleep()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in (*before.items(), (signal.SIGCHLD, child)):
                signal.signal(number, handler)
            self._stop_all()

    def _end(self, *_: object) -> None:
        self._ends = True

    def _sleep(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakes, selectors.EVENT_READ)
            if selector.select(LOOK_SECONDS):
                os.read(self._wakes, 4096)

    def _turn(self) -> None:
        """Take note of jobs that ended, and begin those that are due."""
        ended = [name for name, child in self._children.items() if child.poll() is not None]
        for name in ended:
            code = self._children.pop(name).returncode
            last = next(iter(records.jobs(self._store, name)), None)
            if code and (last is None or last.state != "failure"):
                log.warning("the process of the pipeline %s ended with %d", name, code)
                self._resting[name] = time.monotonic() + AGAIN_SECONDS
        now = time.monotonic()
        rested = [name for name, until in self._resting.items() if until <= now]
        for name in rested:
            del self._resting[name]
        for name, standing in self._look(anyway=bool(ended or rested)).items():
            if standing == "due" and name not in self._children and name not in self._resting:
                self._begin(name)

    def _look(self, *, anyway: bool) -> dict[str, Standing]:
        """Return how pipelines stand, if that may have changed since the last look."""
        now = time.monotonic()
        try:
            with self._open() as repo:
                settings = repo.store.settings.items(records.PREFIX)
                seen = (repo.store.refs.newest_slot(), settings)
                if seen == self._seen and not anyway and now - self._looked < ALL_SECONDS:
                    return {}
                self._seen, self._looked = seen, now
                return standings(repo, self._store, time.time())
        except StoreError as error:
            log.warning("%s", error)
            return {}

    def _begin(self, name: str) -> None:
        log.info("the pipeline %s is due", name)
        command = [sys.executable, "-m", "vfs", "--store", str(self._store), "pipeline", "run"]
        self._children[name] = subprocess.Popen(
            [*command, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(die_with, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - one thread
        )

    def _stop_all(self) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait()
