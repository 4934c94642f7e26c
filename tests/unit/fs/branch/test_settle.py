"""Files that were closed get their final form when there is time, and room, for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[Branch]:
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        branch = Branch(repo.store, "data", "main")
        yield branch
        branch.close()


def patched_file(branch: Branch) -> int:
    """Make a file that was synced while it was open, and closed since."""
    ino, _ = branch.names.make(ROOT_INO, b"file", stat.S_IFREG | 0o644, 0, 0)
    handle = branch.files.open(ino, os.O_RDWR)
    branch.files.write(handle, 0, bytes(range(256)) * 100)
    made = branch.begin_checkpoint()
    assert made is not None
    branch.store_checkpoint(made)
    branch.end_checkpoint(made)
    branch.files.release(handle)
    assert branch.inodes.row(ino).patches
    return ino


def test_a_closed_file_is_settled(branch: Branch) -> None:
    ino = patched_file(branch)
    made = branch.begin_checkpoint(settle=True)
    assert made is not None
    branch.store_checkpoint(made)
    branch.end_checkpoint(made)
    assert not branch.inodes.row(ino).patches


def test_what_there_is_no_room_for_keeps_nothing_else_from_being_stored(branch: Branch) -> None:
    """The final form is a luxury: on a full disk, the little that changed may still fit."""
    ino = patched_file(branch)
    branch.names.make(ROOT_INO, b"more", stat.S_IFREG | 0o644, 0, 0)
    made = branch.begin_checkpoint(settle=True)
    assert made is not None
    assert ino in made.layer.files
    branch.fail_checkpoint()
    made = branch.begin_checkpoint()
    assert made is not None
    assert not made.layer.files
    branch.store_checkpoint(made)
    branch.end_checkpoint(made)
    assert branch.inodes.row(ino).patches
