"""Damaged bytes below a branch: nothing but them is lost, and all else goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import damage
from tests.support.versions import commit
from vfs.errors import CorruptObject
from vfs.fs.branch.attributes import SetAttr
from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository

CHUNK = 100_000  # as tests.support.trees.store_file cuts
DATA = random.Random(5).randbytes(5 * CHUNK)
BAD = range(2 * CHUNK, 3 * CHUNK)
PAGE = 4096


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A version of two files, of which `bad` has a damaged chunk."""
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        made = commit(repo, {b"bad": DATA, b"good": b"good"})
        entry = repo.entry_at(repo.commit(made.commit).root, (b"bad",))
        spans = list(repo._files.spans(entry))
        assert [span.length for span in spans] == [CHUNK] * 5
        damage(repo.store, spans[2].content)
    with Repository.open(path) as repo:
        yield repo


@pytest.fixture
def branch(repo: Repository) -> Iterator[Branch]:
    branch = Branch(repo.store, "data", "main")
    yield branch
    branch.close()


def ino_of(branch: Branch, name: bytes) -> int:
    return branch.inodes.lookup(ROOT_INO, name)[0]


def write(branch: Branch, name: bytes, offset: int, data: bytes) -> None:
    handle = branch.files.open(ino_of(branch, name), os.O_RDWR)
    branch.files.write(handle, offset, data)
    branch.files.release(handle)


def read(branch: Branch, name: bytes, offset: int, length: int) -> bytes:
    handle = branch.files.open(ino_of(branch, name), os.O_RDONLY)
    try:
        plan = branch.files.plan_read(handle, offset, length)
        return b"" if plan is None else branch.files.read_now(plan)
    finally:
        branch.files.release(handle)


def checkpoint(branch: Branch, *, settle: bool = False) -> None:
    made = branch.begin_checkpoint(settle=settle)
    assert made is not None
    branch.store_checkpoint(made)
    branch.end_checkpoint(made)


def reopened(branch: Branch) -> Branch:
    branch.close()
    return Branch(branch.store, "data", "main")


def test_only_the_damaged_range_is_lost(branch: Branch) -> None:
    assert read(branch, b"bad", 0, BAD.start) == DATA[: BAD.start]
    assert read(branch, b"bad", BAD.stop, CHUNK) == DATA[BAD.stop : BAD.stop + CHUNK]
    with pytest.raises(CorruptObject):
        read(branch, b"bad", BAD.stop - 1, 2)


def test_what_is_written_beside_damage_is_stored(branch: Branch) -> None:
    page = 55 * PAGE
    assert page in BAD
    write(branch, b"bad", page, b"n" * 2 * PAGE)
    write(branch, b"good", 0, b"new too")
    checkpoint(branch)
    for again in (branch, reopened(branch)):
        assert read(again, b"bad", page, 2 * PAGE) == b"n" * 2 * PAGE
        assert read(again, b"good", 0, 10) == b"new too"
        with pytest.raises(CorruptObject):
            read(again, b"bad", page - 1, 1)
    again.close()


def test_more_than_patches_usually_hold_is_stored_too(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfs.fs.branch.checkpoint.PATCHES_MIN", 1)
    monkeypatch.setattr("vfs.fs.branch.checkpoint.PATCHED_MAX_BYTES", 1)
    start = 55 * PAGE
    write(branch, b"bad", start, b"1" * 10 * PAGE)
    checkpoint(branch)
    write(branch, b"bad", 0, b"2" * 10 * PAGE)
    write(branch, b"bad", start + 5 * PAGE, b"3" * 10 * PAGE)
    checkpoint(branch, settle=True)
    again = reopened(branch)
    assert read(again, b"bad", 0, 10 * PAGE) == b"2" * 10 * PAGE
    assert read(again, b"bad", start, 15 * PAGE) == b"1" * 5 * PAGE + b"3" * 10 * PAGE
    again.close()


def test_part_of_a_page_that_is_damaged_cannot_be_written(branch: Branch) -> None:
    at = 55 * PAGE + 10
    for offset, length in ((at, 5), (at - 10, 5), (at, PAGE - 10)):
        with pytest.raises(CorruptObject):
            write(branch, b"bad", offset, b"x" * length)
    assert not branch.is_dirty


def test_truncating_beside_damage(branch: Branch) -> None:
    """What is cut off is not there any more, and then there is nothing wrong with the rest."""
    start = 55 * PAGE
    write(branch, b"bad", start, b"1" * 4 * PAGE)
    checkpoint(branch)
    size = start + PAGE + 100
    branch.attributes.setattr(ino_of(branch, b"bad"), SetAttr(size=size))
    branch.attributes.setattr(ino_of(branch, b"bad"), SetAttr(size=size + 3 * PAGE))
    checkpoint(branch)
    again = reopened(branch)
    wanted = b"1" * (PAGE + 100) + bytes(3 * PAGE)
    assert read(again, b"bad", start, 10 * PAGE) == wanted
    again.attributes.setattr(ino_of(again, b"bad"), SetAttr(size=BAD.start))
    write(again, b"bad", BAD.start, b"healed")
    checkpoint(again)
    last = reopened(again)
    assert read(last, b"bad", 0, 5 * CHUNK) == DATA[: BAD.start] + b"healed"
    commit_overlay(Repository(last.store), "data", "main", message="m", author="a")
    last.close()


def test_a_commit_takes_what_is_not_touched(repo: Repository, branch: Branch) -> None:
    branch.attributes.setattr(ino_of(branch, b"bad"), SetAttr(mode=0o600))
    branch.names.rename(ROOT_INO, b"bad", ROOT_INO, b"moved", 0)
    write(branch, b"good", 0, b"new")
    checkpoint(branch)
    made = commit_overlay(repo, "data", "main", message="m", author="a")
    entry = repo.entry_at(repo.commit(made.commit).root, (b"moved",))
    assert b"".join(repo._files.stream(entry, 0, BAD.start)) == DATA[: BAD.start]


def test_a_commit_names_the_file_that_it_cannot_take(repo: Repository, branch: Branch) -> None:
    write(branch, b"bad", 55 * PAGE, b"n" * PAGE)
    write(branch, b"good", 0, b"new")
    checkpoint(branch)
    with pytest.raises(CorruptObject, match="'bad' can't be committed"):
        commit_overlay(repo, "data", "main", message="m", author="a")
    branch.names.unlink(ROOT_INO, b"bad")
    checkpoint(branch)
    commit_overlay(repo, "data", "main", message="m", author="a")
