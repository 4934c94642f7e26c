"""Pipelines on the workers of a Dask cluster, which are killed, and so is its scheduler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.mounted.test_pipelines import BLOCKED, EDGES, create, files, hub, jobs, numbers, put
from tests.support.hub import COMMAND, Hub
from tests.support.mounting import ROOT, wait_until
from vfs.pipeline.dask import claim

pytest.importorskip("distributed")
pytestmark = pytest.mark.mounted

__all__ = ["hub"]

WORDS = {f"f{i}": f"w{i}" for i in range(8)}
DONE = {name: text.upper() for name, text in WORDS.items()}


class Cluster:
    """A scheduler, and workers of one thread each."""

    def __init__(self, undo: ExitStack, directory: Path) -> None:
        self._undo, self._directory = undo, directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self._port}"

    def scheduler(self) -> subprocess.Popen[bytes]:
        return self._begin(
            "scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"
        )

    def worker(self) -> subprocess.Popen[bytes]:
        own = ["--local-directory", str(self._directory / "dask"), "--nthreads", "1"]
        return self._begin("worker", self.url, "--no-nanny", "--no-dashboard", *own)

    def _begin(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._undo.callback(process.wait, 60)
        self._undo.callback(process.kill)
        return process


@pytest.fixture
def cluster(hub: Hub) -> Iterator[Cluster]:
    with ExitStack() as undo:
        yield Cluster(undo, hub.store.parent)


@contextmanager
def job(hub: Hub, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--store", str(hub.store), "pipeline", "run", "edges", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_workers_do_what_the_specification_says_and_skip_what_is_done(
    hub: Hub, cluster: Cluster
) -> None:
    cluster.scheduler()
    cluster.worker()
    cluster.worker()
    put(hub, "images", WORDS)
    images = {"data": "images", "glob": "/*"}
    create(hub, "edges", EDGES, images, scheduler=cluster.url, parallelism=3)
    hub.vfs("pipeline", "run", "edges")
    put(hub, "images", {**WORDS, "f3": "three"})
    hub.vfs("pipeline", "run", "edges")
    assert numbers(jobs(hub, "edges")[0]) == (8, 1, 7, 1)
    assert files(hub, "edges") == {**DONE, "f3": "THREE"}

    create(hub, "edges", "echo no good; exit 3", images, "--update", scheduler=cluster.url)
    assert hub.vfs("pipeline", "run", "edges", check=False).returncode == 1
    assert "it exited with 3" in jobs(hub, "edges")[0]["problem"]
    assert "no good" in hub.vfs("pipeline", "logs", "edges").stdout
    assert files(hub, "edges") == {**DONE, "f3": "THREE"}


@pytest.mark.crash
@pytest.mark.parametrize("whom", ["worker", "scheduler", "job"])
def test_what_is_killed_loses_and_doubles_nothing(hub: Hub, cluster: Cluster, whom: str) -> None:
    here = hub.store.parent
    put(hub, "images", WORDS)
    create(hub, "edges", BLOCKED.format(here=here), {"data": "images", "glob": "/*"}, tries=1)
    scheduler, worker = cluster.scheduler(), cluster.worker()
    with job(hub, "--scheduler", cluster.url) as running:
        wait_until((here / "stuck").exists, seconds=30)
        (here / "go").touch()
        victim = {"worker": worker, "scheduler": scheduler, "job": running}[whom]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        if whom == "scheduler":
            cluster.scheduler()
        if whom != "job":
            cluster.worker()
            assert running.wait(timeout=120) == 0
    if whom == "job":  # its command is killed, and the worker is there for the next
        hub.vfs("pipeline", "run", "edges", "--scheduler", cluster.url)
    assert files(hub, "edges") == DONE
    assert numbers(jobs(hub, "edges")[0])[0] == 8
    assert hub.vfs("fsck").returncode == 0


def test_a_scheduler_that_is_not_there_is_named(hub: Hub, cluster: Cluster) -> None:
    put(hub, "images", WORDS)
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"})
    failed = hub.vfs("pipeline", "run", "edges", "--scheduler", cluster.url, check=False)
    assert failed.returncode == 1
    assert f"no scheduler answers at {cluster.url}" in failed.stderr


def test_a_directory_is_claimed_once(tmp_path: Path) -> None:
    assert [claim(tmp_path), claim(tmp_path)] == [True, False]
