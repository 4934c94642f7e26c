"""Clusters of Dask on this machine, whose processes are killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.mounting import ROOT

Process = subprocess.Popen[bytes]


class Cluster:
    """A scheduler, and workers of one thread each."""

    def __init__(self, undo: ExitStack, directory: Path) -> None:
        self._undo, self._directory = undo, directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self._port}"

    def scheduler(self) -> Process:
        return self._begin(
            "scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"
        )

    def worker(self, *options: str, hidden: Path | None = None) -> Process:
        """Begin a worker; with *hidden*, one that does not see what is there, as elsewhere."""
        own = ["--local-directory", str(self._directory / "dask"), "--nthreads", "1"]
        command = ["worker", self.url, "--no-nanny", "--no-dashboard", *own, *options]
        if hidden is None:
            return self._begin(*command)
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self._directory))
        hide = f'mount -t tmpfs none "{hidden}" && exec "$@"'
        return self._begin(
            *command, before=("unshare", "--mount", "sh", "-c", hide, "sh"), HOME=str(home),
            TMPDIR=str(home),
        )  # fmt: skip

    def _begin(
        self, what: str, *options: str, before: Sequence[str] = (), **environment: str
    ) -> Process:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._undo.callback(process.wait, 60)
        self._undo.callback(process.kill)
        return process


class FarCluster:
    """A scheduler, and workers that don't see what is in the directory `hidden`."""

    def __init__(self, undo: ExitStack, directory: Path, *, workers: int) -> None:
        self._cluster = Cluster(undo, directory)
        self.url = self._cluster.url
        self.hidden = directory / "hidden"
        self.hidden.mkdir()
        self._workers: list[Process] = []
        self.begin(workers)

    def begin(self, workers: int) -> None:
        """Begin a scheduler and workers of it."""
        self.scheduler = self._cluster.scheduler()
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> Process:
        self._workers.append(self._cluster.worker(hidden=self.hidden))
        return self._workers[-1]

    def worker_of(self, pid: int) -> Process:
        """Return the worker that has started a process."""
        return next(one for one in self._workers if one.pid in ancestors(pid))


def ancestors(pid: int) -> Iterator[int]:
    """Yield the parent of a process, its parent, and so on."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid
