"""A version with one of everything, imported once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.export_source import make_source
from tests.support.full_store import import_tree
from vfs.model.entry import Entry
from vfs.repo.repository import Repository


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("export")
    (base / "source").mkdir()
    make_source(base / "source")
    with Repository.create(base / "store") as repo:
        repo.create_data_set("data")
        import_tree(repo, base / "source", "data")
    return base


@pytest.fixture
def repo(prepared: Path) -> Iterator[Repository]:
    with Repository.open(prepared / "store", readonly=True) as repo:
        yield repo


@pytest.fixture
def root(repo: Repository) -> Entry:
    return repo.commit(repo.resolve("data").commit).root
