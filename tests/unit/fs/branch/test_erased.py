"""An erase beside a branch: into its checkpoint, and of bytes that are written again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.erasing import erase
from tests.support.versions import commit
from vfs.errors import CorruptObject, Erased
from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store.ingest import Ingest

SECRET = b"secret, " * 200


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        commit(repo, {b"jane": SECRET, b"mine": b"mine", b"other": b"other"})
        yield repo


@pytest.fixture
def branch(repo: Repository) -> Iterator[Branch]:
    branch = Branch(repo.store, "data", "main")
    yield branch
    branch.close()


def write(branch: Branch, name: bytes, data: bytes) -> None:
    handle = branch.files.open(branch.inodes.lookup(ROOT_INO, name)[0], os.O_RDWR | os.O_TRUNC)
    branch.files.write(handle, 0, data)
    branch.files.release(handle)


def read(branch: Branch, name: bytes) -> bytes:
    handle = branch.files.open(branch.inodes.lookup(ROOT_INO, name)[0], os.O_RDONLY)
    try:
        plan = branch.files.plan_read(handle, 0, 1 << 20)
        return b"" if plan is None else branch.files.read_now(plan)
    finally:
        branch.files.release(handle)


def checkpoint(branch: Branch) -> None:
    made = branch.begin_checkpoint(settle=True)
    assert made is not None
    branch.store_checkpoint(made)
    branch.end_checkpoint(made)


def test_an_erase_that_comes_into_a_checkpoint(
    repo: Repository, branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has found in the store by then is gone: it looks again, and loses nothing."""
    found = Ingest.add_chunks
    erased = []

    def add_chunks(self: Ingest, *arguments: object) -> object:
        ids = found(self, *arguments)  # type: ignore[arg-type]
        if not erased:
            erased.append(erase(repo, "jane"))
        return ids

    write(branch, b"mine", SECRET)
    write(branch, b"other", b"changed, too")
    monkeypatch.setattr(Ingest, "add_chunks", add_chunks)
    checkpoint(branch)
    assert len(erased) == 1
    for again in (branch, Branch(repo.store, "data", "main")):
        assert read(again, b"mine") == SECRET
        assert read(again, b"other") == b"changed, too"
        with pytest.raises(Erased):
            read(again, b"jane")
    again.close()


def test_bytes_that_were_erased_are_kept_beside_and_not_committed(
    repo: Repository, branch: Branch
) -> None:
    erase(repo, "jane")
    write(branch, b"mine", SECRET)
    write(branch, b"other", b"new")
    checkpoint(branch)
    assert read(branch, b"mine") == SECRET
    with pytest.raises(CorruptObject, match=r"'mine' can't be committed.*asked to"):
        commit_overlay(repo, "data", "main", message="m")
    write(branch, b"mine", b"something else")
    checkpoint(branch)
    assert commit_overlay(repo, "data", "main", message="m").changed
    assert check_store(repo.store.path, data=True).damages == []
