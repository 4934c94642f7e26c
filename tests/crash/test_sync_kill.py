"""Killed while it pushes or pulls: the remote is whole, the store sound, the next one goes on."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.remotes import assert_whole, commit, connect
from tests.support.stores import children, finish, run_child, start_child
from vfs.errors import RemoteProblem
from vfs.remote.files import FileBucket
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.sync.push import push

pytestmark = pytest.mark.crash

PUSHERS = int(os.environ.get("VFS_PUSHERS", "4"))
COMMITS = int(os.environ.get("VFS_PUSHER_COMMITS", "3"))

KILLED = """
import sys
from pathlib import Path
from tests.support.remotes import DyingBucket, connect
from vfs.remote import pack
from vfs.remote.files import FileBucket
from vfs.repo.repository import Repository
from vfs.sync import receiving
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

what, store, place, calls = sys.argv[1:]
pack.PACK_RAW_BYTES = 20_000
receiving.CHUNKS_BYTES = 10_000
bucket = DyingBucket(FileBucket(Path(place)), int(calls))
with Repository.open(Path(store)) as repo, connect(Path(place), bucket=bucket) as remote:
    if what == "push":
        push(repo, remote, "origin", repo.all_refs())
    else:
        pull(repo, remote, "origin", [Wanted("data")])
print(bucket.count)
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A store whose history takes several packs."""
    rng = random.Random(1)
    path = tmp_path / "full"
    with Repository.create(path) as repo:
        tree: dict[str, bytes | dict[str, bytes]] = {}
        for number in range(4):
            tree[f"big{number}"] = rng.randbytes(30_000)
            tree[f"d{number}"] = {f"{n}": rng.randbytes(50) for n in range(40)}
            commit(repo, tree, f"{number}")
    return path


def test_a_push_that_is_killed_leaves_a_whole_remote(full: Path, tmp_path: Path) -> None:
    shutil.copytree(full, tmp_path / "measured")  # who pushed once knows the remote
    calls = int(run_child(KILLED, "push", tmp_path / "measured", tmp_path / "whole", 10**9))
    for at in range(1, calls + 1, max(1, calls // 12)):
        place, store = tmp_path / f"remote-{at}", tmp_path / f"store-{at}"
        shutil.copytree(full, store)
        child = start_child(KILLED, "push", store, place, at)
        child.communicate(timeout=60)
        assert child.returncode == -9
        assert_whole(place)
        packs = {item.name for item in FileBucket(place).items("packs")}
        run_child(KILLED, "push", store, place, 10**9)
        assert len(assert_whole(place)) == 4
        # What was written before is used: its packs are those that the next push makes, too.
        whole = {item.name for item in FileBucket(tmp_path / "whole").items("packs")}
        assert packs <= whole
        shutil.rmtree(store)


def test_a_pull_that_is_killed_leaves_a_sound_store(full: Path, tmp_path: Path) -> None:
    place = tmp_path / "remote"
    run_child(KILLED, "push", full, place, 10**9)
    Repository.create(tmp_path / "measure").close()
    calls = int(run_child(KILLED, "pull", tmp_path / "measure", place, 10**9))
    store = tmp_path / "store"
    Repository.create(store).close()
    for at in range(1, calls + 1, max(1, calls // 8)):
        child = start_child(KILLED, "pull", store, place, at)
        child.communicate(timeout=60)
        assert check_store(store, data=True).damages == []
    finish(start_child(KILLED, "pull", store, place, 10**9))
    assert check_store(store, data=True).damages == []
    with Repository.open(store) as repo, Repository.open(full) as source:
        assert repo.resolve("data").commit == source.resolve("data").commit


PUSHER = """
import sys
from pathlib import Path
from tests.support.remotes import build, connect
from vfs.errors import NotFastForward
from vfs.repo.repository import Repository
from vfs.repo.trees import edit_tree, with_tree
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

store, place, who, commits = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
with Repository.open(store) as repo:
    for number in range(commits):
        while True:
            with connect(place) as remote:
                pull(repo, remote, "origin", [Wanted("data")], force=True)
            with repo.store.ingest() as ingest:
                new = build(ingest, f"{who}-{number}".encode(), {})
                def root(head):
                    tree = edit_tree(repo.reader, ingest, head.root.content, {new.name: new})
                    return with_tree(head.root, *tree)
                repo.commit_root("data", "main", root, ingest=ingest, message=f"{who}-{number}")
            with connect(place) as remote:
                try:
                    push(repo, remote, "origin", repo.all_refs())
                    break
                except NotFastForward:
                    pass
"""


def test_many_who_push_to_one_branch_lose_nothing(tmp_path: Path) -> None:
    place = tmp_path / "remote"
    with Repository.create(tmp_path / "first") as repo, connect(place) as remote:
        commit(repo, {}, "first")
        push(repo, remote, "origin", repo.all_refs())
    stores = [tmp_path / f"store-{number}" for number in range(PUSHERS)]
    for path in stores:
        Repository.create(path).close()
    rows = [(path, place, number, COMMITS) for number, path in enumerate(stores)]
    with children(PUSHER, rows) as running:
        for child in running:
            finish(child, seconds=300)
    assert_whole(place)
    run_child(KILLED, "pull", tmp_path / "first", place, 10**9)
    with Repository.open(tmp_path / "first") as repo:
        messages = [record.message for _, record in repo.log("data")]
    wanted = {f"{who}-{number}" for who in range(PUSHERS) for number in range(COMMITS)}
    assert sorted(messages) == sorted(wanted | {"first"})


def test_a_missing_pack_is_noticed_by_the_check_of_this_module(full: Path, tmp_path: Path) -> None:
    place = tmp_path / "remote"
    run_child(KILLED, "push", full, place, 10**9)
    next((place / "packs").iterdir()).unlink()
    with pytest.raises(RemoteProblem):
        assert_whole(place)
