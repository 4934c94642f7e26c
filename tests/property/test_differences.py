"""What differs between two versions, as three trees, against dicts of paths."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trees import Tree
from tests.support.versions import commit
from vfs.model.entry import Entry
from vfs.repo.differences import NAMES, Differences, make_difference
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository

TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from((b"a", b"b", b"c")), st.sampled_from((b"", b"one", b"two"))),
    lambda trees: st.dictionaries(
        st.sampled_from((b"a", b"b", b"c", b"d")), st.sampled_from((b"one", b"two")) | trees
    ),
    max_leaves=8,
)
Flat = dict[bytes, bytes | None]
"""Contents by path; None for a directory."""


def flat(tree: Tree, path: bytes = b"") -> Flat:
    found: Flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= {path + name: None, **flat(value, path + name + b"/")}
        else:
            assert isinstance(value, bytes)
            found[path + name] = value
    return found


def stored(repo: Repository, directory: Entry, path: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    for entry in repo.entries(directory.content):
        yield path + entry.name, entry
        if entry.is_dir:
            yield from stored(repo, entry, path + entry.name + b"/")


def with_holders(some: Flat) -> Flat:
    """Return *some* with the directories that they are in."""
    above = {path[:at] for path in some for at in range(len(path)) if path[at : at + 1] == b"/"}
    return {**dict.fromkeys(above), **some}


def expected(old: Flat, new: Flat) -> dict[bytes, Flat]:
    def one_sided(here: Flat, there: Flat) -> Flat:
        return with_holders(
            {
                path: value
                for path, value in here.items()
                if path not in there or (value is None) != (there[path] is None)
            }
        )

    both = {
        path: new[path] for path in old.keys() & new.keys() if None not in (old[path], new[path])
    }
    changed = {path: value for path, value in both.items() if old[path] != value}
    sides = one_sided(new, old), one_sided(old, new), with_holders(changed)
    return dict(zip(NAMES, sides, strict=True))


@given(TREES, TREES)
def test_everything_that_differs_is_in_one_of_the_three(old: Tree, new: Tree) -> None:
    with tempfile.TemporaryDirectory() as place, Repository.create(Path(place) / "store") as repo:
        repo.create_data_set("data")
        first = commit(repo, old).commit
        second = commit(repo, new).commit
        differences = Differences(repo.store)
        assert differences.find("data", first, second) is None
        make_difference(repo, "data", first, second)
        slot = differences.find("data", first, second)
        assert slot is not None
        made = repo.store.refs.slot(slot)
        assert made is not None
        root = repo.commit(made.commit).root
        wanted = expected(flat(old), flat(new))
        heads = dict(zip(NAMES, (new, old, new), strict=True))
        for entry in repo.entries(root.content):
            found = {
                path: None if one.is_dir else b"".join(repo.read_file(one))
                for path, one in stored(repo, entry)
            }
            assert found == wanted.pop(entry.name)
            whole = repo.commit(first if heads[entry.name] is old else second).root
            for path, one in stored(repo, entry):
                there = repo.entry_at(whole, tuple(path.split(b"/")))
                # Files are the same inodes; directories have the same attributes.
                assert one[:5] == there[:5]
                assert one.is_dir or one == there
        assert wanted == {}


def test_a_store_with_one_is_sound_and_makes_it_once(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        first = commit(repo, {b"a": b"1", b"d": {b"e": b"2"}}, tag="v1").commit
        second = commit(repo, {b"b": b"1", b"d": {b"e": b"3"}}).commit
        make_difference(repo, "data", first, second)
        make_difference(repo, "data", first, second)
        slots = repo.store.refs.slots_from(1)
        commits = {slot.commit for _, slot in slots if slot.is_difference}
        assert len(commits) == 1  # nothing in it depends on when it was made
        with pytest.raises(Exception, match="no revision"):
            repo.resolve("data", next(iter(commits)).hex())
    assert check_store(path, data=True).damages == []
