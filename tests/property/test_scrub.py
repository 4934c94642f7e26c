"""Whatever was written and removed: after a scrub no byte of it is left, and all else is there."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scrubbing import Rows, all_rows, change, damages, open_environment
from tests.support.stores import start_child
from vfs.errors import Conflict, StoreError
from vfs.store.compact import compact, scrub
from vfs.store.environment import Environment


def fill(env: Environment, seed: int, transactions: int) -> tuple[Rows, set[bytes]]:
    rows: Rows = {}
    chance, gone = random.Random(seed), set[bytes]()
    for _ in range(transactions):
        gone |= env.write(lambda txn: change(env, txn, rows, chance))
    return rows, gone


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), transactions=st.integers(1, 30), compacts=st.booleans())
def test_nothing_is_left(seed: int, transactions: int, compacts: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store"
        env = open_environment(path)
        rows, gone = fill(env, seed, transactions)
        assert damages(env) == []
        if compacts:
            compact(env)
            assert all_rows(env) == rows
        scrub(env)
        data = (path / "data.mdb").read_bytes()
        assert not [mark for mark in gone if mark in data]
        assert data.count(b"<0") == sum(value.count(b"<0") for value in rows.values())
        assert all_rows(env) == rows
        assert damages(env) == []
        env.close()


def test_space_is_given_back(tmp_path: Path) -> None:
    env = open_environment(tmp_path / "store")
    rows, _ = fill(env, 1, 40)
    before = (tmp_path / "store/data.mdb").stat()
    report = compact(env)
    after = (tmp_path / "store/data.mdb").stat()
    assert after.st_size == before.st_size
    assert (before.st_blocks - after.st_blocks) * 512 >= report.given_back > 1 << 20
    assert report.free >= report.given_back
    assert compact(env).given_back <= 1 << 16  # the few pages of its own commits
    assert all_rows(env) == rows
    env.close()


READER = """
import sys
from pathlib import Path
from vfs.store.environment import Environment
env = Environment(Path(sys.argv[1]), readonly=True)
with env.read() as txn:
    print("reading", flush=True)
    sys.stdin.read()
"""


def test_who_reads_an_older_state_is_named(tmp_path: Path) -> None:
    env = open_environment(tmp_path / "store")
    fill(env, 2, 5)
    child = start_child(READER, tmp_path / "store")
    assert child.stdout is not None
    child.stdout.readline()
    fill(env, 3, 5)
    with pytest.raises(Conflict, match=f"process {child.pid} reads"):
        scrub(env, patience_s=0.1)
    child.communicate("")
    scrub(env)
    env.close()


def test_what_is_damaged_is_left_as_it_is(tmp_path: Path) -> None:
    env = open_environment(tmp_path / "store")
    fill(env, 4, 5)
    with env.pinned(write=True) as (_, snapshot):
        root = snapshot.main.root
    with (tmp_path / "store/data.mdb").open("r+b") as data:
        data.seek(root * 4096)
        data.write(b"\xff")
    for job in (compact, scrub):
        with pytest.raises(StoreError, match="damaged"):
            job(env)
    env.close()
