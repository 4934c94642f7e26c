"""Stores that share versions through a real gateway, over a line that fails."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.proxy import Moment, Proxy
from tests.support.remotes import assert_sound, commit, new_place, read_tree
from tests.support.stores import children, finish, start_child
from vfs.remote.urls import open_bucket
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash, pytest.mark.s3]

RUNS = int(os.environ.get("VFS_GATEWAY_RUNS", "2"))
KILLS = int(os.environ.get("VFS_GATEWAY_KILLS", "2"))
SEED = int(os.environ.get("VFS_GATEWAY_SEED", "0"))
PUSHERS = 8

SYNC = """
import sys
from pathlib import Path
from tests.support.remotes import commit
from vfs.errors import NotFastForward
from vfs.remote import pack
from vfs.remote.remote import Remote
from vfs.remote.urls import open_bucket
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

what, store, url, endpoint, *more = sys.argv[1:]
pack.PACK_RAW_BYTES = 100_000

def pushed():
    with Remote.connect(open_bucket(url, endpoint), store=None, make=True) as remote:
        push(repo, remote, "origin", repo.all_refs())

def pulled(**options):
    with Remote.connect(open_bucket(url, endpoint), store=None) as remote:
        pull(repo, remote, "origin", [Wanted("data")], **options)

with Repository.open(Path(store)) as repo:
    if what == "push":
        pushed()
    elif what == "pull":
        pulled()
    while what == "commit":
        pulled(force=True)
        commit(repo, {"by": more[0].encode()}, more[0])
        try:
            pushed()
            break
        except NotFastForward:
            pass
"""


def gateway() -> str:
    return os.environ["VFS_TEST_S3_ENDPOINT"]


def sync(what: str, store: Path, place: str, endpoint: str) -> None:
    finish(start_child(SYNC, what, store, place, endpoint), seconds=120)


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
    sync("pull", path, place, endpoint)
    assert check_store(path, data=True).damages == []
    with Repository.open(path) as repo:
        return [record.message for _, record in repo.log("data")]


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_a_line_that_fails_spoils_nothing(seed: int, tmp_path: Path) -> None:
    files, place = history(tmp_path / "source", 3), new_place()
    with Proxy(gateway(), fail=0.2, seed=seed) as proxy:
        sync("push", tmp_path / "source", place, proxy.url)
        messages = clone(tmp_path / "clone", place, proxy.url)
        assert proxy.failed
    assert messages == ["2", "1", "0"]
    assert_sound(open_bucket(place, gateway()))
    with Repository.open(tmp_path / "clone") as repo:
        root = repo.commit(repo.resolve("data").commit).root
        assert read_tree(repo, root) == files


def moments(proxy: Proxy, what: str, store: Path, place: str) -> int:
    """Push or pull; return how many requests and answers that took."""
    told: list[Moment] = []
    proxy.watch = told.append
    sync(what, store, place, proxy.url)
    return len(told)


def sync_killed(at: int, proxy: Proxy, what: str, store: Path, place: str) -> None:
    """Begin to push or pull, and kill that when so many requests and answers have come."""
    left = iter(range(at - 1, -1, -1))

    def watch(_: Moment) -> None:
        if next(left, None) == 0:
            child.kill()

    proxy.watch = watch
    child = start_child(SYNC, what, store, place, proxy.url)
    _, error = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, error


@pytest.mark.parametrize("what", ["push", "pull"])
def test_killed_at_any_moment_the_remote_is_whole(what: str, tmp_path: Path) -> None:
    source, place, rng = tmp_path / "source", new_place(), random.Random(f"{what} {SEED}")
    versions = ["0", "1", "2"]

    def store() -> Path:
        """Return one that lacks, or has, a version more than the remote."""
        path = tmp_path / f"sink {rng.random()}"
        if what == "pull":
            Repository.create(path).close()
            return path
        with Repository.open(source) as repo:
            versions.append(f"{len(versions)}")
            commit(repo, {"new": rng.randbytes(200_000)}, versions[-1])
        return source

    history(source, len(versions))
    sync("push", source, place, gateway())
    with Proxy(gateway()) as proxy:
        total = moments(proxy, what, store(), place)
        for _ in range(KILLS):
            path = store()
            sync_killed(rng.randrange(1, total + 1), proxy, what, path, place)
            assert check_store(path, data=True).damages == []
            assert_sound(open_bucket(place, gateway()))
    sync(what, path, place, gateway())
    assert clone(tmp_path / "last", place, gateway()) == versions[::-1]
    assert_sound(open_bucket(place, gateway()))


@pytest.mark.parametrize("run", range(RUNS))
def test_eight_who_push_to_one_branch_lose_nothing(run: int, tmp_path: Path) -> None:
    place = new_place()
    history(tmp_path / "first", 1)
    sync("push", tmp_path / "first", place, gateway())
    rows = []
    for number in range(PUSHERS):
        Repository.create(tmp_path / f"{number}").close()
        rows.append(("commit", tmp_path / f"{number}", place, gateway(), f"by {number}"))
    with children(SYNC, rows) as running:
        for child in running:
            finish(child, seconds=120)
    messages = clone(tmp_path / "all", place, gateway())
    assert sorted(messages) == sorted(["0", *(f"by {number}" for number in range(PUSHERS))])
