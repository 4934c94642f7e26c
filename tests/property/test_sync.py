"""Stores that share versions through a remote that fails now and then, over any history."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.remotes import (
    FaultyBucket,
    Tree,
    assert_whole,
    commit,
    connect,
    patient,
    read_tree,
)
from vfs.errors import NotFastForward
from vfs.remote.files import FileBucket
from vfs.remote.remote import Remote
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

EXAMPLES = int(os.environ.get("VFS_SYNC_EXAMPLES", "12"))
NAMES = [f"{number:03}" for number in range(300)]


def change(tree: Tree, rng: random.Random, depth: int = 0) -> Tree:
    """Return a tree with some entries changed, added and removed, here and below."""
    changed = dict(tree)
    for name in rng.sample(NAMES, 2 if depth else rng.choice((1, 3, 150))):
        match rng.randrange(6):
            case 0:
                changed.pop(name, None)
            case 1 if depth < 3:
                below = changed.get(name)
                changed[name] = change(below if isinstance(below, dict) else {}, rng, depth + 1)
            case 2 if rng.random() < 0.2:
                changed[name] = b"".join(
                    rng.choice((bytes(1000), rng.randbytes(1000))) for _ in range(rng.randrange(90))
                )
            case _:
                changed[name] = rng.choice((b"", b"same", rng.randbytes(20)))
    return changed


def faulty(place: Path, rng: random.Random) -> Remote:
    bucket = FaultyBucket(FileBucket(place), rng.randrange(2**32), wrong_rate=0.03)
    return connect(place, bucket=patient(bucket))


def sync(repo: Repository, place: Path, rng: random.Random) -> None:
    """Push; who is behind pulls, and gives up what only he has."""
    with faulty(place, rng) as remote:
        try:
            push(repo, remote, "origin", repo.all_refs())
        except NotFastForward:
            pull(repo, remote, "origin", [Wanted("data")], force=True)


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_all_end_with_the_same(seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        base, place = Path(directory), Path(directory) / "remote"
        repos = [Repository.create(base / f"{number}") for number in range(2)]
        trees: list[Tree] = [{}, {}]
        commit(repos[0], trees[0])
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(2)
            repo = repos[at]
            if "data" in repo.data_sets() and repo.refs("data"):
                head = repo.commit(repo.resolve("data").commit)
                trees[at] = change(read_tree(repo, head.root), rng)
                commit(repo, trees[at])
            sync(repos[0] if rng.random() < 0.5 else repo, place, rng)
        sync(repos[0], place, rng)
        with faulty(place, rng) as remote:
            pull(repos[1], remote, "origin", [Wanted("data")], force=True)
        assert_whole(place)
        one, other = (repo.commit(repo.resolve("data").commit).root for repo in repos)
        assert one == other
        assert read_tree(repos[0], one) == read_tree(repos[1], other)
        for repo in repos:
            repo.close()
            assert check_store(repo.store.path, data=True).damages == []
