"""Which datums an input has, and what their ids depend on; outputs put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from tests.support.trees import store_tree
from vfs.errors import Conflict
from vfs.ids import ObjectId
from vfs.model.entry import Entry
from vfs.pipeline.datums import Datum, make_datums
from vfs.pipeline.glob import Glob
from vfs.pipeline.output import files_of, put_together, tree_of
from vfs.pipeline.spec import parse_spec
from vfs.repo.trees import Nodes

FILES = {
    b"a.txt": b"A",
    b"b.txt": b"B",
    b"sub": {b"a.txt": b"A", b"c.png": b"C", b"deep": {b"d.txt": b"D"}},
}


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


def matched(pattern: str, tree: Any = FILES) -> list[str]:
    objects = MemoryObjects()
    root = store_tree(objects, b"", tree)
    found = Glob(pattern).pieces(Nodes(objects), root)
    return ["/" + b"/".join(path).decode() for path, _ in found]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("/", ["/"]),
        ("/*", ["/a.txt", "/b.txt", "/sub"]),
        ("*", ["/a.txt", "/b.txt", "/sub"]),
        ("/*/*", ["/sub/a.txt", "/sub/c.png", "/sub/deep"]),
        ("/**", ["/a.txt", "/b.txt", "/sub/a.txt", "/sub/c.png", "/sub/deep/d.txt"]),
        ("/**/a.txt", ["/a.txt", "/sub/a.txt"]),
        ("/**.txt", ["/a.txt", "/b.txt", "/sub/a.txt", "/sub/deep/d.txt"]),
        ("/sub/**", ["/sub/a.txt", "/sub/c.png", "/sub/deep/d.txt"]),
        ("/sub", ["/sub"]),
        ("/[!a]*", ["/b.txt", "/sub"]),
        ("/?.txt", ["/a.txt", "/b.txt"]),
        ("/*.{txt,png}", ["/a.txt", "/b.txt"]),
        ("/sub/(*).(png|txt)", ["/sub/a.txt", "/sub/c.png"]),
        ("/(*/deep)", ["/sub/deep"]),
        (r"/\*", []),
        ("/none/*", []),
    ],
)
def test_patterns(pattern: str, wanted: list[str]) -> None:
    assert matched(pattern) == wanted


def test_a_literal_directory_is_the_only_one_that_is_read(objects: MemoryObjects) -> None:
    many = {f"d{i:03}".encode(): {b"x": b"%d" % i} for i in range(300)}
    root = store_tree(objects, b"", many)
    objects.reads = 0
    assert len(list(Glob("/d007/*").pieces(Nodes(objects), root))) == 1
    assert objects.reads < 20


def test_captured_groups() -> None:
    path = (b"foo", b"bar-123", b"ABC.txt")
    assert Glob("/(*)/*/(??)*.txt").key("$1-$2", path) == "foo-AB"
    assert Glob("/*/(bar-(123))/*").key("${2}$1", path) == "123bar-123"


def datums(input_: Any, trees: Mapping[str, Any], spec_id: str = "s") -> dict[str, Datum]:
    objects = MemoryObjects()
    spec = parse_spec({"name": "p", "command": ["c"], "input": input_})
    roots = {name: store_tree(objects, b"", tree) for name, tree in trees.items()}
    return make_datums(spec.input, roots, Nodes(objects), spec_id)


def shown(input_: Any, trees: Mapping[str, Any]) -> list[str]:
    return sorted(
        " ".join(f"{one['name']}/{one['path']}" for one in datum.facts())
        for datum in datums(input_, trees).values()
    )


TWO = {"a": {b"1": b"x", b"2": b"y"}, "b": {b"2": b"z", b"3": b"w"}}
A, B = {"data": "a", "glob": "/*"}, {"data": "b", "glob": "/*"}
KEYED = [{"data": name, "glob": "/(*)"} for name in "ab"]


def test_cross_union_join_and_group() -> None:
    joined = [{**one, "join_on": "$1"} for one in KEYED]
    grouped = [{**one, "group_by": "$1"} for one in KEYED]
    assert shown({"cross": [A, B]}, TWO) == ["a/1 b/2", "a/1 b/3", "a/2 b/2", "a/2 b/3"]
    assert shown({"union": [A, B]}, TWO) == ["a/1", "a/2", "b/2", "b/3"]
    assert shown({"join": joined}, TWO) == ["a/2 b/2"]
    outer = [joined[0], {**joined[1], "outer_join": True}]
    assert shown({"join": outer}, TWO) == ["a/2 b/2", "b/3"]
    assert shown({"group": grouped}, TWO) == ["a/1", "a/2 b/2", "b/3"]
    nested = {"cross": [A, {"union": [B, {"data": "a", "name": "c", "glob": "/1"}]}]}
    assert len(shown(nested, {**TWO, "c": TWO["a"]})) == 6
    assert shown({"cross": [A, B]}, {"a": TWO["a"], "b": {}}) == []


def ids(tree: Any, glob: str = "/*", **more: str) -> set[str]:
    return set(datums({"data": "a", "glob": glob}, {"a": tree}, **more))


def test_only_what_changed_has_another_id() -> None:
    before = ids(FILES)
    assert len(before - ids({**FILES, b"a.txt": b"other"})) == 1
    assert ids({**FILES, b"new": b"n"}) > before
    assert before > ids({b"a.txt": b"A", b"sub": FILES[b"sub"]})
    assert before.isdisjoint(ids(FILES, spec_id="another command"))
    # The name counts, as a command sees it.
    assert ids({b"x": b"A"}).isdisjoint(ids({b"y": b"A"}))
    changed = {**FILES, b"sub": {**FILES[b"sub"], b"deep": {b"d.txt": b"!"}}}  # type: ignore[dict-item]
    assert len(before - ids(changed)) == 1


def stamped(objects: MemoryObjects, tree: Any, time_ns: int, uid: int) -> Entry:
    """The same files with another time and owner, directories too."""
    files = files_of(Nodes(objects), store_tree(objects, b"", tree).content)
    changed = {path: e._replace(mtime_ns=time_ns, uid=uid) for path, e in files}
    return tree_of(objects, changed)


@pytest.mark.parametrize("glob", ["/", "/*", "/**"])
def test_times_and_owners_don_t_count(objects: MemoryObjects, glob: str) -> None:
    spec = parse_spec({"name": "p", "command": ["c"], "input": {"data": "a", "glob": glob}})
    roots = [stamped(objects, FILES, *facts) for facts in ((1, 0), (2, 1000))]
    assert roots[0].content != roots[1].content
    one, two = (make_datums(spec.input, {"a": r}, Nodes(objects), "s") for r in roots)
    assert set(one) == set(two)
    whole = roots[0]._replace(mtime_ns=5)
    assert set(make_datums(spec.input, {"a": whole}, Nodes(objects), "s")) == set(one)


# outputs

PATHS = st.lists(st.sampled_from((b"a", b"b", b"c")), min_size=1, max_size=3).map(tuple)
OUTPUTS = st.dictionaries(
    st.sampled_from("pqrs"), st.dictionaries(PATHS, st.sampled_from((b"1", b"2")), max_size=3)
)


def stored(objects: MemoryObjects, files: Mapping[tuple[bytes, ...], bytes]) -> ObjectId | None:
    """The tree of an output; None where its own paths clash."""
    made = {}
    for path, data in files.items():
        if any(path[:n] in files for n in range(1, len(path))):
            return None
        entry = store_tree(objects, b"", {b"f": data})
        made[path] = next(e for _, e in files_of(Nodes(objects), entry.content))
    return tree_of(objects, {p: replace_name(e, p) for p, e in made.items()}).content


def replace_name(entry: Entry, path: tuple[bytes, ...]) -> Entry:
    return entry._replace(name=path[-1])


def clashes(outputs: Mapping[str, Any]) -> bool:
    owned = [(path, one) for one, files in outputs.items() for path in files]
    return any(p[: len(q)] == q for p, one in owned for q, other in owned if one != other)


@given(st.lists(OUTPUTS, min_size=1, max_size=4))
def test_outputs_are_the_same_however_they_came_about(steps: list[dict[str, Any]]) -> None:
    objects = MemoryObjects()
    before: dict[str, ObjectId] = {}
    tree = None
    for files in steps:
        found = {one: stored(objects, paths) for one, paths in files.items()}
        now = {one: oid for one, oid in found.items() if oid is not None}
        gone = {one: oid for one, oid in before.items() if now.get(one) != oid}
        new = {one: oid for one, oid in now.items() if before.get(one) != oid}
        if clashes({one: files[one] for one in now}):
            with pytest.raises(Conflict):
                put_together(objects, objects, tree, gone, new, lambda now=now: now)
            continue
        made = put_together(objects, objects, tree, gone, new, lambda now=now: now)
        assert made == put_together(objects, objects, None, {}, now, dict)
        wanted = {path: data for one in now for path, data in files[one].items()}
        assert {path for path, _ in files_of(Nodes(objects), made.content)} == set(wanted)
        tree, before = made.content, now


def test_a_clash_names_both_datums(objects: MemoryObjects) -> None:
    trees = {name * 64: stored(objects, {(b"d", b"f"): b"1"}) for name in "ab"}
    one, two = trees.items()
    base = put_together(objects, objects, None, {}, dict([one]), dict)  # type: ignore[list-item]
    with pytest.raises(Conflict, match="the datums aaaaaaaaaaaa and bbbbbbbbbbbb both wrote 'd/f'"):
        put_together(objects, objects, base.content, {}, dict([two]), lambda: trees)  # type: ignore[list-item,arg-type,return-value]
