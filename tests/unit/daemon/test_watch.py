"""What the watcher of a store's branches tells, and when."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.versions import commit
from vfs.daemon import watch as module
from vfs.daemon.watch import LOOK, Row, parse_rows, watch
from vfs.repo.repository import Repository


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
    return path


class Watcher:
    """The watcher in a process of its own, as it must have the store for itself."""

    def __init__(self, store: Path) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                module.POLL_SECONDS = 0.02  # type: ignore[misc]
                watch(store, writer)
            finally:
                os._exit(1)
        os.close(writer)
        self.lines = os.fdopen(reader, "rb")

    def rows(self) -> list[Row]:
        """Wait for the next line."""
        return parse_rows(self.lines.readline())

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.lines.close()


@pytest.fixture
def watcher(store: Path) -> Iterator[Watcher]:
    made = Watcher(store)
    yield made
    made.end()


def test_each_change_is_told(store: Path, watcher: Watcher) -> None:
    assert watcher.rows() == [Row("data", "main", "")]  # it has one, as soon as it is written to
    with Repository.open(store) as repo:
        first = commit(repo, {b"a": b"1"}).commit.hex()
        assert watcher.rows() == [Row("data", "main", first)]
        repo.set_branch("data", "exp", bytes.fromhex(first), expected=None, why="")  # type: ignore[arg-type]
        assert watcher.rows() == [Row("data", "exp", first), Row("data", "main", first)]
        repo.delete_ref("data", "exp", kind="branch")
        assert watcher.rows() == [Row("data", "main", first)]
        repo.create_data_set("more")
        assert watcher.rows() == [Row("data", "main", first), Row("more", "main", "")]
        repo.set_tag("data", "v1", bytes.fromhex(first), why="")  # type: ignore[arg-type]
        assert watcher.rows() == [Row("data", "main", first), Row("more", "main", "")]


def test_it_can_be_had_to_look_at_any_time(store: Path, watcher: Watcher) -> None:
    watcher.rows()
    for _ in range(3):
        os.kill(watcher.pid, LOOK)
    with Repository.open(store) as repo:
        head = commit(repo, {b"a": b"1"}).commit.hex()
    assert watcher.rows() == [Row("data", "main", head)]
