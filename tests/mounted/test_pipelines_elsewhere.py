"""Pipelines on workers that see no store: inputs from a remote, outputs back as parcels."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.mounted.test_pipelines import (
    BLOCKED,
    create,
    files,
    hub,
    jobs,
    numbers,
    put,
    shown,
    stuck,
)
from tests.mounted.test_pipelines_on_dask import DONE, WORDS, Cluster, cluster, job
from tests.support.hub import Hub
from tests.support.mounting import wait_for_end, wait_until

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide the store from a worker"),
]
__all__ = ["cluster", "hub"]

IMAGES = {"data": "images", "glob": "/*"}
EDGES = """
! ls -A {store} | grep -q .
sh tools/upper.sh < $VFS_FILE_IMAGES > "$VFS_OUT/$(basename $VFS_FILE_IMAGES)"
"""


def with_code(hub: Hub) -> list[str]:
    """Make the file that EDGES runs."""
    code = hub.store.parent / "tools" / "upper.sh"
    code.parent.mkdir()
    code.write_text("tr a-z A-Z")
    return ["tools/upper.sh"]


def remote(hub: Hub) -> str:
    """Give the store a remote, and return its name."""
    hub.vfs("remote", "add", "origin", f"file://{hub.store.parent}/remote")
    return "origin"


def test_workers_need_the_remote_alone_and_make_the_same_version(
    hub: Hub, cluster: Cluster
) -> None:
    cluster.scheduler()
    for _ in range(2):
        cluster.worker(hidden=hub.store)
    put(hub, "images", WORDS)
    script = EDGES.format(store=hub.store)
    far = {"scheduler": cluster.url, "remote": remote(hub), "parallelism": 3}
    create(hub, "edges", script, IMAGES, code=with_code(hub), **far)
    hub.vfs("pipeline", "run", "edges")
    put(hub, "images", {**WORDS, "f3": "three"})
    hub.vfs("pipeline", "run", "edges")
    assert numbers(jobs(hub, "edges")[0]) == (8, 1, 7, 1)
    assert files(hub, "edges") == {**DONE, "f3": "THREE"}
    there = shown(hub, "edges")["provenance"]["output"]["tree"]
    assert hub.vfs("fsck").returncode == 0

    here = EDGES.partition("\n")[2].partition("\n")[2]
    create(hub, "here", here, IMAGES, code=["tools/upper.sh"])
    hub.vfs("pipeline", "run", "here")
    assert shown(hub, "here")["provenance"]["output"]["tree"] == there


def test_all_that_a_command_can_write_comes_back_and_what_it_says(
    hub: Hub, cluster: Cluster
) -> None:
    cluster.scheduler()
    cluster.worker(hidden=hub.store)
    put(hub, "images", {"a": "a", "none": ""})
    script = """
        [ -s $VFS_FILE_IMAGES ] || exit 0
        head -c 9000000 /dev/urandom > $VFS_OUT/large
        truncate -s 20M $VFS_OUT/hole
        ln -s ../x $VFS_OUT/link
        mkdir -p $VFS_OUT/a/b $VFS_OUT/empty
        echo 'echo x' > $VFS_OUT/a/b/run
        chmod 755 $VFS_OUT/a/b/run
        b2sum < $VFS_OUT/large
    """
    far = {"scheduler": cluster.url, "remote": f"file://{hub.store.parent}/remote"}
    create(hub, "edges", script, IMAGES, **far)
    hub.vfs("pipeline", "run", "edges")
    (hub.store.parent / "out").mkdir()
    hub.vfs("export", "edges", hub.store.parent / "out")
    out = hub.store.parent / "out"
    assert (out / "hole").stat().st_blocks == 0
    assert (out / "link").readlink() == Path("../x")
    assert (out / "a/b/run").stat().st_mode & 0o777 == 0o755
    assert not (out / "empty").exists()
    digest = hashlib.blake2b((out / "large").read_bytes()).hexdigest()
    assert digest in hub.vfs("pipeline", "logs", "edges").stdout

    create(hub, "edges", "echo no good; exit 3", IMAGES, "--update", tries=1, **far)
    assert hub.vfs("pipeline", "run", "edges", check=False).returncode == 1
    assert "it exited with 3" in jobs(hub, "edges")[0]["problem"]
    assert "no good" in hub.vfs("pipeline", "logs", "edges").stdout


def mounting(url: str) -> list[str]:
    """The processes that mount something of a remote."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mount" in words and url.encode() in words:
            found.append(process.name)
    return found


@pytest.mark.crash
@pytest.mark.parametrize("whom", ["worker", "scheduler", "job"])
def test_what_is_killed_loses_and_doubles_nothing(hub: Hub, cluster: Cluster, whom: str) -> None:
    here = hub.store.parent
    put(hub, "images", WORDS)
    create(hub, "edges", BLOCKED.format(here=here), IMAGES, tries=1)
    url = f"file://{here}/remote"
    options = ("--scheduler", cluster.url, "--remote", url)
    scheduler, worker = cluster.scheduler(), cluster.worker(hidden=hub.store)
    with job(hub, *options) as running:
        left = stuck(here)
        assert mounting(url)
        (here / "go").touch()
        victim = {"worker": worker, "scheduler": scheduler, "job": running}[whom]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        wait_for_end(left)
        if whom == "worker":  # nothing stays of its mounts
            wait_until(lambda: not mounting(url))
        if whom == "scheduler":
            cluster.scheduler()
        if whom != "job":
            cluster.worker(hidden=hub.store)
            assert running.wait(timeout=120) == 0
    if whom == "job":  # its command is killed, and the worker is there for the next
        hub.vfs("pipeline", "run", "edges", *options)
    assert files(hub, "edges") == DONE
    assert numbers(jobs(hub, "edges")[0])[0] == 8
    assert hub.vfs("fsck").returncode == 0
