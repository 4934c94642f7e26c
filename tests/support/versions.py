"""Versions for tests: commits made from plain Python values, with times of our own choice."""

from __future__ import annotations

import pytest

from tests.support.trees import Tree, store_tree
from vfs.ids import ObjectId
from vfs.model.commit import Commit
from vfs.model.entry import Entry
from vfs.repo import repository
from vfs.repo.repository import CommitResult, Repository
from vfs.store.layout import Kind


def commit(
    repo: Repository, tree: Tree, *, data_set: str = "data", branch: str = "main", **options: object
) -> CommitResult:
    """Commit *tree* to a branch."""
    with repo.store.ingest() as ingest:

        def make_root(head: Commit | None) -> Entry:
            return store_tree(ingest, b"", tree)

        options.setdefault("message", "a version")
        return repo.commit_root(
            data_set,
            branch,
            make_root,
            ingest=ingest,
            author="A <a@example.com>",
            **options,  # type: ignore[arg-type]
        )


def commit_with_parents(repo: Repository, tree: Tree, *parents: ObjectId, time_ns: int) -> ObjectId:
    """Store a commit that no reference names."""
    with repo.store.ingest() as ingest:
        root = store_tree(ingest, b"", tree)
        record = Commit(root=root, parents=parents, time_ns=time_ns, author="a", message="merge")
        return ingest.add_object(Kind.COMMIT, record.encode())


class Clock:
    """The repository's clock, at a standstill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1
        monkeypatch.setattr(repository, "now_ns", lambda: self.now_ns)
