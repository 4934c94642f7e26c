"""A store with one data set, and importing into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pytest

from vfs.model.entry import Entry
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, ImportResult, import_source
from vfs.repo.importer import index as index_module
from vfs.repo.importer import trust as trust_module
from vfs.repo.repository import Repository


class Import(Protocol):
    def __call__(
        self, source: Path | BinaryIO, target: str = ..., **options: Any
    ) -> ImportResult: ...


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        yield repo


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    return source


@pytest.fixture
def run(repo: Repository) -> Import:
    def run(source: Path | BinaryIO, target: str = "data", **options: Any) -> ImportResult:
        filled = ImportOptions(**{"message": "test", **options})
        return import_source(repo, source, parse_target(target), filled)

    return run


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as settled, so that no test has to wait.

    Wherever the tests run: in a container, it is an overlay that shows another's times.
    """
    monkeypatch.setattr(index_module, "RACY_NS", -(10**15))
    monkeypatch.setattr(index_module, "RACY_COARSE_NS", -(10**15))
    known = trust_module.KEEP_CTIME | trust_module.SHOW_ANOTHERS
    monkeypatch.setattr(trust_module, "KEEP_CTIME", known)


def root_of(repo: Repository, revision: str = "main") -> Entry:
    return repo.commit(repo.resolve("data", revision).commit).root
