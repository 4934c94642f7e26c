"""Caches of a remote that are written to: making them, changing a branch, emptying them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.support.remotes import Tree, commit, read_tree
from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository
from vfs.store.clock import Clock
from vfs.sync.cache import make_cache, refresh_cache
from vfs.sync.ondemand import Patience
from vfs.sync.push import PushResult, push
from vfs.sync.remotes import RemotePlace, add_remote, connected, find_remote

PATIENT = Patience(20)


def make_origin(path: Path, place: RemotePlace, tree: Tree) -> None:
    """Make a store, and push a version of it."""
    with Repository.create(path) as repo:
        add_remote(repo.store, "origin", place.url)
        commit(repo, tree)
        push_all(repo)


def push_all(repo: Repository) -> PushResult:
    place = find_remote(repo.store, None)
    with connected(repo.store, place, write=True) as remote:
        return push(repo, remote, place.name, repo.all_refs())


def new_cache(path: Path, place: RemotePlace, limit: int | None = None) -> Path:
    make_cache(path, place, limit)
    refresh_cache(path, PATIENT)
    return path


def write(repo: Repository, files: dict[str, bytes], branch: str = "main") -> None:
    """Write files to the top directory of a branch, durably, as the process of a mount does."""
    with closing(Branch(repo.store, "data", branch)) as opened:
        opened.claim()
        for name, data in files.items():
            found = opened.inodes.find(ROOT_INO, name.encode())
            if found is None:
                found = opened.names.make(ROOT_INO, name.encode(), 0o100644, 0, 0, umask=0)
            handle = opened.files.open(found[0], 2)
            opened.attributes.setattr(found[0], {"size": 0})
            opened.files.write(handle, 0, data)
            opened.files.release(handle)
        checkpoint = opened.begin_checkpoint()
        assert checkpoint is not None
        opened.store_checkpoint(checkpoint)
        opened.end_checkpoint(checkpoint)


def commit_files(repo: Repository, files: dict[str, bytes], branch: str = "main") -> None:
    write(repo, files, branch)
    assert commit_overlay(repo, "data", branch, message="here").changed


def read_main(repo: Repository) -> Tree:
    return read_tree(repo, repo.commit(repo.resolve("data", "main").commit).root)


def evict_all(repo: Repository) -> None:
    """Have a cache let go of all that it may."""
    for _ in range(2):
        assert repo.store.evict(Clock(repo.store.path), 1 << 40)
