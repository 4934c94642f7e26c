"""Bytes of a store changed anywhere: the check comes to an end, and what can't be read is told."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.full_store import make_full_store
from tests.support.stores import start_child
from vfs.repo.fsck import check_store

pytestmark = [pytest.mark.slow]

EXAMPLES = int(os.environ.get("VFS_TEST_FLIPS", "12"))

READ_ALL = """
import sys
from pathlib import Path
from tests.support.import_trees import entries_below
from vfs.model.node import identity
from vfs.repo.repository import Repository
with Repository.open(Path(sys.argv[1]), readonly=True) as repo:
    for ref in repo.all_refs():
        for path, entry in entries_below(repo, repo.commit(ref.commit).root):
            if entry.is_dir:
                continue
            leaf, index = repo.store.numbering.locate(repo.store.numbering.number(identity(entry)))
            found = repo.nodes.get(leaf).entry(index)
            assert identity(found) == identity(entry)
            if found.is_file:
                for part in repo.read_file(found):
                    pass
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("flips"))


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_flipped_bytes(full: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = Path(shutil.copytree(full, tmp_path / "store"))
    data = store / "data.mdb"
    with data.open("r+b") as file:
        for _ in range(chance.choice((1, 3, 30))):
            file.seek(chance.randrange(8192, data.stat().st_size))
            if chance.random() < 0.7:
                # Metadata is a small part of the bytes: a page's head is where it hurts.
                file.seek(file.tell() // 4096 * 4096 + chance.randrange(64))
            file.write(chance.randbytes(1))
    report = check_store(store, data=True)
    child = start_child(READ_ALL, store)
    child.communicate(timeout=60)
    if child.returncode:
        assert not report.is_clean
