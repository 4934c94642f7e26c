"""A commit of a branch that is killed before or after each of its writes, and two at once."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from tests.support.overlay_model import ModelBranch, assert_committed
from tests.support.stores import children, finish, start_child
from tests.support.versions import commit
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.branchstatus import overlay_status
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash]

WRITES_MAX = 20

# Dies at its n-th write to the store, before or after it; says how far it came otherwise.
CHILD = """
import sys
from pathlib import Path
from tests.support.dying import die_at_write
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository

with Repository.open(Path(sys.argv[1])) as repo:
    die_at_write(int(sys.argv[2]), sys.argv[3])
    done = commit_overlay(repo, "data", "main", message=sys.argv[4], author="a")
    print(done.changed)
"""


def make_changes(path: Path) -> ModelBranch:
    repo = Repository.create(path)
    repo.create_data_set("data")
    commit(repo, {b"dir": {b"%03d" % n: b"old %d" % n for n in range(300)}, b"f": b"x" * 50_000})
    branch = ModelBranch(repo)
    directory = branch.at((b"dir",))
    for number in range(0, 300, 3):
        branch.remove((directory, b"%03d" % number))
    for number in range(1000):
        branch.make((directory, b"new %d" % number), stat.S_IFREG | 0o644, b"%d" % number)
    branch.rename((ROOT_INO, b"dir"), (ROOT_INO, b"moved"))
    branch.write(branch.at((b"f",)), b"x" * 20_000 + b"changed" + b"x" * 100)
    branch.flush(patch=True)
    return branch


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_each_write(tmp_path: Path, when: str) -> None:
    branch = make_changes(tmp_path / "made")
    repo = branch.repo
    old = repo.resolve("data").commit
    changes = overlay_status(repo, "data", "main")
    repo.close()
    for nth in range(1, WRITES_MAX):
        path = tmp_path / f"{nth}"
        shutil.copytree(tmp_path / "made", path)
        child = start_child(CHILD, path, nth, when, "killed")
        out, err = child.communicate(timeout=60)
        with Repository.open(path) as repo:
            head = repo.resolve("data").commit
            if head == old:
                assert overlay_status(repo, "data", "main") == changes
            else:
                assert repo.commit(head).parents == (old,)
                assert overlay_status(repo, "data", "main") == []
            again = commit_overlay(repo, "data", "main", message="again", author="a")
            assert again.changed == (head == old)
            branch.repo = repo
            assert_committed(repo, branch)
        shutil.rmtree(path)
        if child.returncode == 0:
            assert out == "True\n"
            assert nth > 2  # there was something to be killed at
            return
        assert child.returncode == 9, err
    pytest.fail("a commit has more writes than this test knows of")


def test_two_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store"
    branch = make_changes(path)
    branch.repo.close()
    with children(CHILD, [(path, 0, "", who) for who in ("one", "two", "three")]) as running:
        made = [finish(child) for child in running]
    assert sorted(made) == ["False\n", "False\n", "True\n"]
    with Repository.open(path) as repo:
        assert len(list(repo.log("data"))) == 2
        branch.repo = repo
        assert_committed(repo, branch)
