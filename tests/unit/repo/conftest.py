"""A repository with a small history in each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vfs.repo.repository import Repository


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "store") as made:
        made.create_data_set("data")
        yield made
