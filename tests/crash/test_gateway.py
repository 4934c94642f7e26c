"""Stores that share versions through a real gateway, over a line that fails."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.proxy import Proxy
from tests.support.remotes import commit, new_place, read_tree
from tests.support.stores import children, finish, start_child
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash, pytest.mark.s3]

RUNS = int(os.environ.get("VFS_GATEWAY_RUNS", "2"))
KILLS = int(os.environ.get("VFS_GATEWAY_KILLS", "4"))
PUSHERS = 8

SYNC = """
import sys
from pathlib import Path
from tests.support.remotes import commit
from vfs.errors import NotFastForward, RemoteProblem, RemoteUnavailable
from vfs.remote.remote import Remote
from vfs.remote.urls import open_bucket
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

what, store, url, endpoint, *more = sys.argv[1:]
def patiently(work):
    while True:
        try:
            with Remote.connect(open_bucket(url, endpoint), store=None, make=True) as remote:
                return work(remote)
        except (RemoteProblem, RemoteUnavailable) as error:
            print(error, file=sys.stderr)

with Repository.open(Path(store)) as repo:
    if what == "push":
        patiently(lambda remote: push(repo, remote, "origin", repo.all_refs()))
    elif what == "pull":
        patiently(lambda remote: pull(repo, remote, "origin", [Wanted("data")]))
    while what == "commit":
        patiently(lambda remote: pull(repo, remote, "origin", [Wanted("data")], force=True))
        commit(repo, {"by": more[0].encode()}, more[0])
        try:
            patiently(lambda remote: push(repo, remote, "origin", repo.all_refs()))
            break
        except NotFastForward:
            pass
"""


def gateway() -> str:
    return os.environ["VFS_TEST_S3_ENDPOINT"]


def history(path: Path, versions: int) -> dict[str, bytes]:
    """Make a store with some versions; return the files of the last."""
    rng = random.Random(4)
    files: dict[str, bytes] = {}
    with Repository.create(path) as repo:
        for number in range(versions):
            files |= {f"{number}-{name}": rng.randbytes(30_000) for name in range(8)}
            commit(repo, files, str(number))
    return files


def clone(path: Path, place: str, endpoint: str) -> list[str]:
    """Pull into a new store; return the messages of its versions."""
    Repository.create(path).close()
    finish(start_child(SYNC, "pull", path, place, endpoint), seconds=120)
    assert check_store(path, data=True).damages == []
    with Repository.open(path) as repo:
        return [record.message for _, record in repo.log("data")]


def test_a_line_that_fails_spoils_nothing(tmp_path: Path) -> None:
    files = history(tmp_path / "source", 3)
    for seed in range(RUNS):
        place = new_place()
        with Proxy(gateway(), fail=0.1, seed=seed) as proxy:
            finish(start_child(SYNC, "push", tmp_path / "source", place, proxy.url), seconds=120)
            messages = clone(tmp_path / f"clone-{seed}", place, proxy.url)
        assert messages == ["2", "1", "0"]
        with Repository.open(tmp_path / f"clone-{seed}") as repo:
            root = repo.commit(repo.resolve("data").commit).root
            assert read_tree(repo, root) == files


@pytest.mark.parametrize("what", ["push", "pull"])
def test_killed_at_any_moment_the_remote_is_whole(what: str, tmp_path: Path) -> None:
    history(tmp_path / "source", 3)
    place, rng = new_place(), random.Random(what)
    if what == "pull":
        finish(start_child(SYNC, "push", tmp_path / "source", place, gateway()))
    with Proxy(gateway(), latency=0.01) as proxy:
        for number in range(KILLS):
            if what == "push":
                with Repository.open(tmp_path / "source") as repo:
                    commit(repo, {"new": rng.randbytes(100_000)}, f"more {number}")
            elif not number:
                Repository.create(tmp_path / "sink").close()
            store = tmp_path / ("source" if what == "push" else "sink")
            after = proxy.requests.total() + rng.randrange(1, 12)
            child = start_child(SYNC, what, store, place, proxy.url)
            while proxy.requests.total() < after and child.poll() is None:
                proxy.wait_for_request(0.05)
            child.kill()
            child.communicate()
            if what == "pull":
                assert check_store(store, data=True).damages == []
            elif number:
                clone(tmp_path / f"clone-{number}", place, gateway())
            else:
                finish(start_child(SYNC, "push", store, place, gateway()))
    messages = clone(tmp_path / "last", place, gateway())
    assert messages[-3:] == ["2", "1", "0"]


@pytest.mark.parametrize("run", range(RUNS))
def test_eight_who_push_to_one_branch_lose_nothing(run: int, tmp_path: Path) -> None:
    place = new_place()
    history(tmp_path / "first", 1)
    finish(start_child(SYNC, "push", tmp_path / "first", place, gateway()))
    rows = []
    for number in range(PUSHERS):
        Repository.create(tmp_path / f"{number}").close()
        rows.append(("commit", tmp_path / f"{number}", place, gateway(), f"by {number}"))
    with children(SYNC, rows) as running:
        for child in running:
            finish(child, seconds=120)
    messages = clone(tmp_path / "all", place, gateway())
    assert sorted(messages) == sorted(["0", *(f"by {number}" for number in range(PUSHERS))])
