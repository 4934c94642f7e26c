"""The power goes while a branch is written: at the next start it is a state that it once was."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.branch_work import check
from tests.support.powercut import HOW, cuts, recorded
from tests.support.stores import ROOT
from tests.support.versions import commit
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash, pytest.mark.mounted]

ROUNDS = 30
CUTS = 120


def test_power_cut_at_any_moment(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Repository.create(store) as repo:
        repo.create_data_set("data")
        commit(repo, {b"a": b"a" * 50_000, b"b": {b"c": b"there before"}})
    with recorded(store, tmp_path) as recording:
        command = [sys.executable, "-m", "tests.support.branch_work", store, "1", str(ROUNDS)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    chance = random.Random(2)
    count = sum(1 for _ in cuts(recording))
    assert count >= CUTS
    chosen = set(chance.sample(range(count), CUTS))
    image = tmp_path / "image"
    image.mkdir()
    for number, cut in enumerate(cuts(recording)):
        if number not in chosen:
            continue
        for how in HOW if cut.loose else HOW[:1]:
            for name in ("data.mdb", "lock.mdb"):
                (image / name).unlink(missing_ok=True)
            (image / "data.mdb").write_bytes(cut.image(chance, how))
            try:
                check(image, cut.notes)
            except Exception as error:
                raise AssertionError(f"cut {cut.at}, {how}: {error}") from error
