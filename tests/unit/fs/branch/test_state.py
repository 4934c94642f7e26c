"""Where names are looked for."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vfs.errors import NotFound
from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository
from vfs.store.overlayrows import OverlayRows


def make(branch: Branch, parent: int, name: bytes, kind: int) -> int:
    return branch.names.make(parent, name, kind | 0o755, 0, 0)[0]


def checkpoint(branch: Branch) -> None:
    begun = branch.begin_checkpoint()
    assert begun is not None
    branch.store_checkpoint(begun)
    branch.end_checkpoint(begun)


def test_what_is_in_a_new_directory_is_known_without_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    real = OverlayRows.name

    def name(self: OverlayRows, directory: int, name: bytes) -> int | None:
        asked.append(name)
        return real(self, directory, name)

    monkeypatch.setattr(OverlayRows, "name", name)
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        branch = Branch(repo.store, "data", "main")
        make(branch, ROOT_INO, b"first", stat.S_IFREG)
        checkpoint(branch)  # else nothing at all would be asked
        directory = make(branch, ROOT_INO, b"new", stat.S_IFDIR)
        one = make(branch, directory, b"one", stat.S_IFREG)
        asked.clear()

        def look() -> None:
            assert branch.inodes.lookup(directory, b"one")[0] == one
            assert branch.inodes.find(directory, b"two") is None
            with pytest.raises(NotFound):
                branch.inodes.lookup(directory, b"two")

        look()
        begun = branch.begin_checkpoint()
        assert begun is not None
        make(branch, directory, b"three", stat.S_IFREG)
        look()
        branch.store_checkpoint(begun)
        look()
        assert asked == []
        branch.end_checkpoint(begun)
        look()
        assert set(asked) == {b"one", b"two"}
        branch.close()
