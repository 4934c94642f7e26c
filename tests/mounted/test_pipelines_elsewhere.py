"""Pipelines on workers that see no store: inputs from a remote, outputs back as parcels."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mounted.test_pipelines import (
    BLOCKED,
    create,
    files,
    jobs,
    numbers,
    pipelines_hub,
    put,
    shown,
    stuck,
)
from tests.mounted.test_pipelines_on_dask import DONE, WORDS, job
from tests.support.clusters import FarCluster, Process, ancestors
from tests.support.hub import Hub
from tests.support.mounting import wait_for_end
from vfs.repo.fsck import check_store

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide the store from a worker"),
]

IMAGES = {"data": "images", "glob": "/*"}
EDGES = """
[ ! -e {store} ]
sh tools/upper.sh < $VFS_FILE_IMAGES > "$VFS_OUT/$(basename $VFS_FILE_IMAGES)"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarCluster]:
    """One for all tests, as it takes long to begin. Whoever kills its scheduler begins another."""
    with ExitStack() as undo:
        yield FarCluster(undo, tmp_path_factory.mktemp("cluster"), workers=2)


@pytest.fixture
def hub(cluster: FarCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty store that workers do not see; nothing is left of any job."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pipelines_hub(Path(tempfile.mkdtemp(dir=cluster.hidden))) as made:
        yield made


def with_code(hub: Hub) -> list[str]:
    """Make the file that EDGES runs."""
    code = hub.store.parent / "tools" / "upper.sh"
    code.parent.mkdir()
    code.write_text("tr a-z A-Z")
    return ["tools/upper.sh"]


def test_workers_need_the_remote_alone_and_make_the_same_version(
    hub: Hub, cluster: FarCluster, tmp_path: Path
) -> None:
    put(hub, "images", WORDS)
    hub.vfs("remote", "add", "origin", f"file://{tmp_path}/remote")
    script = EDGES.format(store=hub.store)
    far = {"scheduler": cluster.url, "remote": "origin", "parallelism": 3}
    create(hub, "edges", script, IMAGES, code=with_code(hub), **far)
    hub.vfs("pipeline", "run", "edges")
    put(hub, "images", {**WORDS, "f3": "three"})
    hub.vfs("pipeline", "run", "edges")
    assert numbers(jobs(hub, "edges")[0]) == (8, 1, 7, 1)
    assert files(hub, "edges") == {**DONE, "f3": "THREE"}
    there = shown(hub, "edges")["provenance"]["output"]["tree"]
    assert check_store(hub.store, data=False).damages == []

    here = EDGES.partition("\n")[2].partition("\n")[2]
    create(hub, "here", here, IMAGES, code=["tools/upper.sh"])
    hub.vfs("pipeline", "run", "here")
    assert shown(hub, "here")["provenance"]["output"]["tree"] == there


def test_all_that_a_command_can_write_comes_back_and_what_it_says(
    hub: Hub, cluster: FarCluster, tmp_path: Path
) -> None:
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
    far = {"scheduler": cluster.url, "remote": f"file://{tmp_path}/remote"}
    create(hub, "edges", script, IMAGES, **far)
    hub.vfs("pipeline", "run", "edges")
    out = tmp_path / "out"
    out.mkdir()
    hub.vfs("export", "edges", out)
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


def mounting(url: str, worker: Process) -> list[int]:
    """The processes of a worker that mount something of a remote."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"mount" in words and url.encode() in words:
                pid = int(process.name)
                found += [pid] if worker.pid in ancestors(pid) else []
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.crash
@pytest.mark.parametrize("whom", ["job", "worker", "scheduler"])
def test_what_is_killed_loses_and_doubles_nothing(
    hub: Hub, cluster: FarCluster, tmp_path: Path, whom: str
) -> None:
    put(hub, "images", WORDS)
    create(hub, "edges", BLOCKED.format(here=tmp_path), IMAGES, tries=1)
    url = f"file://{tmp_path}/remote"
    options = ("--scheduler", cluster.url, "--remote", url)
    with job(hub, *options) as running:
        left = stuck(tmp_path)
        worker = cluster.worker_of(left)
        mounts = mounting(url, worker)
        assert mounts
        (tmp_path / "go").touch()
        victim = {"worker": worker, "scheduler": cluster.scheduler, "job": running}[whom]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        wait_for_end(left)
        if whom == "worker":  # nothing stays of its mounts; the other one goes on
            for pid in mounts:
                wait_for_end(pid)
        if whom == "scheduler":  # its workers end with it
            cluster.begin(workers=1)
        if whom != "job":
            assert running.wait(timeout=120) == 0
    if whom == "job":  # its command is killed, and the worker is there for the next
        hub.vfs("pipeline", "run", "edges", *options)
    assert files(hub, "edges") == DONE
    assert numbers(jobs(hub, "edges")[0])[0] == 8
    assert check_store(hub.store, data=False).damages == []
