"""Random operations against a shadow file, and against the same ones on a directory of ext4."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import tree_load
from tests.support.fsx import Fsx, Mismatch
from tests.support.posix import ZOO_BIG, Tree, create, opened

pytestmark = pytest.mark.mounted

OPS = int(os.environ.get("VFS_TEST_FSX_OPS", "20000"))
TREE_OPS = int(os.environ.get("VFS_TEST_TREE_OPS", "1500"))


def test_a_file_against_a_shadow(zoo: Tree) -> None:
    tester = Fsx("big", seed=1, size=len(ZOO_BIG) + 5000, shadow=ZOO_BIG)
    tester.run(OPS)
    tester.close()


def test_a_difference_is_found(tree: Tree) -> None:
    create("file")
    tester = Fsx("file", seed=1)
    tester.run(200)
    assert tester.shadow
    with opened("file") as fd:
        byte = os.pread(fd, 1, 0)
        os.pwrite(fd, bytes([byte[0] ^ 1]), 0)
    with pytest.raises(Mismatch, match="at 0: "):
        tester.check()
    tester.close()


def test_many_processes_on_a_tree(tree: Tree, reference: Path) -> None:
    os.mkdir("here")
    other = reference / f"replayed-{tree.kind}"
    other.mkdir()
    tree_load.compare("here", other, workers=5, ops=TREE_OPS, seed=1)
