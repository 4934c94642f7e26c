"""Writers that come to rely on garbage, at each moment of a collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.garbage import NOW, damages, version
from tests.support.trees import store_tree
from tests.support.versions import commit
from vfs.errors import NotFound
from vfs.repo.gc import collect
from vfs.repo.gc.report import Report
from vfs.repo.gc.roots import RootFinder
from vfs.repo.repository import Repository
from vfs.store.garbage import Garbage

TREE = {b"f": b"was garbage" * 1000, b"d": {b"g": b"too" * 2000}}


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A store in which TREE is garbage."""
    with Repository.create(tmp_path / "store") as made:
        for name in ("data", "gone"):
            made.create_data_set(name)
        commit(made, TREE, data_set="gone")
        made.delete_ref("gone", "main", kind="branch")
        commit(made, {b"kept": b"k"})
        yield made


def collecting(repo: Repository) -> tuple[threading.Event, Callable[[], Report]]:
    """Collect in a thread; an event that says that it waits, and what returns its report."""
    waits, reports = threading.Event(), list[Report]()
    thread = threading.Thread(
        target=lambda: reports.append(collect(repo.store, NOW, on_wait=waits.set))
    )
    thread.start()

    def end() -> Report:
        thread.join(30)
        return reports[0]

    return waits, end


def test_who_began_before_is_waited_for(repo: Repository) -> None:
    with repo.store.ingest() as ingest:
        root = store_tree(ingest, b"", TREE)
        assert ingest.stored_bytes == 0  # all of it was there
        waits, end = collecting(repo)
        assert waits.wait(30)
        made = repo.commit_root(
            "data", "main", lambda _: root, ingest=ingest, message="m", author="a"
        ).commit
    assert end().objects == 1  # the commit alone
    assert version(repo, made) == TREE
    assert damages(repo.store.path) == []


def test_who_begins_meanwhile_stores_it_anew(repo: Repository) -> None:
    with repo.store.writers.announce():
        waits, end = collecting(repo)
        assert waits.wait(30)
        made = commit(repo, TREE)
    assert end().objects == 1  # the commit: of all else the rows are new ones
    assert version(repo, made.commit) == TREE
    assert damages(repo.store.path) == []


def test_an_old_version_is_named_before_it_is_let_go(repo: Repository) -> None:
    gone = repo.reflog("gone", "main")[-1].new
    assert gone is not None
    with repo.store.writers.announce():
        repo.set_tag("gone", "back", gone, why="test")
        waits, end = collecting(repo)
        assert waits.wait(30)
    assert end().objects == 0
    assert version(repo, gone) == TREE


def test_an_old_version_can_not_be_named_after(repo: Repository) -> None:
    gone = repo.reflog("gone", "main")[-1].new
    assert gone is not None
    with repo.store.writers.announce():
        waits, end = collecting(repo)
        assert waits.wait(30)
        with pytest.raises(NotFound, match="not in the store any more"):
            repo.set_tag("gone", "back", gone, why="test")
    assert end().versions == 1
    assert damages(repo.store.path) == []


def test_references_that_move_while_it_decides(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, calls = RootFinder.find, []

    def moved_after(self: RootFinder) -> object:
        roots = find(self)
        calls.append(roots)
        return roots

    monkeypatch.setattr(RootFinder, "find", moved_after)
    newest = type(repo.store.refs).newest_slot_in
    moved: list[bool] = []

    def move_first(self: object, txn: object) -> int:
        number = newest(self, txn)  # type: ignore[arg-type]
        if calls and not moved:
            moved.append(True)
            return number + 1  # as if a reference had moved since
        return number

    monkeypatch.setattr(type(repo.store.refs), "newest_slot_in", move_first)
    assert collect(repo.store, NOW).versions == 1
    assert len(calls) == 3  # twice to decide, once to pardon
    assert damages(repo.store.path) == []


def test_generations_survive_a_collection_that_ended_early(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Garbage, "pardon", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collect(repo.store, NOW)
    assert repo.store.writers.state() == (1, True)
    made = commit(repo, TREE).commit  # stored anew: what is there is condemned
    assert damages(repo.store.path) == []
    collect(repo.store, NOW)
    assert repo.store.writers.state() == (2, False)
    assert version(repo, made) == TREE
    assert damages(repo.store.path) == []
