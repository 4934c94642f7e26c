"""Opening a branch that was left with changes, as after a crash: at once, however many."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from vfs.fs.branch.branch import Branch
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository

FILES = 100_000
OPEN_WITHOUT_NAME = 1000


@pytest.mark.slow
def test_a_branch_with_many_changes_opens_at_once(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        branch = Branch(repo.store, "data", "main")
        for number in range(FILES):
            if number % 1000 == 0:
                directory, _ = branch.names.make(ROOT_INO, b"%d" % number, stat.S_IFDIR, 0, 0)
            branch.names.make(directory, b"%d" % number, stat.S_IFREG | 0o644, 0, 0)
        for _ in range(OPEN_WITHOUT_NAME):
            branch.names.make(ROOT_INO, b"gone", stat.S_IFREG, 0, 0)
            branch.names.unlink(ROOT_INO, b"gone")
        made = branch.begin_checkpoint()
        assert made is not None
        branch.store_checkpoint(made)
        branch.close()
    began = time.monotonic()
    with Repository.open(tmp_path / "store") as repo:
        branch = Branch(repo.store, "data", "main")
        seconds = time.monotonic() - began
        assert len(list(branch.names.list(ROOT_INO))) == FILES // 1000
        assert not repo.store.overlays.rows(branch.overlay).orphans()
        branch.close()
    assert seconds < 1
