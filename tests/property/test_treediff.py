"""Comparing trees, against dicts: all that differs, nothing else, and no node read in vain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from tests.support.trees import DIRECTORIES, TREES, Tree, by_name, file, store_tree
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry
from vfs.repo.renames import with_renames
from vfs.repo.treediff import all_pairs, differences, expand, pairs, summarize
from vfs.repo.trees import Nodes, TreeBuilder, edit_tree

# Of one character each, so that trees have names in common; enough of them for several levels.
SMALL = st.recursive(
    st.sampled_from((b"", b"one", b"two", b"three")),
    lambda trees: st.dictionaries(st.sampled_from((b"a", b"b", b"c", b"d")), trees, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, Mapping))


def build(objects: MemoryObjects, directory: Mapping[bytes, Entry]) -> ObjectId:
    builder = TreeBuilder(objects)
    for name in sorted(directory):
        builder.add(directory[name])
    return builder.finish()[0]


def flat(tree: Tree, path: bytes = b"") -> dict[bytes, bytes | None]:
    """Return contents by path, None for a directory."""
    found: dict[bytes, bytes | None] = {}
    for name, value in tree.items():
        here = path + b"/" + name if path else name
        if isinstance(value, Mapping):
            found |= {here: None, **flat(value, here)}
        else:
            assert isinstance(value, bytes)
            found[here] = value
    return found


@given(DIRECTORIES, DIRECTORIES)
def test_pairs_of_any_directories(old: dict[bytes, Entry], new: dict[bytes, Entry]) -> None:
    objects = MemoryObjects()
    trees = build(objects, old), build(objects, new)
    expected = [
        (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    assert list(pairs(Nodes(objects), *trees)) == expected
    back = [(b, a) for a, b in pairs(Nodes(objects), trees[1], trees[0])]
    assert back == expected
    alone = [(None, new[name]) for name in sorted(new)]
    assert list(pairs(Nodes(objects), NO_CONTENT, trees[1])) == alone


NUMBERS = st.integers(0, 30_000)


@pytest.mark.parametrize("count", [0, 1, 300, 30_000])
@given(changed=st.sets(NUMBERS, max_size=8), gone=st.tuples(NUMBERS, st.integers(0, 3000)))
def test_pairs_of_large_directories(count: int, changed: set[int], gone: tuple[int, int]) -> None:
    """Of several levels, also of different ones."""
    objects, old = LARGE.get(count) or LARGE.setdefault(count, _large(count))
    directory = objects[1] | {}
    for number in changed:
        name = b"%06d" % number
        directory[name] = file(name, -1)
    for number in range(gone[0], gone[0] + gone[1]):
        directory.pop(b"%06d" % number, None)
    store = objects[0]
    names = objects[1].keys() | directory.keys()
    edits = {n: directory.get(n) for n in names if objects[1].get(n) != directory.get(n)}
    new, _ = edit_tree(store, store, old, edits)
    expected = [(objects[1].get(name), directory.get(name)) for name in sorted(edits)]
    store.reads = 0
    assert list(pairs(Nodes(store), old, new)) == expected
    # A change costs a node on each level on both sides, and may move the end of another.
    assert store.reads <= 2 + 2 * 3 * 3 * (len(changed) + 2) + gone[1] // 10
    assert [(b, a) for a, b in pairs(Nodes(store), new, old)] == expected


LARGE: dict[int, tuple[tuple[MemoryObjects, dict[bytes, Entry]], ObjectId]] = {}


def _large(count: int) -> tuple[tuple[MemoryObjects, dict[bytes, Entry]], ObjectId]:
    objects = MemoryObjects()
    directory = by_name(*(file(b"%06d" % number, number) for number in range(count)))
    return (objects, directory), build(objects, directory)


@given(SMALL | TREES, SMALL | TREES)
def test_differences_of_whole_trees(old: Tree, new: Tree) -> None:
    objects = MemoryObjects()
    roots = store_tree(objects, b"", old), store_tree(objects, b"", new)
    nodes = Nodes(objects)
    before, after = flat(old), flat(new)
    expected: dict[tuple[str, bytes], None] = {}
    for path in before.keys() | after.keys():
        if path not in before:
            expected["A", path] = None
        elif path not in after:
            expected["D", path] = None
        elif (before[path] is None) != (after[path] is None):
            expected["T", path] = None
        elif before[path] != after[path]:
            expected["M", path] = None
    found = list(differences(nodes, *roots))
    told = [(each.letter, each.path) for one in found for each in expand(nodes, one)]
    assert len(told) == len(set(told))
    assert set(told) == expected.keys()
    assert {path for path, *_ in all_pairs(nodes, roots[0].content, roots[1].content)} >= {
        path for _, path in told
    }
    # The same, whether directories are counted as one or by what is in them.
    assert summarize(iter(found)) == summarize(e for one in found for e in expand(nodes, one))


@given(SMALL, SMALL, st.booleans())
def test_renames_lead_from_the_old_tree_to_the_new(old: Tree, new: Tree, whole: bool) -> None:
    objects = MemoryObjects()
    roots = store_tree(objects, b"", old), store_tree(objects, b"", new)
    nodes = Nodes(objects)
    tree, after = flat(old), flat(new)
    moved: dict[bytes, bytes | None] = {}
    found = list(with_renames(nodes, differences(nodes, *roots), whole=whole))
    for one in found:
        if one.kind == "renamed":
            assert one.old_path is not None
            assert one.old is not None
            assert one.new is not None
            assert one.old.content == one.new.content != NO_CONTENT
            for path in [path for path in tree if _is_below(path, one.old_path)]:
                moved[one.path + path[len(one.old_path) :]] = tree.pop(path)
    for one in found:
        if one.kind == "deleted":
            for path in [
                path
                for path in tree
                if path == one.path or (one.whole and _is_below(path, one.path))
            ]:
                del tree[path]
    for one in found:
        if one.kind in ("added", "modified", "type changed"):
            for path, value in after.items():
                if path == one.path or (one.whole and _is_below(path, one.path)):
                    tree[path] = value
    assert not tree.keys() & moved.keys()
    assert tree | moved == after


def _is_below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top + b"/")


def test_many_differences_are_not_held() -> None:
    objects = MemoryObjects()
    old = store_tree(objects, b"", {b"old": {b"%d" % n: b"%d" % n for n in range(50)}})
    new = store_tree(objects, b"", {b"new": {b"%d" % n: b"%d" % n for n in range(51)}})
    nodes = Nodes(objects)
    cut: list[bool] = []

    def letters(limit: int) -> list[str]:
        found = differences(nodes, old, new)
        renamed = with_renames(nodes, found, limit=limit, cut=lambda: cut.append(True))
        return [one.letter for one in renamed]

    assert sorted(letters(200)) == ["A", "A", "D", *["R"] * 50]
    assert not cut
    assert sorted(letters(100)) == ["A"] * 52 + ["D"] * 51
    assert cut == [True]


def test_a_tree_deeper_than_recursion_goes() -> None:
    objects = MemoryObjects()
    roots = []
    for content in (b"old", b"new"):
        entry = store_tree(objects, b"d", {b"f": content})
        for _ in range(3000):
            entry = store_tree(objects, b"d", {b"d": entry})
        roots.append(entry)
    nodes = Nodes(objects)
    (one,) = differences(nodes, *roots)
    assert (one.letter, one.path) == ("M", b"d/" * 3000 + b"f")
    (all_added,) = differences(nodes, None, roots[1])
    assert sum(1 for _ in expand(nodes, all_added)) == 3002
