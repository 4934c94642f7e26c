"""Merging into a branch: each kind of conflict, how it is settled, and what is kept of both."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest

from tests.support.garbage import damages
from tests.support.trees import MTIME_NS, Tree, store_tree
from tests.support.versions import commit
from vfs.errors import Conflict, InvalidInput, NotFound
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra, Link
from vfs.repo import identity
from vfs.repo.history import entry_or_none
from vfs.repo.merge import Order, Outcome, Source, cherry_pick, merge, restore, revert
from vfs.repo.merge.bases import merge_bases
from vfs.repo.merge.conflicts import Rules
from vfs.repo.merge.fields import merge_entries
from vfs.repo.renames import with_renames
from vfs.repo.repository import Repository
from vfs.repo.treediff import all_pairs

MAIN = Order(data_set="data", branch="main", author="M")
OURS, THEIRS, BOTH = Rules(ours=["*"]), Rules(theirs=["*"]), Rules(keep_both=True)


def source(repo: Repository, revision: str, data_set: str = "data") -> Source:
    found = repo.resolve(data_set, revision).commit
    return Source(commit=found, name=f"{data_set}@{revision}", label=revision)


def branches(repo: Repository, base: Tree, ours: Tree, theirs: Tree) -> None:
    """Make main and exp, which come from one version."""
    start = commit(repo, base).commit
    repo.set_branch("data", "exp", start, expected=None, why="exp")
    commit(repo, ours)
    commit(repo, theirs, branch="exp")


def held(repo: Repository, revision: str = "main") -> dict[str, bytes | None]:
    """Return what a version holds: contents of files, None for directories."""
    root = repo.commit(repo.resolve("data", revision).commit).root
    return {
        path.decode(): None if entry.is_dir else b"".join(repo.read_file(entry))
        for path, _, entry in all_pairs(repo.nodes, NO_CONTENT, root.content)
        if entry is not None
    }


def kinds(done: Outcome) -> list[tuple[str, str]]:
    return [(b"/".join(conflict.path).decode(), conflict.kind) for conflict, _ in done.conflicts]


BASE: Tree = {b"d": {b"f": b"f", b"g": b"g"}, b"h": b"h", b"x": b"x"}


def without(tree: Tree, *names: bytes, **more: object) -> Tree:
    kept = {name: value for name, value in tree.items() if name not in names}
    return kept | {name.encode(): value for name, value in more.items()}  # type: ignore[return-value]


CASES = {
    "modified/modified": (
        without(BASE, h=b"ours"),
        without(BASE, h=b"theirs"),
        {"h": b"ours"},
        {"h": b"theirs"},
        {"h~main": b"ours", "h~exp": b"theirs"},
    ),
    "added/added": (
        without(BASE, n=b"ours"),
        without(BASE, n=b"theirs"),
        {"n": b"ours"},
        {"n": b"theirs"},
        {"n~main": b"ours", "n~exp": b"theirs"},
    ),
    "deleted/modified": (
        without(BASE, b"h"),
        without(BASE, h=b"theirs"),
        {},
        {"h": b"theirs"},
        {"h~exp": b"theirs"},
    ),
    "modified/deleted": (
        without(BASE, h=b"ours"),
        without(BASE, b"h"),
        {"h": b"ours"},
        {},
        {"h~main": b"ours"},
    ),
    "directory/file": (
        without(BASE, n={b"in": b"ours"}),
        without(BASE, n=b"theirs"),
        {"n": None, "n/in": b"ours"},
        {"n": b"theirs"},
        {"n": None, "n/in": b"ours", "n~exp": b"theirs"},
    ),
    "file/directory": (
        without(BASE, n=b"ours"),
        without(BASE, n={b"in": b"theirs"}),
        {"n": b"ours"},
        {"n": None, "n/in": b"theirs"},
        {"n": None, "n/in": b"theirs", "n~main": b"ours"},
    ),
    "renamed/renamed": (
        without(BASE, b"h", a=b"h"),
        without(BASE, b"h", b=b"h"),
        {"a": b"h"},
        {"b": b"h"},
        {"a": b"h", "b": b"h"},
    ),
    "renamed/deleted": (
        without(BASE, b"h", a=b"h"),
        without(BASE, b"h"),
        {"a": b"h"},
        {},
        {"a": b"h"},
    ),
    "deleted/renamed": (
        without(BASE, b"h"),
        without(BASE, b"h", a=b"h"),
        {},
        {"a": b"h"},
        {"a": b"h"},
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_conflicts_and_the_ways_to_settle_them(repo: Repository, kind: str) -> None:
    ours, theirs, *results = CASES[kind]
    branches(repo, BASE, ours, theirs)
    head = repo.resolve("data").commit
    done = merge(repo, MAIN, source(repo, "exp"))
    assert (done.action, done.commit) == ("conflicts", None)
    assert [kind for _, kind in kinds(done)] == [kind]
    assert repo.resolve("data").commit == head
    same = {"d": None, "d/f": b"f", "d/g": b"g", "x": b"x"}
    if b"h" in ours and b"h" in theirs and kind != "modified/modified":
        same["h"] = b"h"
    for rules, result in zip((OURS, THEIRS, BOTH), results, strict=True):
        done = merge(repo, replace(MAIN, rules=rules), source(repo, "exp"))
        assert done.action == "commit"
        assert held(repo) == same | result
        assert repo.commit(repo.resolve("data").commit).parents == (
            head,
            source(repo, "exp").commit,
        )
        repo.set_branch("data", "main", head, expected=done.commit, why="back")


def test_a_directory_that_one_side_removed_keeps_what_the_other_did_in_it(repo: Repository) -> None:
    branches(
        repo, BASE, without(BASE, b"d"), without(BASE, d={b"f": b"f", b"g": b"new", b"n": b"n"})
    )
    assert kinds(merge(repo, MAIN, source(repo, "exp"))) == [("d/g", "deleted/modified")]
    merge(repo, replace(MAIN, rules=OURS), source(repo, "exp"))
    assert held(repo) == {"d": None, "d/n": b"n", "h": b"h", "x": b"x"}


def test_a_directory_of_which_only_times_changed_is_removed(repo: Repository) -> None:
    branches(repo, BASE, BASE, without(BASE, b"d"))
    commit(repo, without(BASE, d={b"f": timed(repo, b"f"), b"g": b"g"}))
    assert merge(repo, MAIN, source(repo, "exp")).action == "commit"
    assert held(repo) == {"h": b"h", "x": b"x"}


def timed(repo: Repository, content: bytes) -> Entry:
    """A file of BASE, only touched."""
    with repo.store.ingest() as ingest:
        (oid,) = ingest.add_chunks([content])
    return Entry(b"", stat.S_IFREG | 0o644, 1, 2, MTIME_NS + 5, len(content), oid, 0, b"")


def test_renamed_on_one_side_and_changed_on_the_other(repo: Repository) -> None:
    """A file alone, and one in a directory that was renamed as a whole."""
    ours = {b"e": BASE[b"d"], b"i": b"h", b"x": b"x"}
    theirs = without(BASE, d={b"f": b"changed", b"g": b"g", b"n": b"n"}, h=b"changed, too")
    branches(repo, BASE, ours, theirs)
    assert merge(repo, MAIN, source(repo, "exp")).action == "commit"
    # What is new in the directory stays where it was put.
    assert held(repo) == {
        "d": None,
        "d/n": b"n",
        "e": None,
        "e/f": b"changed",
        "e/g": b"g",
        "i": b"changed, too",
        "x": b"x",
    }


def directory(repo: Repository, tree: Tree, mode: int, **attributes: bytes) -> Entry:
    """A stored directory, with attributes."""
    with repo.store.ingest() as ingest:
        made = store_tree(ingest, b"", tree)
    xattrs = tuple((name.encode(), value) for name, value in sorted(attributes.items()))
    extra = replace(Extra.decode(made.extra), xattrs=xattrs).encode()
    return made._replace(mode=stat.S_IFDIR | mode, extra=extra)


@pytest.mark.parametrize("by_us", [True, False], ids=["by us", "by them"])
@pytest.mark.parametrize("there", [b"f", b"changed"], ids=["nothing else", "a file, too"])
def test_attributes_of_a_directory_that_the_other_side_renamed(
    repo: Repository, there: bytes, *, by_us: bool
) -> None:
    """Of the directory itself, and of one below."""
    tree = {b"f": b"f", b"s": directory(repo, {b"g": b"g"}, 0o755)}
    below = directory(repo, {b"g": b"g"}, 0o750, b=b"2")
    renamed = {b"e": directory(repo, tree, 0o700)}
    changed = {b"d": directory(repo, {b"f": there, b"s": below}, 0o755, a=b"1")}
    sides = (renamed, changed) if by_us else (changed, renamed)
    branches(repo, {b"d": directory(repo, tree, 0o755)}, *sides)
    assert merge(repo, MAIN, source(repo, "exp")).action == "commit"
    assert held(repo) == {"e": None, "e/f": there, "e/s": None, "e/s/g": b"g"}
    assert attributes_of(repo, "e") == (0o700, {b"a": b"1"})
    assert attributes_of(repo, "e/s") == (0o750, {b"b": b"2"})
    assert damages(repo.store.path) == []


def attributes_of(repo: Repository, path: str) -> tuple[int, dict[bytes, bytes]]:
    root = repo.commit(repo.resolve("data", "main").commit).root
    entry = entry_or_none(repo.nodes, root, tuple(path.encode().split(b"/")))
    assert entry is not None
    return stat.S_IMODE(entry.mode), dict(Extra.decode(entry.extra).xattrs)


@pytest.mark.parametrize(
    ("rules", "mode"), [(OURS, 0o700), (THEIRS, 0o750)], ids=["ours", "theirs"]
)
def test_attributes_of_a_directory_that_was_renamed_may_conflict(
    repo: Repository, rules: Rules, mode: int
) -> None:
    tree = {b"f": b"f"}
    branches(
        repo,
        {b"d": directory(repo, tree, 0o755)},
        {b"e": directory(repo, tree, 0o700)},
        {b"d": directory(repo, tree, 0o750)},
    )
    done = merge(repo, MAIN, source(repo, "exp"))
    assert kinds(done) == [("e", "modified/modified")]
    assert merge(repo, replace(MAIN, rules=rules), source(repo, "exp")).action == "commit"
    assert held(repo) == {"e": None, "e/f": b"f"}
    assert attributes_of(repo, "e") == (mode, {})


def test_rules_go_by_path_and_the_longer_pattern_holds(repo: Repository) -> None:
    ours = {b"d": {b"f": b"1", b"g": b"1"}, b"h": b"1", b"x": b"x"}
    theirs = {b"d": {b"f": b"2", b"g": b"2"}, b"h": b"2", b"x": b"x"}
    branches(repo, BASE, ours, theirs)
    some = merge(repo, replace(MAIN, rules=Rules(ours=["d"])), source(repo, "exp"))
    assert [how for _, how in some.conflicts] == ["ours", "ours", None]
    assert some.action == "conflicts"
    rules = Rules(ours=["*", "d/g"], theirs=["d/"])
    merge(repo, replace(MAIN, rules=rules), source(repo, "exp"))
    assert held(repo) == {"d": None, "d/f": b"2", "d/g": b"1", "h": b"1", "x": b"x"}


def test_names_beside_are_free_and_fit(repo: Repository) -> None:
    name = b"n" * 255
    taken = {b"h~exp": b"there", b"h": b"h", name: b"0"}
    branches(repo, taken, taken | {b"h": b"1", name: b"1"}, taken | {b"h": b"2", name: b"2"})
    merge(repo, replace(MAIN, rules=BOTH), source(repo, "exp"))
    assert held(repo) == {
        "h~exp": b"there",
        "h~exp~2": b"2",
        "h~main": b"1",
        "n" * 251 + "~exp": b"2",
        "n" * 250 + "~main": b"1",
    }


def test_both_sides_may_be_called_the_same(repo: Repository) -> None:
    repo.create_data_set("raw")
    commit(repo, {b"h": b"ours"})
    commit(repo, {b"h": b"theirs"}, data_set="raw")
    order = replace(MAIN, rules=BOTH)
    merge(repo, order, source(repo, "main", "raw"), allow_unrelated=True)
    assert held(repo) == {"h~main": b"ours", "h~main~2": b"theirs"}


def test_fast_forward_and_when_there_is_nothing_to_do(repo: Repository) -> None:
    first = commit(repo, BASE).commit
    repo.set_branch("data", "exp", first, expected=None, why="exp")
    second = commit(repo, without(BASE, b"h"), branch="exp").commit
    trial = merge(repo, replace(MAIN, dry_run=True), source(repo, "exp"))
    assert (trial.action, trial.commit) == ("fast-forward", None)
    assert repo.resolve("data").commit == first
    apart = merge(repo, MAIN, source(repo, "exp"), fast_forward="never")
    assert apart.commit is not None
    record = repo.commit(apart.commit)
    assert (record.parents, record.message) == ((first, second), "Merge data@exp into main")
    assert record.provenance["merged"] == second.hex()
    assert merge(repo, MAIN, source(repo, "exp")).action == "nothing"
    assert merge(repo, MAIN, source(repo, "main~1")).action == "nothing"
    moved = merge(repo, replace(MAIN, branch="exp"), source(repo, "main"), fast_forward="only")
    assert (moved.action, moved.commit) == ("fast-forward", apart.commit)
    commit(repo, BASE)
    commit(repo, without(BASE, b"x"), branch="exp")
    with pytest.raises(InvalidInput, match="not made from"):
        merge(repo, MAIN, source(repo, "exp"), fast_forward="only")


def test_unrelated_versions_and_data_sets_without_any(repo: Repository) -> None:
    repo.create_data_set("raw")
    repo.create_data_set("void")
    commit(repo, {b"h": b"h", b"ours": b"1"})
    commit(repo, {b"h": b"h", b"theirs": b"2"}, data_set="raw")
    with pytest.raises(InvalidInput, match="no version in common"):
        merge(repo, MAIN, source(repo, "main", "raw"))
    merge(repo, MAIN, source(repo, "main", "raw"), allow_unrelated=True)
    assert held(repo) == {"h": b"h", "ours": b"1", "theirs": b"2"}
    begun = merge(repo, replace(MAIN, data_set="void"), source(repo, "main", "raw"))
    assert begun.action == "fast-forward"
    with pytest.raises(NotFound, match="no branch 'nothing'"):
        merge(repo, replace(MAIN, branch="nothing"), source(repo, "main", "raw"))


def test_both_sides_did_the_same(repo: Repository) -> None:
    changed = {b"d": {b"f": b"f"}, b"n": {b"deep": b"n"}, b"x": b"y"}
    branches(repo, BASE, changed, changed | {b"more": b"m"})
    assert merge(repo, MAIN, source(repo, "exp")).conflicts == []
    assert held(repo) == {
        "d": None,
        "d/f": b"f",
        "n": None,
        "n/deep": b"n",
        "x": b"y",
        "more": b"m",
    }


# attributes

FILE = Entry(b"f", stat.S_IFREG | 0o644, 1, 2, 100, 0, NO_CONTENT, 0, b"")


def attributes(**xattrs: bytes) -> bytes:
    return Extra(xattrs=tuple(sorted((k.encode(), v) for k, v in xattrs.items()))).encode()


def test_fields_merge_by_themselves() -> None:
    ours = FILE._replace(mode=stat.S_IFREG | 0o600, extra=attributes(a=b"1", b=b"2"))
    other = ObjectId(b"x" * 32)
    theirs = FILE._replace(uid=7, size=5, content=other, mtime_ns=200, extra=attributes(c=b"3"))
    merged = merge_entries(FILE, ours, theirs)
    assert merged.clashes == ()
    assert merged.entry == Entry(
        b"f", stat.S_IFREG | 0o600, 7, 2, 200, 5, other, 0, attributes(a=b"1", b=b"2", c=b"3")
    )
    assert merge_entries(FILE, theirs, ours).entry == merged.entry


def test_fields_that_clash_are_named_and_only_they_are_chosen() -> None:
    ours = FILE._replace(mode=stat.S_IFREG | 0o600, extra=attributes(a=b"1"), mtime_ns=300)
    theirs = FILE._replace(mode=stat.S_IFREG | 0o640, uid=7, extra=attributes(a=b"2"), mtime_ns=200)
    for favor, mode, value in (("ours", 0o600, b"1"), ("theirs", 0o640, b"2")):
        merged = merge_entries(FILE, ours, theirs, favor=favor)  # type: ignore[arg-type]
        assert merged.clashes == ("mode", "xattrs")
        assert merged.entry.mode == stat.S_IFREG | mode
        assert (merged.entry.uid, merged.entry.mtime_ns) == (7, 300)  # times never clash
        assert merged.entry.extra == attributes(a=value)


def test_an_acl_goes_with_the_mode() -> None:
    acl = Extra(xattrs=((b"system.posix_acl_access", b"acl"),)).encode()
    ours = FILE._replace(mode=stat.S_IFREG | 0o664, extra=acl)
    theirs = FILE._replace(mode=stat.S_IFREG | 0o600)
    assert merge_entries(FILE, ours, theirs).clashes == ("mode",)
    assert merge_entries(FILE, ours, theirs, favor="theirs").entry == theirs
    assert merge_entries(FILE, FILE, ours).entry == ours


# hard links


def linked(repo: Repository, content: bytes, count: int) -> Entry:
    entry = timed(repo, content)
    return entry._replace(extra=Extra(link=Link(b"together", count)).encode())


def links(repo: Repository) -> dict[str, int]:
    root = repo.commit(repo.resolve("data").commit).root
    found = {}
    for path, _, entry in all_pairs(repo.nodes, NO_CONTENT, root.content):
        if entry is not None and not entry.is_dir:
            link = Extra.decode(entry.extra).link
            found[path.decode()] = 1 if link is None else link.nlink
    return found


def test_a_set_of_links_that_both_changed_stays_one_file(repo: Repository) -> None:
    base = {name: linked(repo, b"old", 2) for name in (b"a", b"b")}
    ours = {name: linked(repo, b"old", 3) for name in (b"a", b"b", b"c")}
    theirs = {name: linked(repo, b"new", 2) for name in (b"a", b"b")}
    branches(repo, base, ours, theirs)
    assert merge(repo, MAIN, source(repo, "exp")).conflicts == []
    assert held(repo) == {"a": b"new", "b": b"new", "c": b"new"}
    assert links(repo) == {"a": 3, "b": 3, "c": 3}


def test_names_that_came_and_went_on_both_sides_are_counted(repo: Repository) -> None:
    base = {name: linked(repo, b"old", 2) for name in (b"a", b"b")}
    ours = {b"a": timed(repo, b"old")}
    theirs = {name: linked(repo, b"old", 3) for name in (b"a", b"b", b"c")}
    branches(repo, base, ours, theirs)
    assert merge(repo, MAIN, source(repo, "exp")).conflicts == []
    assert links(repo) == {"a": 2, "c": 2}


def test_a_name_that_is_restored_alone_is_a_file_of_its_own(repo: Repository) -> None:
    commit(repo, {name: linked(repo, b"old", 2) for name in (b"a", b"b")})
    commit(repo, {b"x": b"x"})
    restore(repo, MAIN, source(repo, "main~1"), {(b"a",): (b"a",)})
    assert links(repo) == {"a": 1, "x": 1}
    both = {(name,): (b"deep", name) for name in (b"a", b"b")}
    restore(repo, MAIN, source(repo, "main~2"), both)
    assert links(repo) == {"a": 1, "x": 1, "deep/a": 2, "deep/b": 2}


# the graph


def graph(edges: Mapping[str, str]) -> tuple[dict[ObjectId, object], dict[str, ObjectId]]:
    """Commits by one letter, in the order of their times, and their parents."""
    oids = {name: ObjectId(name.encode() * 32) for name in edges}

    class Record:
        def __init__(self, time_ns: int, parents: str) -> None:
            self.time_ns = time_ns
            self.parents = tuple(oids[parent] for parent in parents)

    return {oids[name]: Record(at, edges[name]) for at, name in enumerate(edges)}, oids


@pytest.mark.parametrize(
    ("edges", "ours", "theirs", "expected"),
    [
        ({"a": "", "b": "a", "c": "a"}, "b", "c", "a"),
        ({"a": "", "b": "a", "c": "b"}, "b", "c", "b"),
        ({"a": "", "b": "a"}, "b", "b", "b"),
        ({"a": "", "b": ""}, "a", "b", ""),
        ({"a": "", "b": "a", "c": "a", "d": "bc", "e": "cb"}, "d", "e", "cb"),
        ({"a": "", "b": "a", "c": "a", "d": "bc", "e": "c"}, "d", "e", "c"),
        # f comes to a by a short way as well, which is no better than b.
        ({"a": "", "b": "a", "c": "b", "d": "a", "f": "db", "g": "c"}, "g", "f", "b"),
    ],
)
def test_merge_bases(edges: dict[str, str], ours: str, theirs: str, expected: str) -> None:
    commits, oids = graph(edges)
    for one, two in ((ours, theirs), (theirs, ours)):
        found = merge_bases(commits.__getitem__, (oids[one],), oids[two])  # type: ignore[arg-type]
        assert found == [oids[name] for name in expected]


def test_lines_that_merged_each_other_merge_with_what_both_had(repo: Repository) -> None:
    """Of two bases neither will do: with either alone, what the other side did would conflict."""
    branches(repo, BASE, without(BASE, h=b"1"), without(BASE, x=b"2"))
    old = source(repo, "main")
    merge(repo, MAIN, source(repo, "exp"))
    merge(repo, replace(MAIN, branch="exp"), old)
    assert repo.resolve("data").commit != repo.resolve("data", "exp").commit
    commit(repo, without(BASE, h=b"3", x=b"2"))
    commit(repo, without(BASE, h=b"1", x=b"4"), branch="exp")
    assert merge(repo, MAIN, source(repo, "exp")).conflicts == []
    assert held(repo) == {"d": None, "d/f": b"f", "d/g": b"g", "h": b"3", "x": b"4"}


# cherry-pick, revert, restore


def test_cherry_pick_keeps_message_and_author(repo: Repository) -> None:
    branches(repo, BASE, without(BASE, x=b"ours"), without(BASE, h=b"1"))
    commit(repo, without(BASE, h=b"1", n=b"n"), branch="exp", message="second")
    head = repo.resolve("data").commit
    picked = [source(repo, "exp~1"), source(repo, "exp")]
    done = cherry_pick(repo, replace(MAIN, author=None), picked)
    last, first = (repo.commit(repo.resolve("data", name).commit) for name in ("main", "main~1"))
    assert (first.parents, first.message) == ((head,), "a version")
    assert (last.message, last.author) == ("second", "A <a@example.com>")
    assert last.provenance["picked"] == picked[1].commit.hex()
    assert held(repo) == {"d": None, "d/f": b"f", "d/g": b"g", "h": b"1", "n": b"n", "x": b"ours"}
    assert [line.new for line in repo.reflog("data", "main")][:2] == [done.commit, last.parents[0]]
    assert cherry_pick(repo, MAIN, picked).action == "nothing"


def test_of_several_picks_none_is_made_if_one_conflicts(repo: Repository) -> None:
    branches(repo, BASE, without(BASE, n=b"ours"), without(BASE, h=b"1"))
    commit(repo, without(BASE, h=b"1", n=b"theirs"), branch="exp")
    head = repo.resolve("data").commit
    done = cherry_pick(repo, MAIN, [source(repo, "exp~1"), source(repo, "exp")])
    assert kinds(done) == [("n", "added/added")]
    assert repo.resolve("data").commit == head


def test_revert_undoes_one_version_and_keeps_later_ones(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "author", lambda: "me")
    first = commit(repo, BASE, message="first\n\nmore").commit
    commit(repo, without(BASE, h=b"1", n=b"n"), message="wrong")
    commit(repo, without(BASE, h=b"1", n=b"n", x=b"later"))
    wrong = source(repo, "main~1")
    revert(repo, replace(MAIN, author=None), [wrong])
    record = repo.commit(repo.resolve("data").commit)
    expected = f'Revert "wrong"\n\nThis reverts commit {wrong.commit.hex()}.'
    assert (record.message, record.author) == (expected, "me")
    assert record.provenance["reverted"] == wrong.commit.hex()
    assert held(repo) == {"d": None, "d/f": b"f", "d/g": b"g", "h": b"h", "x": b"later"}
    commit(repo, without(BASE, h=b"2"))
    assert kinds(revert(repo, MAIN, [wrong])) == [("h", "modified/modified")]
    revert(repo, replace(MAIN, rules=THEIRS), [Source(commit=first, name="first", label="first")])
    assert held(repo) == {}


def test_restore_takes_paths_from_any_version(repo: Repository) -> None:
    commit(repo, BASE)
    commit(repo, {b"h": b"new", b"keep": b"k"})
    old = source(repo, "main~1")
    done = restore(repo, MAIN, old, {(b"d", b"f"): (b"d", b"f"), (b"h",): (b"h",)})
    assert done.action == "commit"
    assert held(repo) == {"d": None, "d/f": b"f", "h": b"h", "keep": b"k"}
    assert repo.commit(repo.resolve("data").commit).message == "Restore d/f, h from data@main~1"
    assert restore(repo, MAIN, old, {(b"h",): (b"h",)}).action == "nothing"
    restore(repo, MAIN, old, {(): ()})
    assert repo.commit(repo.resolve("data").commit).root == repo.commit(old.commit).root
    with pytest.raises(NotFound, match="no 'nothing'"):
        restore(repo, MAIN, old, {(b"nothing",): (b"nothing",)})
    with pytest.raises(InvalidInput, match="no directory"):
        restore(repo, MAIN, old, {(b"h",): ()})


def test_nothing_goes_over_changes_that_are_not_committed(repo: Repository) -> None:
    branches(repo, BASE, without(BASE, x=b"1"), without(BASE, h=b"1"))
    overlay = repo.store.overlays.open("data", "main")
    repo.store.overlays.claim("data", "main", overlay.id)
    for call in (
        lambda: merge(repo, MAIN, source(repo, "exp")),
        lambda: revert(repo, MAIN, [source(repo, "main")]),
        lambda: restore(repo, MAIN, source(repo, "exp"), {(): ()}),
    ):
        with pytest.raises(Conflict, match="not committed") as caught:
            call()
        assert "vfs discard" in caught.value.hint


def test_a_branch_that_moves_meanwhile_is_merged_as_it_is_then(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches(repo, BASE, without(BASE, x=b"1"), without(BASE, h=b"1"))
    from vfs.repo.merge import api

    real = api.land

    def land(*args: object, **options: object) -> object:
        monkeypatch.setattr(api, "land", real)
        commit(repo, without(BASE, x=b"1", more=b"m"))
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "land", land)
    assert merge(repo, MAIN, source(repo, "exp")).action == "commit"
    assert held(repo) == {"d": None, "d/f": b"f", "d/g": b"g", "h": b"1", "more": b"m", "x": b"1"}


def test_a_conflict_or_a_dry_run_stores_nothing(repo: Repository) -> None:
    branches(repo, BASE, without(BASE, h=b"1", n=b"n"), without(BASE, h=b"2", m=b"m"))
    before = repo.store.count_objects()
    merge(repo, MAIN, source(repo, "exp"))
    trial = merge(repo, replace(MAIN, rules=OURS, dry_run=True), source(repo, "exp"))
    assert (trial.action, trial.commit, trial.changes["added"].files) == ("commit", None, 1)
    assert repo.store.count_objects() == before


def test_many_names_that_nobody_changed_are_not_read(repo: Repository) -> None:
    many = {b"%03d" % n: {b"%03d" % m: b"x" for m in range(300)} for n in range(100)}
    branches(repo, many, many | {b"001": {b"ours": b"1"}}, many | {b"002": {b"theirs": b"2"}})
    reads = []
    real = repo.reader.get

    def get(oid: ObjectId) -> bytes:
        reads.append(oid)
        return real(oid)

    repo.reader.get = get  # type: ignore[method-assign]
    merge(repo, MAIN, source(repo, "exp"))
    assert len(set(reads)) < 40  # of more than 500 nodes


def test_too_many_changes_to_look_for_renames_among(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches(repo, BASE, without(BASE, b"h", moved=b"h"), without(BASE, h=b"theirs"))
    monkeypatch.setattr("vfs.repo.merge.moves.RENAMES_AMONG", 1)
    monkeypatch.setattr("vfs.repo.merge.moves.with_renames", partial(with_renames, limit=1))
    said: list[str] = []
    order = replace(MAIN, too_many=lambda: said.append("too many"))
    assert kinds(merge(repo, order, source(repo, "exp"))) == [("h", "deleted/modified")]
    assert said == ["too many"]
