"""Pipelines on workers that get their inputs from a real gateway, encrypted or not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.mounted.test_pipelines import BLOCKED, EDGES, create, files, jobs, put, stuck
from tests.mounted.test_pipelines_elsewhere import IMAGES, cluster, hub, mounting
from tests.mounted.test_pipelines_on_dask import DONE, WORDS, job
from tests.support.clusters import FarCluster
from tests.support.hub import Hub
from tests.support.mounting import wait_for_end
from tests.support.remotes import new_place
from vfs.repo.fsck import check_store

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.mounted,
    pytest.mark.s3,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide the store from a worker"),
]
__all__ = ["cluster", "hub"]


def add_remote(hub: Hub, *options: object) -> str:
    """Give the store the remote `origin` at the gateway; return its URL."""
    url = new_place()
    endpoint = os.environ["VFS_TEST_S3_ENDPOINT"]
    hub.vfs("remote", "add", "origin", url, "--endpoint", endpoint, *options)
    return url


@pytest.mark.crash
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_worker_that_is_killed_loses_nothing_and_leaves_nothing(
    hub: Hub, cluster: FarCluster, tmp_path: Path, encrypted: bool
) -> None:
    key = tmp_path / "key"
    if encrypted:
        hub.vfs("remote", "key", key)
    url = add_remote(hub, *(("--key-file", key) if encrypted else ()))
    put(hub, "images", WORDS)
    create(hub, "edges", BLOCKED.format(here=tmp_path), IMAGES, tries=1)
    with job(hub, "--scheduler", cluster.url, "--remote", "origin") as running:
        left = stuck(tmp_path)
        worker = cluster.worker_of(left)
        mounts = mounting(url, worker)
        assert mounts
        (tmp_path / "go").touch()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        for pid in (left, *mounts):
            wait_for_end(pid)
        cluster.add_worker()
        assert running.wait(timeout=120) == 0
    assert files(hub, "edges") == DONE
    assert check_store(hub.store, data=False).damages == []
    hub.vfs("fsck", "--remote", "origin")


@pytest.mark.parametrize("secret", ["key file", "passphrase"])
def test_a_worker_without_the_secret_says_so(
    hub: Hub, cluster: FarCluster, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if secret == "key file":
        key = hub.store.parent / "key"  # where workers do not see it
        hub.vfs("remote", "key", key)
        add_remote(hub, "--key-file", key)
        expected = f"{key}: No such file"
    else:
        expected = "the remote is encrypted, and its passphrase was not given"
        monkeypatch.setenv("VFS_PASSPHRASE", "correct horse battery staple")
        add_remote(hub, "--encrypt")
    put(hub, "images", {"a": "a"})
    create(hub, "edges", EDGES, IMAGES, tries=1)
    far = ("--scheduler", cluster.url, "--remote", "origin")
    assert hub.vfs("pipeline", "run", "edges", *far, check=False).returncode == 1
    problem = jobs(hub, "edges")[0]["problem"]
    assert "can't be mounted on" in problem
    assert expected in problem
