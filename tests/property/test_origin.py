"""Inode numbers of a version lead back to where they came from, however odd the tree."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import NAMES, Tree, store_tree
from vfs.errors import NotADirectory, NotFound
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra, Link, directory_totals
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.repo.origin import Origin
from vfs.repo.trees import Nodes
from vfs.store.store import Store

LINKS = st.integers(0, 2).map(
    lambda number: Entry(
        b"", stat.S_IFIFO | 0o600, 1, 2, 3, 0, NO_CONTENT, 0,
        Extra(link=Link(b"group%03d" % number, 2)).encode(),
    )
)  # fmt: skip
MANY = st.builds(
    lambda count, every, value: {
        b"m%04d" % n: ({b"x": value} if every and n % every == 0 else value) for n in range(count)
    },
    st.sampled_from((15, 90, 400)),
    st.sampled_from((0, 1, 7)),
    st.sampled_from((b"", b"data")),
)
"""Directories of several leaves, some of them full of directories."""

TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.binary(max_size=5) | LINKS,
        lambda children: MANY | st.dictionaries(NAMES, children, max_size=5),
        max_leaves=12,
    ),
    max_size=5,
)


@contextmanager
def origin_of(tree: Tree) -> Iterator[tuple[Origin, Entry]]:
    path = Path(tempfile.mkdtemp())
    try:
        with Store.create(path / "store") as store:
            with store.ingest() as ingest:
                root = store_tree(ingest, b"", tree)
            yield Origin(Nodes(store.reader()), root, store.numbering), root
    finally:
        shutil.rmtree(path)


def preorder(tree: Tree, path: tuple[bytes, ...] = ()) -> Iterator[tuple[bytes, ...]]:
    for name, value in sorted(tree.items()):
        yield (*path, name)
        if not isinstance(value, (bytes, Entry)):
            yield from preorder(value, (*path, name))


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_numbers_are_ranks_and_lead_back(tree: Tree) -> None:
    with origin_of(tree) as (origin, root):
        again = Origin(origin._nodes, root, origin._numbering)  # one that has seen nothing yet
        assert origin.entry(ROOT_INO) == (root, ROOT_INO)
        numbers: dict[tuple[bytes, ...], int] = {(): ROOT_INO}
        names: dict[int, list[tuple[int, bytes]]] = {}
        for rank, path in enumerate(preorder(tree), 1):
            parent = numbers[path[:-1]]
            found = origin.find(parent, path[-1])
            assert found is not None
            ino, entry = numbers[path], _ = found
            assert entry.name == path[-1]
            assert origin.is_base(ino)
            if ino & LINKED_INO:
                names.setdefault(ino, []).append((parent, path[-1]))
                assert again.entry(ino)[0]._replace(name=entry.name) == entry
                with pytest.raises(NotFound):
                    again.entry(1 + rank)
            else:
                assert ino == 1 + rank
                assert again.entry(ino) == origin.entry(ino) == (entry, parent)
            if entry.is_dir:
                listed = list(again.walk(ino))
                assert [name for name, _, _ in listed] == sorted(child_names(tree, path))
                assert again.count(ino) == len(listed)
                for start in {0, 1, len(listed) // 2, len(listed)}:
                    assert list(again.walk(ino, start)) == listed[start:]
                for name, number, child in listed:
                    assert origin.find(ino, name) == (number, child)
        for ino, places in names.items():
            assert sorted(again.names_of_link(ino)) == sorted(places)
        assert again.names_of_link(LINKED_INO | 5) == []
        past = directory_totals(root).dirs + directory_totals(root).files + 1
        assert not again.is_base(past)
        for missing in (past, past + 10, LINKED_INO | 5000):
            with pytest.raises(NotFound):
                again.entry(missing)


def child_names(tree: Tree, path: tuple[bytes, ...]) -> list[bytes]:
    for name in path:
        value = tree[name]
        assert not isinstance(value, (bytes, Entry))
        tree = value
    return list(tree)


def test_what_is_no_directory_holds_nothing() -> None:
    with origin_of({b"f": b"data"}) as (origin, _):
        found = origin.find(ROOT_INO, b"f")
        assert found is not None
        for use in (lambda: origin.find(found[0], b"x"), lambda: list(origin.walk(found[0]))):
            with pytest.raises(NotADirectory):
                use()


def test_without_a_version_there_is_an_empty_root() -> None:
    with origin_of({}) as (some, _):
        origin = Origin(some._nodes, None, some._numbering)
        assert origin.entry(ROOT_INO) == (origin.root, ROOT_INO)
        assert origin.root.is_dir
        assert origin.find(ROOT_INO, b"f") is None
        assert list(origin.walk(ROOT_INO)) == []
        assert origin.count(ROOT_INO) == 0
        assert origin.names_of_link(LINKED_INO | 5) == []
        assert [origin.is_base(ino) for ino in (0, 1, 2)] == [False, True, False]
        with pytest.raises(NotFound):
            origin.entry(2)
