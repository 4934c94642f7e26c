"""A merge that is killed before or after each of its writes: the branch is as it was, or merged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.stores import children, finish, start_child
from tests.support.versions import commit
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash]

WRITES_MAX = 20

# Dies at its n-th write to the store, before or after it; says what it did otherwise.
CHILD = """
import sys
from pathlib import Path
from tests.support.dying import die_at_write
from vfs.repo.merge import Order, Source, merge, cherry_pick
from vfs.repo.repository import Repository

what = sys.argv[4]

with Repository.open(Path(sys.argv[1])) as repo:
    die_at_write(int(sys.argv[2]), sys.argv[3])
    order = Order(data_set="data", branch="main", author="a")
    exp = [repo.resolve("data", name).commit for name in ("exp", "exp~1")]
    sources = [Source(commit=oid, name="exp", label="exp") for oid in exp]
    if what == "merge":
        done = merge(repo, order, sources[0])
    else:
        done = cherry_pick(repo, order, sources[::-1])
    print(done.action)
"""


def make(path: Path) -> None:
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        base = {b"dir": {b"%03d" % n: b"%d" % n for n in range(300)}, b"f": b"f"}
        start = commit(repo, base).commit
        repo.set_branch("data", "exp", start, expected=None, why="exp")
        commit(repo, {b"moved": base[b"dir"], b"f": b"f"})
        theirs = base | {b"dir": {b"%03d" % n: b"theirs" for n in range(300)}}
        commit(repo, theirs, branch="exp")
        commit(repo, theirs | {b"f": b"theirs"}, branch="exp")


@pytest.mark.parametrize("what", ["merge", "cherry-pick"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_each_write(tmp_path: Path, when: str, what: str) -> None:
    make(tmp_path / "made")
    for nth in range(1, WRITES_MAX):
        path = tmp_path / f"{nth}"
        shutil.copytree(tmp_path / "made", path)
        with Repository.open(path) as repo:
            old = repo.resolve("data").commit
        child = start_child(CHILD, path, nth, when, what)
        out, err = child.communicate(timeout=60)
        with Repository.open(path) as repo:
            head = repo.resolve("data").commit
            if head != old:
                assert repo.resolve("data", "main^" if what == "merge" else "main~2").commit == old
                root = repo.commit(head).root
                moved = repo.entry_at(root, (b"moved", b"007"))
                assert b"".join(repo.read_file(moved)) == b"theirs"
        shutil.rmtree(path)
        if child.returncode == 0:
            assert out == "commit\n"
            assert head != old
            assert nth > 1  # there was something to be killed at
            return
        assert child.returncode == 9, err
    pytest.fail("a merge has more writes than this test knows of")


def test_two_at_once(tmp_path: Path) -> None:
    """Each is done, one on top of the other: the second finds all of it there."""
    path = tmp_path / "store"
    make(path)
    with children(CHILD, [(path, 0, "", "merge")] * 3) as running:
        made = sorted(finish(child) for child in running)
    assert made == ["commit\n", "nothing\n", "nothing\n"]
