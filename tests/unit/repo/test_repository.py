"""Data sets, references, commits: one atomic step, never a moved tag, never a lost update."""

from __future__ import annotations

import pytest

from tests.support.stores import damage
from tests.support.trees import store_tree
from tests.support.versions import Clock, commit, commit_with_parents
from vfs.errors import AlreadyExists, Conflict, CorruptObject, InvalidName, NotADirectory, NotFound
from vfs.ids import ObjectId
from vfs.model.commit import Commit
from vfs.model.entry import Entry
from vfs.repo.repository import Repository
from vfs.repo.stats import store_stats
from vfs.store.layout import Kind


def test_data_sets(repo: Repository) -> None:
    repo.create_data_set("more")
    assert repo.data_sets() == ["data", "more"]
    with pytest.raises(AlreadyExists):
        repo.create_data_set("data")
    with pytest.raises(InvalidName):
        repo.create_data_set("da@ta")
    with pytest.raises(NotFound):
        repo.refs("missing")


def test_a_first_commit_makes_the_branch(repo: Repository) -> None:
    result = commit(repo, {b"a": b"1"}, message="first\nmore", provenance={"command": ["x"]})
    assert result.changed
    record = repo.commit(result.commit)
    assert (record.parents, record.message) == ((), "first\nmore")
    assert record.provenance == {"command": ["x"]}
    (ref,) = repo.refs("data")
    assert (ref.name, ref.kind, ref.commit) == ("main", "branch", result.commit)
    (line,) = repo.reflog("data", "main")
    assert (line.old, line.new, line.why) == (None, result.commit, "commit: first")


def test_the_same_again_is_no_new_version(repo: Repository) -> None:
    first = commit(repo, {b"a": b"1"})
    again = commit(repo, {b"a": b"1"}, tag="v1")
    assert (again.changed, again.commit) == (False, first.commit)
    assert [ref.name for ref in repo.refs("data")] == ["main", "v1"]
    assert len(repo.reflog("data", "main")) == 1
    other = commit(repo, {b"a": b"2"})
    assert other.changed
    assert repo.commit(other.commit).parents == (first.commit,)


def test_times_go_up_even_where_the_clock_goes_back(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    times = []
    for now_ns in (1000, 500, 1001, 5000):
        clock.now_ns = now_ns
        times.append(repo.commit(commit(repo, {b"t": b"%d" % now_ns}).commit).time_ns)
    assert times == [1000, 1001, 1002, 5000]
    assert [record.time_ns for _, record in repo.log("data")] == times[::-1]


def test_a_commit_is_made_again_when_the_branch_moved(repo: Repository) -> None:
    commit(repo, {b"a": b"1"})
    heads = []

    def make_root(head: Commit | None) -> Entry:
        assert head is not None
        heads.append(head)
        if len(heads) == 1:
            commit(repo, {b"a": b"2"})  # somebody else is faster
        return store_tree(ingest, b"", {b"a": b"3", b"seen": b"%d" % len(heads)})

    with repo.store.ingest() as ingest:
        result = repo.commit_root("data", "main", make_root, ingest=ingest, message="m", author="a")
    assert len(heads) == 2
    record = repo.commit(result.commit)
    assert [repo.commit(parent).root for parent in record.parents] == [heads[1].root]
    assert len(list(repo.log("data"))) == 3


def test_a_commit_gives_up_in_the_end(repo: Repository) -> None:
    commit(repo, {})
    moves = iter(range(1000))

    def make_root(head: Commit | None) -> Entry:
        commit(repo, {b"move": b"%d" % next(moves)})
        return store_tree(ingest, b"", {b"mine": b""})

    with repo.store.ingest() as ingest, pytest.raises(Conflict, match="too fast"):
        repo.commit_root("data", "main", make_root, ingest=ingest, message="m", author="a")


def test_commit_and_tag_are_one_step(repo: Repository) -> None:
    first = commit(repo, {b"a": b"1"}, tag="v1")
    refs = {ref.name: ref for ref in repo.refs("data")}
    assert refs["main"].commit == refs["v1"].commit == first.commit
    assert refs["v1"].time_ns == refs["main"].time_ns
    with pytest.raises(AlreadyExists, match="names another version"):
        commit(repo, {b"a": b"2"}, tag="v1")
    assert {ref.name: ref for ref in repo.refs("data")} == refs


def test_nothing_is_committed_to_what_is_no_branch(repo: Repository) -> None:
    commit(repo, {}, tag="v1")
    for branch, error in (("v1", AlreadyExists), ("mian", NotFound)):
        with pytest.raises(error) as caught:
            commit(repo, {b"x": b""}, branch=branch)
        assert caught.value.hint
    with pytest.raises(NotFound):
        commit(repo, {}, data_set="missing")


def test_a_first_branch_may_have_any_name(repo: Repository) -> None:
    commit(repo, {}, branch="trunk")
    assert [ref.name for ref in repo.refs("data")] == ["trunk"]
    repo.create_data_set("two")
    with pytest.raises(InvalidName):
        commit(repo, {}, data_set="two", branch="latest")


def test_tags_never_move_unless_forced(repo: Repository) -> None:
    one, two = (commit(repo, {b"a": text}).commit for text in (b"1", b"2"))
    first = repo.set_tag("data", "v1", one, why="test")
    assert repo.set_tag("data", "v1", one, why="again") == first
    with pytest.raises(AlreadyExists, match="names another version"):
        repo.set_tag("data", "v1", two, why="test")
    assert repo.set_tag("data", "v1", two, force=True, why="moved").commit == two
    assert [line.why for line in repo.reflog("data", "v1")] == ["moved", "test"]
    with pytest.raises(AlreadyExists, match="a branch"):
        repo.set_tag("data", "main", one, force=True, why="test")
    with pytest.raises(InvalidName):
        repo.set_tag("data", "latest", one, why="test")


def test_branches_are_compared_and_set(repo: Repository) -> None:
    one, two = (commit(repo, {b"a": text}).commit for text in (b"1", b"2"))
    repo.set_branch("data", "side", one, expected=None, why="made")
    with pytest.raises(AlreadyExists):
        repo.set_branch("data", "side", two, expected=None, why="made")
    with pytest.raises(Conflict):
        repo.set_branch("data", "side", one, expected=two, why="moved")
    assert repo.set_branch("data", "side", two, expected=one, why="moved").commit == two
    repo.delete_ref("data", "side", kind="branch")
    with pytest.raises(NotFound):
        repo.delete_ref("data", "side", kind="branch")
    with pytest.raises(NotFound, match="no tag 'main'"):
        repo.delete_ref("data", "main", kind="tag")
    assert [line.new for line in repo.reflog("data", "side")] == [None, two, one]


def test_the_log_orders_by_time_and_names_each_commit_once(repo: Repository) -> None:
    base = commit_with_parents(repo, {b"a": b"0"}, time_ns=10)
    left = commit_with_parents(repo, {b"a": b"1"}, base, time_ns=20)
    right = commit_with_parents(repo, {b"a": b"2"}, base, time_ns=30)
    merge = commit_with_parents(repo, {b"a": b"3"}, left, right, time_ns=40)
    for name, oid in (("old", left), ("main", merge)):
        repo.set_branch("data", name, oid, expected=None, why="test")
    assert [oid for oid, _ in repo.log("data")] == [merge, right, left, base]
    assert [oid for oid, _ in repo.log("data", limit=2)] == [merge, right]
    assert list(repo.log("data", limit=0)) == []
    assert [oid for oid, _ in repo.log("data", "main^1")] == [left, base]


def test_paths(repo: Repository) -> None:
    root = repo.commit(commit(repo, {b"a": {b"b": {b"c": b"data"}}, b"f\xff": b"x"}).commit).root
    assert repo.entry_at(root, ()) == root
    entry = repo.entry_at(root, (b"a", b"b", b"c"))
    assert b"".join(repo.read_file(entry)) == b"data"
    assert b"".join(repo.read_file(entry, 1, 2)) == b"at"
    assert [e.name for e in repo.entries(root.content)] == [b"a", b"f\xff"]
    with pytest.raises(NotADirectory, match="'a/b/c' is not a directory"):
        repo.entry_at(root, (b"a", b"b", b"c", b"d"))
    with pytest.raises(NotFound, match=r"no 'a/bb'") as caught:
        repo.entry_at(root, (b"a", b"bb"))
    assert "'b'" in caught.value.hint
    with pytest.raises(NotFound, match=r"f\\xfe"):
        repo.entry_at(root, (b"f\xfe",))


def test_a_damaged_commit_is_said(repo: Repository) -> None:
    result = commit(repo, {b"a": b"1"})
    damage(repo.store, result.commit)
    with pytest.raises(CorruptObject):
        repo.commit(result.commit)
    assert [ref.commit for ref in repo.refs("data")] == [result.commit]


def test_what_is_no_commit_is_corrupt(repo: Repository) -> None:
    with repo.store.ingest() as ingest:
        node = ingest.add_object(Kind.BLOB, b"no commit")
    with pytest.raises(CorruptObject, match="no commit"):
        repo.commit(node)
    with pytest.raises(CorruptObject, match="missing"):
        repo.commit(ObjectId(bytes(32)))


def test_stats_add_up(repo: Repository) -> None:
    text = b"line\n" * 10_000
    commit(repo, {b"a": text, b"b": text}, tag="v1")
    commit(repo, {b"a": text, b"b": b"other"})
    stats = store_stats(repo)
    (data,) = stats.data_sets
    assert (data.versions, data.branches, data.tags, data.files) == (2, 1, 1, 2)
    assert data.bytes == len(text) + 5
    assert data.logical_bytes == stats.logical_bytes == 3 * len(text) + 5
    assert stats.unique_bytes == len(text) + 5
    assert stats.saved_by_deduplication == 2 * len(text)
    assert 0 < stats.stored_bytes < 1000
    assert stats.saved_by_compression == stats.unique_bytes - stats.stored_bytes
    assert stats.file_bytes > 0
