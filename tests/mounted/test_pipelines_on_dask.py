"""Pipelines on the workers of a Dask cluster, which are killed, and so is its scheduler."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.mounted.test_pipelines import (
    BLOCKED,
    EDGES,
    create,
    files,
    hub,
    jobs,
    numbers,
    put,
    stuck,
)
from tests.support.clusters import Cluster
from tests.support.hub import COMMAND, Hub
from tests.support.mounting import wait_for_end, wait_until
from vfs.pipeline.dask import claim
from vfs.repo.fsck import check_store

pytest.importorskip("distributed")
pytestmark = pytest.mark.mounted

__all__ = ["hub"]

WORDS = {f"f{i}": f"w{i}" for i in range(8)}
DONE = {name: text.upper() for name, text in WORDS.items()}


@pytest.fixture
def cluster(hub: Hub) -> Iterator[Cluster]:
    with ExitStack() as undo:
        yield Cluster(undo, hub.store.parent)


IMPATIENT = """
from vfs.cli.main import main
from vfs.pipeline import dask

dask.PATIENCE_SECONDS = {patience}
dask.CONNECT_SECONDS = {connect}
dask.SURVEY_SECONDS = 0.1
main()
"""


@contextmanager
def job(
    hub: Hub, *options: str, patience: int = 0, connect: float = 5
) -> Iterator[subprocess.Popen[str]]:
    """Begin a job; with *patience* (s), one that waits no longer for what is not there.

    *connect*: so long (s) it waits for a scheduler at the beginning.
    """
    program = COMMAND
    if patience:
        program = [sys.executable, "-c", IMPATIENT.format(patience=patience, connect=connect)]
    command = [*program, "--store", str(hub.store), "pipeline", "run", "edges", *options]
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
        left = stuck(here)
        (here / "go").touch()
        victim = {"worker": worker, "scheduler": scheduler, "job": running}[whom]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        wait_for_end(left)
        if whom == "scheduler":
            cluster.scheduler()
        if whom != "job":
            cluster.worker()
            assert running.wait(timeout=120) == 0
    if whom == "job":  # its command is killed, and the worker is there for the next
        hub.vfs("pipeline", "run", "edges", "--scheduler", cluster.url)
    assert files(hub, "edges") == DONE
    assert numbers(jobs(hub, "edges")[0])[0] == 8
    assert check_store(hub.store, data=False).damages == []


def test_a_scheduler_that_is_not_there_is_named(hub: Hub, cluster: Cluster) -> None:
    put(hub, "images", WORDS)
    create(hub, "edges", EDGES, {"data": "images", "glob": "/*"})
    with job(hub, "--scheduler", cluster.url, patience=1, connect=0.5) as running:
        assert running.wait(timeout=60) == 1
        assert running.stderr is not None
        assert f"no scheduler answers at {cluster.url}" in running.stderr.read()


def test_a_directory_is_claimed_once(tmp_path: Path) -> None:
    assert [claim(tmp_path), claim(tmp_path)] == [True, False]


@pytest.mark.crash
def test_a_scheduler_that_never_comes_back_ends_the_job_which_goes_on_later(
    hub: Hub, cluster: Cluster
) -> None:
    here = hub.store.parent
    put(hub, "images", WORDS)
    create(hub, "edges", BLOCKED.format(here=here), {"data": "images", "glob": "/*"}, tries=1)
    scheduler = cluster.scheduler()
    cluster.worker()
    with job(hub, "--scheduler", cluster.url, patience=1) as running:
        wait_until((here / "stuck").exists, seconds=30)
        (here / "go").touch()
        scheduler.kill()
        assert running.wait(timeout=60) == 1
    last = jobs(hub, "edges")[0]
    assert last["state"] == "failure"
    assert f"the scheduler {cluster.url} is gone" in last["problem"]
    kept = last["done"]
    cluster.scheduler()
    cluster.worker()
    hub.vfs("pipeline", "run", "edges", "--scheduler", cluster.url)
    assert numbers(jobs(hub, "edges")[0]) == (8, 8 - kept, kept, 0)
    assert files(hub, "edges") == DONE


def test_resources_that_workers_have_are_asked_of_them(hub: Hub, cluster: Cluster) -> None:
    cluster.scheduler()
    cluster.worker("--resources", "cpus=2")
    put(hub, "images", WORDS)
    images = {"data": "images", "glob": "/*"}
    far = {"scheduler": cluster.url, "parallelism": 2}
    create(hub, "edges", EDGES, images, resources={"cpus": 3, "memory": "1 GiB"}, **far)
    with job(hub, patience=1) as running:
        assert running.wait(timeout=60) == 1
    assert "has no worker with cpus=3" in jobs(hub, "edges")[0]["problem"]
    cluster.worker("--resources", "cpus=4 memory=4e9")
    hub.vfs("pipeline", "run", "edges")
    assert files(hub, "edges") == DONE
