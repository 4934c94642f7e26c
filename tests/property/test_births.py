"""Who brought an entry first: what the table says is what going through all versions finds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trees import Tree, store_tree
from tests.support.versions import commit
from vfs.ids import ObjectId
from vfs.model.entry import Entry
from vfs.model.node import identity
from vfs.repo import births
from vfs.repo.births import birth
from vfs.repo.repository import Repository

NAMES = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
FILES = st.integers(0, 5).map(lambda number: b"%d" % number)
MANY = st.integers(1, 3).map(lambda n: {b"%03d" % i: b"%d" % (i // n) for i in range(400)})
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, FILES, max_size=4),
    lambda below: st.dictionaries(NAMES, FILES | below | MANY, max_size=4),
    max_leaves=6,
)
VERSIONS = st.lists(st.tuples(st.sampled_from(["one", "two"]), TREES), min_size=1, max_size=7)


def files_of(repo: Repository, root: Entry) -> Iterator[bytes]:
    """Yield the identities of all that is no directory below a root."""
    for entry in repo.entries(root.content):
        if entry.is_dir:
            yield from files_of(repo, entry)
        else:
            yield identity(entry)


def first_commits(repo: Repository) -> dict[bytes, ObjectId]:
    """Return the first commit of each entry, found by going through all commits."""
    found: dict[bytes, ObjectId] = {}
    for _, slot in repo.store.refs.slots_from(1):
        if slot.name == slot.commit.hex():
            for one in files_of(repo, repo.commit(slot.commit).root):
                found.setdefault(one, slot.commit)
    return found


def check(repo: Repository) -> None:
    for one, expected in first_commits(repo).items():
        slot = birth(repo, repo.store.numbering.number(one))
        assert slot is not None
        assert (slot.commit, slot.name) == (expected, expected.hex())


@given(VERSIONS)
def test_the_table_knows_all_births(versions: list[tuple[str, Tree]]) -> None:
    with (
        tempfile.TemporaryDirectory() as path,
        pytest.MonkeyPatch.context() as patch,
        Repository.create(Path(path) / "store") as repo,
    ):
        patch.setattr(births, "SEARCHED_MAX", 0)
        for name in ("one", "two"):
            repo.create_data_set(name)
        for data_set, tree in versions:
            commit(repo, tree, data_set=data_set)
        check(repo)


@given(VERSIONS, st.sets(st.integers(0, 6)), st.booleans())
def test_what_was_left_by_nobody_gets_a_birth(
    versions: list[tuple[str, Tree]], killed: set[int], without_table: bool
) -> None:
    """*killed*: which of the versions were stored, but not committed."""
    with (
        tempfile.TemporaryDirectory() as path,
        pytest.MonkeyPatch.context() as patch,
        Repository.create(Path(path) / "store") as repo,
    ):
        if without_table:  # as in a store of the first release
            patch.setattr("vfs.store.refs.claim", lambda *_: None)
        for name in ("one", "two"):
            repo.create_data_set(name)
        for index, (data_set, tree) in enumerate(versions):
            if index in killed:
                with repo.store.ingest() as ingest:
                    store_tree(ingest, b"", tree)
            else:
                commit(repo, tree, data_set=data_set)
        check(repo)
        unborn = {number for _, number in _numbers(repo)} - {
            repo.store.numbering.number(one) for one in first_commits(repo)
        }
        assert all(birth(repo, number) is None for number in unborn)  # type: ignore[arg-type]


def _numbers(repo: Repository) -> Iterator[tuple[None, int]]:
    with repo.store.held() as held:
        for key, _ in held.rows("numbers"):
            yield None, int.from_bytes(key, "big")


def test_a_leaf_of_which_one_version_has_a_part(tmp_path: Path) -> None:
    both: Tree = {b"a": b"1", b"b": b"2"}
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("one")
        with repo.store.ingest() as ingest:
            store_tree(ingest, b"", both)
        commit(repo, {b"a": b"1"}, data_set="one")
        commit(repo, both, data_set="one")
        check(repo)
