"""Whatever row is lost or garbled: a repair makes nothing up that then counts as sound."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.full_store import make_full_store, put, remove, rows
from vfs.repo.repair import repair_store
from vfs.store.tables import TABLES

REPAIRS = int(os.environ.get("VFS_TEST_REPAIRS", "8"))
MEANT = ("refs", "ref_log", "slots", "commits")
"""Tables whose rows are what they were, or there is damage left."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("full"))


def garble(shuffle: random.Random, store: Path, table: str) -> str:
    key, value = shuffle.choice(rows(store, table))
    what = shuffle.choice(["remove", "flip", "cut"])
    if what == "remove" or not value:
        remove(store, table, key)
    elif what == "cut":
        put(store, table, key, value[: shuffle.randrange(len(value))])
    else:
        at = shuffle.randrange(len(value))
        flipped = bytes([value[at] ^ 1 << shuffle.randrange(8)])
        put(store, table, key, value[:at] + flipped + value[at + 1 :])
    return f"{what} {table} {key!r}"


@pytest.mark.parametrize("number", range(REPAIRS))
def test_what_counts_as_sound_is_what_it_was(full: Path, tmp_path: Path, number: int) -> None:
    shuffle = random.Random(number)
    store = Path(shutil.copytree(full, tmp_path / "store"))
    tables = [name for name in TABLES if name not in ("meta", "blocks") and rows(full, name)]
    done = [garble(shuffle, store, shuffle.choice(tables)) for _ in range(shuffle.randint(1, 3))]
    repair = repair_store(store, [full])
    if not repair.report.is_clean:
        return
    for table in MEANT:
        assert rows(store, table) == rows(full, table), (done, repair.done)
    before = dict(rows(full, "numbers"))
    assert {key for key, _ in rows(store, "numbers")} == set(before), (done, repair.done)
