"""Two stores and the place of a remote between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vfs.repo.repository import Repository


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "here") as repo:
        yield repo


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "there") as repo:
        yield repo


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "remote"
