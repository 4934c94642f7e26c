"""Mounts and sources that several modules of mounted tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import make_odd_tree
from tests.support.mounting import MemoryMount, memory_mount


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[MemoryMount]:
    with memory_mount(tmp_path) as made:
        yield made


@pytest.fixture
def mounted(mnt: MemoryMount) -> MemoryMount:
    done = mnt.mount()
    assert done.returncode == 0, done.stderr
    return mnt


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return make_odd_tree(tmp_path / "source")
