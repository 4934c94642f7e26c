"""Pushes, pulls and phases of collections in any order: what references name is always whole."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.remotes import (
    Tree,
    WatchedBucket,
    assert_remote_sound,
    commit,
    connect,
    read_tree,
)
from vfs.clock import NS
from vfs.errors import NotFastForward, RemoteChanged
from vfs.remote import pack
from vfs.remote.files import FileBucket
from vfs.remote.remote import Remote
from vfs.repo.gc import Rules
from vfs.repo.repository import Repository
from vfs.sync.collecting import Options, collect, phases
from vfs.sync.collecting import packs as packs_of
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

EXAMPLES = int(os.environ.get("VFS_REMOTE_GC_EXAMPLES", "12"))
STEPS = int(os.environ.get("VFS_REMOTE_GC_STEPS", "14"))
DAY = 86_400
KEEPS = (0, 30 * DAY)


class World:
    """Two stores, a remote, and a clock that only steps move."""

    def __init__(self, base: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.place = base / "remote"
        self.repos = [Repository.create(base / f"{number}") for number in range(2)]
        self.days = 10.0  # all that is written is old: its time is the real one
        self.depth = 0

    def remote(self) -> Remote:
        """Connect; while this one works, the other side may come in between."""
        return connect(
            self.place, bucket=WatchedBucket(FileBucket(self.place), before=self._between)
        )

    def _between(self, call: str, name: str) -> None:
        if self.depth == 1 and call in ("put", "delete") and self.rng.random() < 0.15:
            with suppress(NotFastForward, RemoteChanged):
                self.step()

    def step(self) -> None:
        self.depth += 1
        try:
            at = self.rng.randrange(2)
            choice = self.rng.randrange(8)
            if choice < 3:
                self.change(self.repos[at])
                self.push(self.repos[at], at)
            elif choice == 3:
                self.pull(self.repos[at])
            elif choice == 4 and self.depth == 1:
                self.days += 1.5  # a process that works meanwhile is not so slow
            else:
                self.collect()
        finally:
            self.depth -= 1

    def change(self, repo: Repository) -> None:
        tree: Tree = {}
        if "data" in repo.data_sets() and repo.refs("data"):
            tree = dict(read_tree(repo, repo.commit(repo.resolve("data").commit).root))
        for _ in range(self.rng.randrange(1, 4)):
            name = f"{self.rng.randrange(12)}"
            # Contents come again, as what is condemned may be needed a moment later.
            content = b"%d" % self.rng.randrange(6) * self.rng.choice((1, 1500, 9000))
            tree[name] = self.rng.choice((content, {"below": content}))
        commit(repo, tree, f"{self.rng.random()}")

    def push(self, repo: Repository, at: int) -> None:
        with self.remote() as remote:
            try:
                push(repo, remote, "origin", repo.all_refs())
            except NotFastForward:
                force = self.rng.random() < 0.5
                if force:
                    push(repo, remote, "origin", repo.all_refs(), force=True)
                else:
                    self.pull(repo)

    def pull(self, repo: Repository) -> None:
        if (self.place / "refs").exists():
            with self.remote() as remote:
                pull(repo, remote, "origin", [Wanted("data")], force=True)

    def collect(self) -> None:
        if not (self.place / "vfs.json").exists():
            return
        rules = {"data": Rules(last=2)} if self.rng.random() < 0.3 else {}
        options = Options(
            keep_s=self.rng.choice(KEEPS), repack_share=self.rng.random(), rules=rules
        )
        with self.remote() as remote:
            collect(remote, options)


@contextmanager
def small_packs() -> Iterator[None]:
    before = pack.PACK_RAW_BYTES, packs_of.MANY
    pack.PACK_RAW_BYTES, packs_of.MANY = 20_000, 4
    try:
        yield
    finally:
        pack.PACK_RAW_BYTES, packs_of.MANY = before


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
@example(seed=3798525)  # a pack of an outrun collection is made again by the one that outran it
def test_what_references_name_is_whole_whatever_comes_between(seed: int) -> None:
    from vfs.clock import now_ns

    with tempfile.TemporaryDirectory() as directory, small_packs():
        world = World(Path(directory), seed)
        phases.now_ns = lambda: now_ns() + int(world.days * DAY * NS)
        try:
            for _ in range(STEPS):
                with suppress(NotFastForward):
                    world.step()
                assert_remote_sound(world.place)
            for days in (2, 4):
                world.days += days
                world.collect()
                assert_remote_sound(world.place)
        finally:
            phases.now_ns = now_ns
        if (world.place / "refs").exists():
            with Repository.create(Path(directory) / "clone") as clone:
                with connect(world.place) as remote:
                    pull(clone, remote, "origin", [Wanted("data")])
                head = clone.commit(clone.resolve("data").commit).root
                owner = next(
                    repo
                    for repo in world.repos
                    if "data" in repo.data_sets()
                    and repo.store.refs.commit_slot(clone.resolve("data").commit) is not None
                )
                assert read_tree(clone, head) == read_tree(owner, head)
        for repo in world.repos:
            repo.close()
