"""Stores with damage of any kind: each command does what it should, or says that it can't.

Never a traceback, a signal, a command that hangs, or wrong data; and the check finds the damage.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.damaged import Outcome, damage, run
from tests.support.full_store import make_full_store
from vfs.cli.main import COMMANDS

pytestmark = [pytest.mark.crash, pytest.mark.slow]

COPIES = int(os.environ.get("VFS_TEST_DAMAGED", "24"))
FIRST = int(os.environ.get("VFS_TEST_DAMAGED_FIRST", "0"))

READ = [  # what only hashed objects decide
    ["cat", "data@v1:big", "data@v1:text", "data@v2:sparse", "data@v2:deep/er/still/file"],
    ["ls", "-R", "-l", "data@v1"],
    ["ls", "-R", "-l", "data@v2"],
    ["diff", "-p", "data@v1", "data@v2"],
    ["who", "data@v2"],
]
LOOK = [["log", "data"], ["ls"], ["reflog", "data"], ["stats"], ["status", "data@exp"]]
CHECK = [["fsck", "--json"], ["fsck", "--data", "--json"]]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("damaged"))


@pytest.fixture(scope="module")
def right(full: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    outcomes = run(full, READ + CHECK, tmp_path_factory.mktemp("right") / "run", seconds=60)
    assert not any(outcome.code for outcome in outcomes)
    return outcomes


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COPIES))
def test_a_damaged_copy(full: Path, right: list[Outcome], tmp_path: Path, seed: int) -> None:
    store = Path(shutil.copytree(full, tmp_path / "store"))
    damage(store / "data.mdb", seed)
    write = [["import", str(full.parent / "source/deep"), "void", "-m", "more"]]
    write += [["gc"]] if "gc" in COMMANDS else []
    outcomes = run(store, READ + CHECK + LOOK + write, tmp_path / "run", seconds=60)
    for outcome in outcomes:
        outcome.check()
    reads, checks = outcomes[: len(READ)], outcomes[len(READ) : len(READ + CHECK)]
    for outcome, intact in zip(reads, right, strict=False):
        assert outcome.code or outcome.out == intact.out, outcome.command
    if any(outcome.code for outcome in reads):
        assert checks[1].code == 1, "the check finds nothing"
    for check in checks:
        assert check.code == bool(json.loads(check.out)["damages"])
