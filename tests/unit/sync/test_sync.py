"""Push, fetch and pull: what moves, what is refused, and what it costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.remotes import (
    Tree,
    WatchedBucket,
    assert_whole,
    commit,
    connect,
    patient,
    read_tree,
)
from vfs.errors import NotFastForward, NotFound, RemoteProblem, RemoteUnavailable
from vfs.ids import object_id
from vfs.remote.files import FileBucket
from vfs.repo.fsck import check_store
from vfs.repo.repair import repair_store
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted, fetch
from vfs.sync.pull import PullResult, pull
from vfs.sync.push import PushResult, delete_remote_ref, push
from vfs.sync.remotes import repair_source

FIRST: Tree = {"a": b"A" * 5000, "d": {"x": b"x", "big": b"0123456789" * 3000}, "empty": b""}
DATA = [Wanted("data")]


def push_all(repo: Repository, place: Path, *, force: bool = False) -> PushResult:
    with connect(place) as remote:
        return push(repo, remote, "origin", repo.all_refs(), force=force)


def pull_data(repo: Repository, place: Path, *, force: bool = False) -> PullResult:
    with connect(place, make=False) as remote:
        return pull(repo, remote, "origin", DATA, force=force)


def head(repo: Repository) -> bytes:
    ref = repo.store.refs.get("data", "main")
    assert ref is not None
    return ref.commit


def test_a_history_arrives_as_it_is(here: Repository, there: Repository, place: Path) -> None:
    commit(here, FIRST)
    holes = b"1" * 1000 + bytes(5000) + b"2"
    last = commit(here, {**FIRST, "b": {f"{n}": b"%d" % n for n in range(500)}, "holes": holes})
    here.set_tag("data", "v1", last, why="test")
    pushed = push_all(here, place)
    assert [one.how for one in pushed.moved] == ["new", "new"]
    assert_whole(place)
    result = pull_data(there, place)
    assert result.fetched.commits == 2
    assert result.problems == []
    for name in ("main", "v1", "main~1"):
        mine, other = here.resolve("data", name), there.resolve("data", name)
        assert mine.commit == other.commit
        root = here.commit(mine.commit).root
        assert read_tree(there, there.commit(other.commit).root) == read_tree(here, root)
    there.close()
    assert check_store(there.store.path, data=True).damages == []


def test_nothing_travels_twice(here: Repository, there: Repository, place: Path) -> None:
    commit(here, FIRST)
    push_all(here, place)
    pull_data(there, place)
    assert push_all(here, place).objects == 0
    assert pull_data(there, place).fetched.objects == 0
    commit(here, {**FIRST, "new": b"few bytes"})
    assert push_all(here, place).objects == 3  # the file, the directory, the commit
    assert pull_data(there, place).fetched.objects == 3


def test_a_small_push_and_pull_take_few_requests(
    here: Repository, there: Repository, place: Path
) -> None:
    wide = {f"{n:05}": b"%d" % n for n in range(5000)}
    commit(here, wide)
    push_all(here, place)
    pull_data(there, place)
    commit(here, wide | {f"{n:05}": b"changed %d" % n for n in range(0, 5000, 500)})
    bucket = WatchedBucket(FileBucket(place))
    with connect(place, bucket=bucket) as remote:
        push(here, remote, "origin", here.all_refs())
    # The header, one list of each sort, the first push's index; a pack, its index, the reference.
    assert bucket.calls == {"get": 2, "items": 3, "put": 3}
    bucket = WatchedBucket(FileBucket(place))
    with connect(place, bucket=bucket) as remote:
        pull(there, remote, "origin", DATA)
    # One round for each level of the trees, as a segment holds all neighbours.
    assert bucket.calls.total() <= 12


def test_of_two_who_push_one_wins_and_the_other_pulls(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, FIRST)
    push_all(here, place)
    pull_data(there, place)
    commit(here, {"a": b"here"})
    commit(there, {"a": b"there"})
    push_all(here, place)
    with pytest.raises(NotFastForward) as refused:
        push_all(there, place)
    assert "vfs pull data@main" in refused.value.hint
    result = pull_data(there, place)
    assert isinstance(result.problems[0], NotFastForward)
    merging = f"vfs merge data@{head(here).hex()[:12]} into data@main"
    assert merging in result.problems[0].hint
    assert there.resolve("data", head(here).hex()[:12]).commit == head(here)
    forced = push_all(there, place, force=True)
    assert [one.how for one in forced.moved] == ["forced"]
    result = pull_data(here, place, force=True)
    assert [one.how for one in result.moved] == ["forced"]
    assert head(here) == head(there)
    with connect(place) as remote:
        log = list(remote.refs.log("data", "main"))
    assert [record.force for record in log] == [True, False, False]
    assert_whole(place)


def test_who_is_overtaken_between_look_and_write_is_told(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, FIRST)
    push_all(here, place)
    pull_data(there, place)
    commit(here, {"a": b"here"})
    commit(there, {"a": b"there"})

    def overtake(call: str, name: str) -> None:
        if call == "put" and name.startswith("refs/"):
            bucket.before = lambda *_: None
            push_all(there, place)

    bucket = WatchedBucket(FileBucket(place), before=overtake)
    with connect(place, bucket=bucket) as remote, pytest.raises(NotFastForward):
        push(here, remote, "origin", here.all_refs())
    assert_whole(place)


def test_an_answer_that_is_lost_is_no_defeat(here: Repository, place: Path) -> None:
    commit(here, FIRST)

    def lose(call: str, name: str) -> None:
        if call == "put":
            bucket.after = lambda *_: None
            raise RemoteUnavailable("cut")

    for prefix in ("vfs.json", "refs/"):
        bucket = WatchedBucket(FileBucket(place), after=lose)
        with connect(place, bucket=patient(bucket)) as remote:
            if prefix == "refs/":
                bucket.after = lambda call, name: lose(call, name) if "refs/" in name else None
                push(here, remote, "origin", here.all_refs())
    assert assert_whole(place) == {head(here)}


def test_a_branch_that_is_ahead_stays_and_one_with_changes_does(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, FIRST)
    push_all(here, place)
    pull_data(there, place)
    mine = commit(there, {"a": b"there"})
    result = pull_data(there, place)
    assert [one.how for one in result.moved] == ["same"]
    assert head(there) == mine


def test_tags_do_not_move_unless_forced(here: Repository, there: Repository, place: Path) -> None:
    first = commit(here, FIRST)
    here.set_tag("data", "v1", first, why="test")
    push_all(here, place)
    pull_data(there, place)
    second = commit(here, {"a": b"2"})
    here.set_tag("data", "v1", second, force=True, why="test")
    with pytest.raises(NotFastForward, match="tag"):
        push_all(here, place)
    with connect(place) as remote:
        main = remote.refs.head("data", "main")
    assert main is not None
    assert main.commit == first  # nothing moved, as not all could
    push_all(here, place, force=True)
    result = pull_data(there, place)
    assert [one.how for one in result.moved] == ["forward"]
    assert "the tag 'data@v1'" in str(result.problems[0])
    assert pull_data(there, place, force=True).problems == []
    assert there.resolve("data", "v1").commit == second


def test_what_is_deleted_there_stays_here(here: Repository, there: Repository, place: Path) -> None:
    first = commit(here, FIRST)
    here.set_branch("data", "trial", first, expected=None, why="test")
    push_all(here, place)
    pull_data(there, place)
    with connect(place) as remote:
        delete_remote_ref(here, remote, "origin", "data", "trial")
        with pytest.raises(RemoteProblem):
            delete_remote_ref(here, remote, "origin", "data", "trial")
    assert [one.name for one in pull_data(there, place).moved] == ["main"]
    assert there.resolve("data", "trial").commit == first
    with connect(place) as remote, pytest.raises(NotFound):
        fetch(there, remote, "origin", [Wanted("data", "trial")])
    assert [one.how for one in push_all(here, place).moved] == ["same", "new"]


def test_what_is_not_there_is_told(here: Repository, place: Path) -> None:
    with pytest.raises(RemoteProblem, match="no vfs remote"):
        pull_data(here, place)
    commit(here, FIRST)
    push_all(here, place)
    with connect(place) as remote:
        for wanted in (Wanted("nothing"), Wanted("data", "nothing")):
            with pytest.raises(NotFound):
                fetch(here, remote, "origin", [wanted])


def test_what_was_fetched_is_kept_as_a_root(
    here: Repository, there: Repository, place: Path
) -> None:
    oid = commit(here, FIRST)
    push_all(here, place)
    with connect(place) as remote:
        fetch(there, remote, "origin", DATA)
    assert there.refs("data") == []
    assert list(there.store.tracking.roots()) == [oid]
    assert there.resolve("data", oid.hex()).commit == oid
    there.store.tracking.forget("origin")
    assert list(there.store.tracking.roots()) == []


def test_a_store_is_repaired_from_a_remote(here: Repository, place: Path) -> None:
    commit(here, FIRST)
    push_all(here, place)
    path = here.store.path
    lost = object_id(b"x"), here.commit(head(here)).root.content
    for oid in lost:
        here.store.change(lambda txn, oid=oid: txn.delete(oid, db=here.store.table("objects")))
    here.close()
    with repair_source(path, f"file://{place}") as source:
        assert source.get(object_id(b"never stored")) is None
        repair = repair_store(path, [], [source])
    assert repair.report.is_clean
    for oid in lost:
        assert any(oid.hex() in line and f"file://{place}" in line for line in repair.done)
    with Repository.open(path) as again:
        assert read_tree(again, again.commit(head(again)).root) == FIRST


@pytest.mark.parametrize("how", ["rolled back", "branched off", "vanished"])
def test_a_remote_that_was_set_back_is_refused(
    here: Repository, there: Repository, place: Path, how: str
) -> None:
    commit(here, FIRST)
    push_all(here, place)
    pull_data(there, place)
    commit(here, {**FIRST, "b": b"b"})
    push_all(here, place)
    pull_data(there, place)
    seen = head(there)
    (records,) = place.glob("refs/*/main")
    last = max(records.iterdir())
    if how == "vanished":
        shutil.rmtree(records)
    else:
        last.unlink()
    if how == "branched off":  # by somebody who did not see the record that is gone
        with Repository.create(place.parent / "other") as other:
            pull_data(other, place)
            for text in (b"1", b"2"):
                commit(other, {**FIRST, "c": text})
                push_all(other, place)
    for repo in (here, there):
        with pytest.raises(RemoteProblem, match="not what it was"):
            pull_data(repo, place)
    with pytest.raises(RemoteProblem, match="not what it was"):
        push_all(here, place)
    assert head(there) == seen
    there.store.tracking.forget("origin")
    if how == "rolled back":
        assert pull_data(there, place).problems == []
