"""Directories: one tree for the same entries, whatever the history; places as in a plain list."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from tests.support.trees import TREES, Tree, directories, file, store_file, store_tree
from vfs.errors import CorruptObject, NotADirectory, NotFound
from vfs.ids import ObjectId
from vfs.model.entry import Entry, Extra, Totals, directory_entry, directory_totals
from vfs.model.node import Child, Inner, Leaf, Sums, decode_node, encode_inner, sums_of
from vfs.repo.treepaths import edit_paths
from vfs.repo.trees import Nodes, TreeBuilder, edit_tree, find, find_directory, walk
from vfs.store.layout import Kind

MANY = 100_000


def build(objects: MemoryObjects, rows: Mapping[bytes, Entry]) -> tuple[ObjectId, Totals]:
    builder = TreeBuilder(objects)  # type: ignore[arg-type]
    for name in sorted(rows):
        builder.add(rows[name])
    return builder.finish()


def edit(
    objects: MemoryObjects, tree: ObjectId, edits: Mapping[bytes, Entry | None]
) -> tuple[ObjectId, Totals]:
    return edit_tree(objects, objects, tree, edits)  # type: ignore[arg-type]


def nodes_of(objects: MemoryObjects) -> Nodes:
    return Nodes(objects)  # type: ignore[arg-type]


def row(name: bytes, seed: int) -> Entry:
    """An entry: mostly files, some directories, some so large that they fill a node."""
    if seed % 7 == 0:
        totals = Totals(seed % 3, 1 + seed % 5, seed % 11, seed)
        return directory_entry(name, ObjectId(b"%032d" % seed), totals)
    entry = file(name, seed, size=seed % 100)
    if seed % 13 == 0:
        entry = entry._replace(extra=Extra(xattrs=((b"user.big", bytes(20_000)),)).encode())
    return entry


# Enough names for three levels, few enough to be quick.
KEYS = st.integers(0, 6000).map(lambda number: b"f%05d" % number)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[bytes, Entry], dict[bytes, Entry | None]]:
    """A directory and what is changed in it: anything from one name to all of them."""
    step = draw(st.sampled_from((1, 3, 50, 1500, 7000)))
    offset = draw(st.integers(0, 50))
    names = [b"f%05d" % number for number in range(offset, 6000, step)]
    rows = {name: row(name, seed) for seed, name in enumerate(names)}
    edits: dict[bytes, Entry | None] = {}
    for name, seed in draw(
        st.dictionaries(KEYS, st.none() | st.integers(0, 1000), max_size=20)
    ).items():
        edits[name] = None if seed is None else row(name, seed)
    if draw(st.booleans()):  # a whole range goes
        start = draw(st.integers(0, len(names)))
        end = draw(st.integers(start, len(names)))
        edits |= dict.fromkeys(names[start:end])
    return rows, edits


def apply(rows: Mapping[bytes, Entry], edits: Mapping[bytes, Entry | None]) -> dict[bytes, Entry]:
    merged = {**rows, **edits}
    return {name: entry for name, entry in merged.items() if entry is not None}


@given(histories())
@settings(max_examples=40)
def test_an_edited_tree_is_the_tree_built_anew(
    history: tuple[dict[bytes, Entry], dict[bytes, Entry | None]],
) -> None:
    rows, edits = history
    objects = MemoryObjects()
    tree, _ = build(objects, rows)
    assert edit(objects, tree, edits) == build(objects, apply(rows, edits))


@given(histories())
@settings(max_examples=15)
def test_edits_one_by_one_are_edits_at_once(
    history: tuple[dict[bytes, Entry], dict[bytes, Entry | None]],
) -> None:
    rows, edits = history
    edits = dict(list(edits.items())[:15])
    objects = MemoryObjects()
    start, _ = build(objects, rows)
    tree = start
    for name, entry in edits.items():
        tree, _ = edit(objects, tree, {name: entry})
    assert tree == edit(objects, start, edits)[0]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300, 5000])
def test_every_edge_of_a_directory(count: int) -> None:
    objects = MemoryObjects()
    rows = {b"f%05d" % n: row(b"f%05d" % n, n) for n in range(count)}
    tree, totals = build(objects, rows)
    names = sorted(rows)
    cases: list[dict[bytes, Entry | None]] = [
        {},
        {b"a": row(b"a", 1)},
        {b"z": row(b"z", 1)},
        {b"missing": None},
        dict.fromkeys(names[:1]),
        dict.fromkeys(names[-1:]),
        dict.fromkeys(names),
        {**dict.fromkeys(names), b"z": row(b"z", 1)},
        {b"a%04d" % n: row(b"a%04d" % n, n) for n in range(1000)},
        {b"z%04d" % n: row(b"z%04d" % n, n) for n in range(1000)},
    ]
    for edits in cases:
        assert edit(objects, tree, edits) == build(objects, apply(rows, edits))
    assert edit(objects, tree, {}) == (tree, totals)


@given(histories())
@settings(max_examples=25)
def test_places_agree_with_a_sorted_list(
    history: tuple[dict[bytes, Entry], dict[bytes, Entry | None]],
) -> None:
    rows, edits = history
    objects = MemoryObjects()
    tree, totals = build(objects, rows)
    nodes = nodes_of(objects)
    expected = []
    dirs = 0
    for index, name in enumerate(sorted(rows)):
        expected.append((rows[name], index, dirs))
        if rows[name].is_dir:
            dirs += directory_totals(rows[name]).dirs
    assert totals.dirs == dirs + 1
    listed = [(place.entry, place.position, place.dirs_before) for place in walk(nodes, tree)]
    assert listed == expected
    for start in {0, 1, len(rows) // 3, len(rows) - 1, len(rows), len(rows) + 5}:
        tail = walk(nodes, tree, max(start, 0))
        assert [(p.entry, p.position, p.dirs_before) for p in tail] == expected[max(start, 0) :]
    for name in [*edits, *list(rows)[::97], b"", b"a", b"zzz"]:
        place = find(nodes, tree, name)
        if name not in rows:
            assert place is None
        else:
            assert place is not None
            entry, _, before = expected[sorted(rows).index(name)]
            assert (place.entry, place.dirs_before) == (entry, before if entry.is_dir else 0)


@given(TREES)
def test_ranks_lead_to_directories(tree: Tree) -> None:
    """Every directory of nested ones, from its rank in the preorder, as the hub does it."""
    objects = MemoryObjects()
    root = store_tree(objects, b"", tree)
    nodes = nodes_of(objects)
    listed = list(directories(tree))
    assert directory_totals(root).dirs == len(listed)
    for rank, (path, _) in enumerate(listed):
        entry, at, names = root, 0, []
        while at != rank:
            entry, nth = find_directory(nodes, entry.content, rank - at - 1)
            at += 1 + nth
            names.append(entry.name)
        assert tuple(names) == path
    for past in (len(listed) - 1, len(listed) + 100):
        with pytest.raises(NotFound):
            find_directory(nodes, root.content, past)


@given(TREES)
def test_totals_are_those_of_all_levels(tree: Tree) -> None:
    objects = MemoryObjects()
    totals = directory_totals(store_tree(objects, b"", tree))
    listed = list(directories(tree))
    files = [value for _, here in listed for value in here.values() if isinstance(value, bytes)]
    assert totals == Totals(
        subdirs=sum(isinstance(value, Mapping) for value in tree.values()),
        dirs=len(listed),
        files=len(files),
        bytes=sum(map(len, files)),
    )


def sums_are_right(objects: MemoryObjects, tree: ObjectId) -> Sums:
    """Check what inner nodes say of their children."""
    node = decode_node(objects.get(tree))
    if isinstance(node, Leaf):
        return sums_of(list(node.entries()))
    total = Sums(0, 0, 0, 0, 0)
    for child in node.children:
        below = decode_node(objects.get(child.node))
        assert below.level == node.level - 1
        last = below.lasts[-1] if isinstance(below, Inner) else below.names[-1]
        assert child.last == last
        assert sums_are_right(objects, child.node) == child.sums
        total += child.sums
    return total


@given(histories())
@settings(max_examples=10)
def test_inner_nodes_say_what_is_below(
    history: tuple[dict[bytes, Entry], dict[bytes, Entry | None]],
) -> None:
    rows, edits = history
    objects = MemoryObjects()
    tree, totals = edit(objects, build(objects, rows)[0], edits)
    assert sums_are_right(objects, tree).totals() == totals


@pytest.fixture(scope="module")
def many() -> tuple[MemoryObjects, ObjectId]:
    objects = MemoryObjects()
    tree, totals = build(objects, {b"f%06d" % n: file(b"f%06d" % n, n) for n in range(MANY)})
    assert totals.files == MANY
    return objects, tree


def test_one_change_rewrites_a_node_on_each_level(many: tuple[MemoryObjects, ObjectId]) -> None:
    objects, tree = many
    levels = decode_node(objects.get(tree)).level + 1
    assert levels <= math.ceil(math.log(MANY, 32))
    generator = random.Random(4)
    worst = 0
    for _ in range(50):
        name = b"f%06d" % generator.randrange(MANY)
        for edits in ({name: file(name, 1)}, {name: None}, {name + b"x": file(name + b"x", 2)}):
            stored, objects.reads = len(objects.added), 0
            edit(objects, tree, edits)
            new = objects.added[stored:]
            worst = max(worst, sum(len(objects.objects[oid]) for oid in new))
            # A name that ends a node may be one of those that are changed: its neighbour too.
            assert len(new) <= 2 * levels
            assert objects.reads <= 3 * levels
    assert worst < 100_000


def test_a_look_up_reads_a_node_on_each_level(many: tuple[MemoryObjects, ObjectId]) -> None:
    objects, tree = many
    levels = decode_node(objects.get(tree)).level + 1
    for number in (0, 1, 777, MANY - 1):
        objects.reads = 0
        place = find(nodes_of(objects), tree, b"f%06d" % number)
        assert place is not None
        assert objects.reads == levels
        objects.reads = 0
        assert next(walk(nodes_of(objects), tree, number)).position == number
        assert objects.reads == levels


def test_nodes_are_neither_tiny_nor_huge(many: tuple[MemoryObjects, ObjectId]) -> None:
    objects, tree = many
    root = decode_node(objects.get(tree))
    assert isinstance(root, Inner)
    leaves = [len(data) for data in objects.objects.values() if data[:2] == b"T\0"]
    assert 4_000 < sum(leaves) / len(leaves) < 12_000
    assert max(leaves) < 34_000


def test_names_must_ascend() -> None:
    builder = TreeBuilder(MemoryObjects())  # type: ignore[arg-type]
    builder.add(file(b"b"))
    for name in (b"b", b"a"):
        with pytest.raises(ValueError, match="comes after"):
            builder.add(file(name))
    with pytest.raises(ValueError, match="comes after"):
        TreeBuilder(MemoryObjects()).add(file(b""))  # type: ignore[arg-type]


def test_a_child_on_a_wrong_level_is_corrupt() -> None:
    objects = MemoryObjects()
    leaf, _ = build(objects, {b"a": file(b"a")})
    child = Child(leaf, b"a", Sums(1, 0, 0, 1, 4096))
    wrong = objects.add_object(Kind.TREE, encode_inner(2, [child]))
    with pytest.raises(CorruptObject, match="level"):
        find(nodes_of(objects), wrong, b"a")
    with pytest.raises(CorruptObject, match="level"):
        list(walk(nodes_of(objects), wrong))


# edit_paths, against nested dicts


def set_path(tree: dict[bytes, object], path: tuple[bytes, ...], value: object) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})  # type: ignore[assignment]
    if value is None:
        del tree[path[-1]]
    else:
        tree[path[-1]] = value


def shape(objects: MemoryObjects, root: Entry) -> dict[bytes, object]:
    """Return a stored tree as nested dicts of contents."""
    return {
        place.entry.name: shape(objects, place.entry) if place.entry.is_dir else place.entry.content
        for place in walk(nodes_of(objects), root.content)
    }


PATHS = st.lists(st.sampled_from((b"a", b"b", b"c")), min_size=1, max_size=4).map(tuple)


@given(st.dictionaries(PATHS, st.none() | st.binary(min_size=1, max_size=3), max_size=6))
def test_edit_paths_agrees_with_nested_dicts(
    edits: dict[tuple[bytes, ...], bytes | None],
) -> None:
    start: Tree = {b"a": {b"a": b"x", b"b": {b"c": b"y"}}, b"b": b"z"}
    objects = MemoryObjects()
    root = store_tree(objects, b"", start)
    entries: dict[tuple[bytes, ...], Entry | None] = {
        path: None if data is None else store_file(objects, path[-1], data)
        for path, data in edits.items()
    }
    model = shape(objects, root)
    try:
        result = edit_paths(objects, objects, root, entries)  # type: ignore[arg-type]
    except (NotFound, NotADirectory):
        # Then something that is not there was removed, or a file was taken for a directory.
        files = {(b"b",), (b"a", b"a"), (b"a", b"b", b"c")}
        assert any(
            entries[path] is None
            or any(path[:n] in edits or path[:n] in files for n in range(1, len(path)))
            for path in edits
        )
        return
    for path, entry in entries.items():
        set_path(model, path, None if entry is None else entry.content)
    assert shape(objects, result) == model
    assert directory_totals(result) == directory_totals(
        edit_paths(objects, objects, result, {})  # type: ignore[arg-type]
    )


def test_edit_paths_keeps_the_attributes_of_directories() -> None:
    objects = MemoryObjects()
    root = store_tree(objects, b"", {b"a": {b"b": b"x"}})
    root = root._replace(mode=root.mode | 0o2000, uid=77)
    new = store_file(objects, b"?", b"new")
    result = edit_paths(objects, objects, root, {(b"a", b"c"): new})  # type: ignore[arg-type]
    assert result._replace(content=root.content, extra=root.extra) == root
    place = find(nodes_of(objects), result.content, b"a")
    assert place is not None
    assert place.entry._replace(content=root.content, extra=b"") == place.entry._replace(
        content=root.content, extra=b"", mtime_ns=root.mtime_ns
    )
    assert directory_totals(result) == Totals(1, 2, 2, 4)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ((b"missing",), None, NotFound),
        ((b"a", b"missing"), None, NotFound),
        ((b"new", b"x"), None, NotFound),
        ((b"f", b"x"), b"data", NotADirectory),
        ((b"f", b"x"), None, NotADirectory),
        ((), None, NotADirectory),
        ((), b"data", NotADirectory),
    ],
)
def test_edit_paths_refuses(path: tuple[bytes, ...], value: bytes | None, error: type) -> None:
    objects = MemoryObjects()
    root = store_tree(objects, b"", {b"a": {b"b": b"x"}, b"f": b"y"})
    entry = None if value is None else store_file(objects, b"?", value)
    with pytest.raises(error):
        edit_paths(objects, objects, root, {path: entry})  # type: ignore[arg-type]


def test_a_root_is_replaced_whole() -> None:
    objects = MemoryObjects()
    root = store_tree(objects, b"", {b"a": b"x"})
    other = store_tree(objects, b"name", {b"b": b"y"})
    assert edit_paths(objects, objects, root, {(): other}) == other._replace(name=b"")  # type: ignore[arg-type]
