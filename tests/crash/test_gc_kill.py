"""A collection is killed at any moment, or fails at each of its writes: nothing needed is lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.garbage import NOW, damages, version
from tests.support.stores import children, finish, start_child
from tests.support.versions import commit
from vfs.repo.gc import Rules, collect, save_rules
from vfs.repo.repository import Repository
from vfs.store.environment import Environment

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("VFS_TEST_GC_KILLS", "6"))
ROUNDS = int(os.environ.get("VFS_TEST_GC_ROUNDS", "25"))

COLLECT = """
import sys
from pathlib import Path
from tests.support.garbage import NOW
from vfs.repo.gc import collect
from vfs.store import garbage
from vfs.store.store import Store
garbage.ROWS_AT_ONCE = 40  # so that there are many moments
print("started", flush=True)
with Store.open(Path(sys.argv[1])) as store:
    collect(store, NOW)
"""


def fill(repo: Repository, seed: int) -> None:
    """Make versions of which some are garbage, some are pruned, and all share contents."""
    noise = random.Random(seed)
    shared = [noise.randbytes(noise.randint(10, 40_000)) for _ in range(30)]
    for number in range(6):
        tree = {b"%d" % at: noise.choice(shared) for at in range(40)}
        tree[b"own"] = noise.randbytes(20_000)
        data_set = "data" if number % 2 else "ruled"
        commit(repo, {**tree, b"d": dict(tree)}, data_set=data_set, tag=f"t{seed}-{number}")
    for number in (1, 2, 3):
        data_set = "data" if number % 2 else "ruled"
        repo.delete_ref(data_set, f"t{seed}-{number}", kind="tag")
    commit(repo, {b"gone": noise.randbytes(100_000), b"x": shared[0]}, data_set="gone")
    repo.delete_ref("gone", "main", kind="branch")
    with repo.store.ingest() as ingest:
        ingest.add_chunks([noise.randbytes(5000) for _ in range(50)])


def make(path: Path) -> None:
    with Repository.create(path) as repo:
        for name in ("data", "ruled", "gone"):
            repo.create_data_set(name)
        save_rules(repo.store, "ruled", Rules(last=1))
        fill(repo, 0)


def shown(path: Path) -> dict[str, object]:
    """Return what every reference, and every version of `data`, shows."""
    with Repository.open(path) as repo:
        found: dict[str, object] = {
            f"{ref.data_set}@{ref.name}": version(repo, ref.commit) for ref in repo.all_refs()
        }
        found |= {oid.hex(): version(repo, oid) for oid, _ in repo.log("data")}
        return found


def test_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store"
    make(path)
    moments = random.Random(4)
    for turn in range(1, KILLS + 1):
        before = shown(path)
        child = start_child(COLLECT, path)
        assert child.stdout is not None
        child.stdout.readline()
        try:  # no event to wait for: any moment will do
            child.wait(timeout=moments.uniform(0.0, 0.25))
        except subprocess.TimeoutExpired:
            child.kill()
        _, err = child.communicate()
        assert not err
        assert damages(path) == []
        assert shown(path) == before
        with Repository.open(path) as repo:
            fill(repo, turn)
    with Repository.open(path) as repo:
        collect(repo.store, NOW)
    assert damages(path) == []


def test_failing_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tmp_path / "original"
    make(original)
    before = shown(original)
    write = Environment.write

    class Killed(Exception):
        pass

    for nth in range(1, 200):
        path = tmp_path / "store"
        shutil.copytree(original, path)
        left = nth

        def counted(self: Environment, change: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                raise Killed
            return write(self, change)  # type: ignore[arg-type]

        monkeypatch.setattr(Environment, "write", counted)
        try:
            with Repository.open(path) as repo:
                collect(repo.store, NOW)
        except Killed:
            done = False
        else:
            done = True
        monkeypatch.setattr(Environment, "write", write)
        assert damages(path) == []
        assert shown(path) == before
        shutil.rmtree(path)
        if done:
            assert nth > 10
            return
    raise AssertionError("a collection of so few objects has not so many writes")


IMPORT = """
import random, sys
from pathlib import Path
from tests.support.versions import commit
from tests.support.garbage import version
from vfs.repo.repository import Repository
path, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
bodies = [random.Random(seed).randbytes(9000) for seed in range(12)]
noise = random.Random(name)
with Repository.open(path) as repo:
    for turn in range(rounds):
        tree = {b"%d" % at: noise.choice(bodies) for at in range(6)}
        tree[b"d"] = {b"%d" % at: noise.choice(bodies) for at in range(3)}
        commit(repo, tree, data_set=name)
        assert version(repo, repo.resolve(name).commit) == tree
        if turn % 2:
            repo.delete_ref(name, "main", kind="branch")  # all of it is garbage again
"""
LOOP = """
import sys
from pathlib import Path
from tests.support.garbage import NOW
from vfs.errors import Conflict
from vfs.repo.gc import collect
from vfs.store.store import Store
print("started", flush=True)
removed = 0
with Store.open(Path(sys.argv[1])) as store:
    while not Path(sys.argv[2]).exists():
        try:
            removed += collect(store, NOW).objects
        except Conflict as error:
            assert "too fast" in str(error)
print(removed)
"""


def test_imports_of_what_is_being_removed(tmp_path: Path) -> None:
    path, stop = tmp_path / "store", tmp_path / "stop"
    names = ("one", "two")
    with Repository.create(path) as repo:
        for name in names:
            repo.create_data_set(name)
    with (
        children(LOOP, [(path, stop)]) as (loop,),
        children(IMPORT, [(path, name, ROUNDS) for name in names]) as imports,
    ):
        for child in imports:
            finish(child)
        stop.touch()
        assert int(finish(loop).split()[-1]) > 0
    assert damages(path) == []
