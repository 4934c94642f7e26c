"""The process beside a mount's workers or branches: started when it is due, replaced, ended.

What it does is not known here. It is forked with its signals blocked, and tells that it is ready by
a signal, as its parent waits for nothing else.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from vfs.daemon.children import ended, how, kill
from vfs.daemon.crashes import CrashPolicy

log = logging.getLogger(__name__)

READY: Final = signal.SIGUSR1
LET_GO: Final = signal.SIGUSR2
"""Ends it when the mount is gone and nobody has anything open there any more; SIGTERM: at once."""

END_SECONDS: Final = 100.0
PATIENCE_SECONDS: Final = 60.0

Task = Callable[[Callable[[], None]], None]
"""What it runs; it is given what it calls when it is ready."""


class Companion:
    """Keeps the process; its parent calls `turn` when a child has ended, and when it is due."""

    def __init__(self, task: Task, fork: Callable[[Callable[[], int]], int]) -> None:
        self._task = task
        self._fork = fork
        self._pid = 0
        self._policy = CrashPolicy()
        self.due: float | None = None

    def turn(self) -> None:
        """Start the process when it is due, and see whether it has died."""
        now = time.monotonic()
        status = ended(self._pid) if self._pid else None
        if status is not None:
            log.warning("process %d, beside the others, %s", self._pid, how(status))
            self._pid = 0
            verdict = self._policy.died(now, killed=status == -signal.SIGKILL, was_ready=True)
            self.due = now + (PATIENCE_SECONDS if verdict.give_up else verdict.delay_seconds)
        if self.due is not None and self.due <= now:
            self.due = None
            self._pid = self._fork(self._run)

    def kill(self) -> None:
        """End it at once."""
        if self._pid:
            kill([self._pid])
            self._pid = 0

    def end(self, number: int) -> None:
        """Tell it to end by a signal, and wait for that in sigtimedwait(2)."""
        if not self._pid:
            return
        os.kill(self._pid, number)
        deadline = time.monotonic() + (END_SECONDS if number == signal.SIGTERM else 1e9)
        awaited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        while ended(self._pid) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                kill([self._pid])
                break
            woken = signal.sigtimedwait(awaited, left)
            if woken is not None and woken.si_signo != signal.SIGCHLD:
                deadline = min(deadline, time.monotonic() + END_SECONDS)
                os.kill(self._pid, signal.SIGTERM)
        self._pid = 0

    def _run(self) -> int:
        parent = os.getppid()
        self._task(lambda: os.kill(parent, READY))
        return 0
