"""A branch in a remote's cache, against a model: nothing made here is lost before a push."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.caches import (
    PATIENT,
    evict_all,
    make_origin,
    new_cache,
    push_all,
    read_main,
    write,
)
from vfs.errors import NotFastForward
from vfs.repo.branches import commit_overlay
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.sync.cache import open_cache, refresh_cache
from vfs.sync.fetch import Wanted
from vfs.sync.ondemand import Patience
from vfs.sync.pull import pull
from vfs.sync.releasing import release
from vfs.sync.remotes import RemotePlace, connected, find_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = st.sampled_from(("a", "b", "c"))
DATA = st.builds(
    lambda byte, size: bytes([byte]) * size, st.integers(0, 3), st.sampled_from((1, 900, 40_000))
)


class Branches(RuleBasedStateMachine):
    """Writes, commits, pushes and evictions here, and pushes by another machine."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        place = RemotePlace("", f"file://{self.path}/remote")
        self.here = {"a": b"begun" * 1000}  # as the branch is
        self.version = dict(self.here)  # as its last commit is
        self.remote = dict(self.here)
        self.dirty = self.ahead = False
        make_origin(self.path / "origin", place, self.here)
        self.cache = new_cache(self.path / "cache", place)

    def teardown(self) -> None:
        if hasattr(self, "path"):
            shutil.rmtree(self.path)

    @contextmanager
    def opened(self, *, offline: bool = False) -> Iterator[Repository]:
        with open_cache(self.cache, Patience(offline=True) if offline else PATIENT) as repo:
            yield repo

    @rule(name=NAMES, data=DATA)
    def write(self, name: str, data: bytes) -> None:
        with self.opened() as repo:
            write(repo, {name: data})
        self.here[name] = data
        self.dirty = True

    @rule()
    def commit(self) -> None:
        with self.opened() as repo:
            done = commit_overlay(repo, "data", "main", message="here")
        assert done.changed or self.version == self.here
        self.ahead |= done.changed
        self.dirty, self.version = False, dict(self.here)

    @rule()
    def push(self) -> None:
        with self.opened() as repo:
            try:
                push_all(repo)
            except NotFastForward:
                assert self.remote != self.version
            else:
                self.remote, self.ahead = dict(self.version), False

    @rule(name=NAMES, data=DATA)
    def somebody_else_pushes(self, name: str, data: bytes) -> None:
        with Repository.open(self.path / "origin") as repo:
            place = find_remote(repo.store, None)
            with connected(repo.store, place) as remote:
                assert not pull(repo, remote, place.name, [Wanted("data")]).problems
            write(repo, {name: data})
            commit_overlay(repo, "data", "main", message="there")
            push_all(repo)
        self.remote[name] = data

    @rule()
    def mount(self) -> None:
        refresh_cache(self.cache, PATIENT)
        if not (self.dirty or self.ahead):
            self.here, self.version = dict(self.remote), dict(self.remote)

    @rule()
    def evict(self) -> None:
        with self.opened(offline=True) as repo:
            evict_all(repo)

    @rule()
    def collect(self) -> None:
        with self.opened(offline=True) as repo:
            release(repo.store, keep_s=0)

    @precondition(lambda self: self.ahead or self.dirty)
    @rule()
    def check(self) -> None:
        assert check_store(self.cache, data=True).damages == []

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "cache"):
            return
        with self.opened() as repo:
            assert read_main(repo) == self.version


Branches.TestCase.settings = settings(
    max_examples=int(os.environ.get("VFS_CACHE_RUNS", "8")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestBranches = Branches.TestCase
