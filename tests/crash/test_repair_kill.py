"""A repair that is killed at any moment has done no harm, and the next one ends it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.full_store import edit, make_full_store, rows
from vfs.repo.repair import repair_store
from vfs.store.environment import Txn

pytestmark = [pytest.mark.crash]

KILLS = int(os.environ.get("VFS_TEST_KILLS", "6"))
LOST = ("objects", "numbers", "leaves", "slots", "refs")

CHILD = """
import sys
from pathlib import Path
from vfs.repo.repair import repair_store
print("ready", flush=True)
repair_store(Path(sys.argv[1]), [Path(sys.argv[2])])
"""


def lose(txn: Txn, tables: dict[str, object]) -> None:
    """Empty every table that can be made again from a copy's objects and this store's logs."""
    for name in LOST:
        txn.drop(tables[name], delete=False)  # type: ignore[arg-type]


def test_a_killed_repair_is_ended_by_the_next(tmp_path: Path) -> None:
    full = make_full_store(tmp_path)
    store = Path(shutil.copytree(full, tmp_path / "damaged"))
    edit(store, lose)
    shuffle = random.Random()
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, store, full], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            child.wait(shuffle.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate()
    repair = repair_store(store, [full])
    assert repair.report.damages == []
    for table in ("refs", "ref_log", "slots", "commits", "overlay_inodes"):
        assert rows(store, table) == rows(full, table)
    # Not those of a tree that no version has, which nothing led to.
    assert {key for key, _ in rows(store, "numbers")} <= {key for key, _ in rows(full, "numbers")}
