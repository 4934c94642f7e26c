"""Branches of a remote's cache: what is made here stays until it was pushed; the rest follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from tests.support.caches import (
    PATIENT,
    commit_files,
    evict_all,
    make_origin,
    new_cache,
    push_all,
    read_main,
    write,
)
from tests.support.remotes import WatchedBucket, connect
from vfs.errors import NotFastForward, RemoteProblem
from vfs.ids import ObjectId
from vfs.remote.files import FileBucket
from vfs.repo.blobs import FileReader
from vfs.repo.branches import commit_overlay, delete_branch
from vfs.repo.fsck import check_store
from vfs.repo.merge import Order, merge
from vfs.repo.merge import Source as Version
from vfs.repo.repository import Repository
from vfs.store import evicting
from vfs.store.clock import Clock
from vfs.store.store import Store
from vfs.store.unpushed import Unpushed
from vfs.sync import confirming, releasing
from vfs.sync.cache import open_cache, refresh_cache
from vfs.sync.fetch import Wanted, fetch
from vfs.sync.ondemand import Patience
from vfs.sync.pull import PullResult, pull
from vfs.sync.push import delete_remote_ref, push
from vfs.sync.releasing import release
from vfs.sync.remotes import RemotePlace, connected, find_remote

OLD = {"large": os.urandom(4 << 20), "small": b"small" * 100, "dir": {"deep": b"deep"}}
OFFLINE = Patience(offline=True)


@pytest.fixture
def place(tmp_path: Path) -> RemotePlace:
    """A remote with the version data@main, which the store `origin` has pushed."""
    place = RemotePlace("", f"file://{tmp_path}/remote")
    make_origin(tmp_path / "origin", place, OLD)
    return place


@pytest.fixture
def cache(tmp_path: Path, place: RemotePlace) -> Path:
    return new_cache(tmp_path / "cache", place)


def _pull(repo: Repository) -> PullResult:
    place = find_remote(repo.store, None)
    with connected(repo.store, place) as remote:
        return pull(repo, remote, place.name, [Wanted("data")])


def _head(repo: Repository, branch: str = "main") -> ObjectId:
    return repo.resolve("data", branch).commit


def test_what_is_new_is_pushed_and_nothing_is_fetched_for_it(cache: Path, tmp_path: Path) -> None:
    bucket = WatchedBucket(FileBucket(tmp_path / "remote"))
    with open_cache(cache, PATIENT, lambda _: bucket) as repo:
        commit_files(repo, {"new": b"new" * 1000})
        assert repo.store.unpushed.count()
        before = bucket.calls.copy()
        assert 0 < push_all(repo).objects <= 10
        assert bucket.calls == before
        assert not repo.store.unpushed.count()
        assert push_all(repo).objects == 0
    with Repository.open(tmp_path / "origin") as repo:
        assert [moved.how for moved in _pull(repo).moved] == ["forward"]
        assert read_main(repo) == OLD | {"new": b"new" * 1000}


def test_only_what_a_push_has_confirmed_is_evicted(cache: Path) -> None:
    first, second = os.urandom(3 << 20), os.urandom(2 << 20)
    with open_cache(cache, OFFLINE) as repo:
        commit_files(repo, {"first": first})
        write(repo, {"second": second})
        evict_all(repo)
        tree = repo.commit(_head(repo)).root
        assert b"".join(repo.read_file(repo.entry_at(tree, (b"first",)))) == first
    with open_cache(cache, PATIENT) as repo:
        push_all(repo)
        evict_all(repo)
        chunk = _chunks(repo, _head(repo), b"first")[0]
        assert repo.store.object_size(chunk) is None
    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"third": b"3"})
        assert read_main(repo) == OLD | {"first": first, "second": second, "third": b"3"}


def _chunks(repo: Repository, version: ObjectId, name: bytes) -> list[ObjectId]:
    entry = repo.entry_at(repo.commit(version).root, (name,))
    return [span.content for span in FileReader(repo.reader).spans(entry)]


def test_what_was_fetched_and_is_made_here_again_stays(cache: Path) -> None:
    """The remote may let go of it, as of a version that it prunes."""
    with open_cache(cache, PATIENT) as repo:
        assert read_main(repo) == OLD
        write(repo, {"again": OLD["small"]})  # type: ignore[dict-item]
        evict_all(repo)
    with open_cache(cache, OFFLINE) as repo:
        tree = repo.commit(_head(repo)).root
        assert b"".join(repo.read_file(repo.entry_at(tree, (b"small",)))) == OLD["small"]


@pytest.mark.parametrize("moment", ["_remove_rows", "_remove_blocks"])
def test_what_is_made_while_it_is_evicted_stays(
    cache: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    real = getattr(evicting, moment)
    data = OLD["small"]
    assert isinstance(data, bytes)
    with open_cache(cache, PATIENT) as repo:
        assert read_main(repo) == OLD
        with repo.store.ingest(fetched=True) as ingest:
            ingest.add_chunks([os.urandom(1000)] * 200)  # the last run of blocks always stays
            ids = [ingest.add_chunks([os.urandom(200_000)])[0] for _ in range(20)]

        def remove(*args: object) -> object:
            with repo.store.ingest() as late:
                ids.append(late.add_chunks([data])[0])
            return real(*args)

        monkeypatch.setattr(evicting, moment, remove)
        repo.store.evict(Clock(cache), 1 << 40)
        monkeypatch.undo()
        evict_all(repo)
        assert repo.store.object_size(ids[0]) is None
    with open_cache(cache, OFFLINE) as repo:
        assert repo.reader.get(ids[-1]) == data


class _Killed(Exception):
    pass


@pytest.mark.parametrize("left", range(8))
def test_a_push_that_is_killed_as_it_confirms_leaves_too_many_marks_at_worst(
    cache: Path, monkeypatch: pytest.MonkeyPatch, left: int, tmp_path: Path
) -> None:
    real, forgotten = Unpushed.change, list[ObjectId]()

    def change(self: Unpushed, ids: Collection[ObjectId], old: None, new: None) -> int:
        if len(forgotten) >= left:
            raise _Killed
        forgotten.extend(ids)
        return real(self, ids, old, new)

    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"one": os.urandom(300_000)})
        commit_files(repo, {"two": b"two"})
        with monkeypatch.context() as patch:
            patch.setattr(confirming, "MARKS_AT_ONCE", 1)
            patch.setattr(Unpushed, "change", change)
            with pytest.raises(_Killed):
                push_all(repo)
        marked = repo.store.unpushed.count()
        assert marked
        with connect(tmp_path / "remote") as remote:
            remote.refresh()
            for oid in forgotten:
                kinds = [remote.catalog.find(oid, is_node=is_node) for is_node in (True, False)]
                assert any(kinds)
        assert push_all(repo).objects == 0
        assert not repo.store.unpushed.count()


def test_a_push_elsewhere_confirms_nothing(cache: Path, tmp_path: Path) -> None:
    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"new": b"new"})
        marked = repo.store.unpushed.count()
        elsewhere = RemotePlace("", f"file://{tmp_path}/elsewhere")
        with connected(repo.store, elsewhere, write=True) as remote:
            push(repo, remote, "", repo.all_refs())
        assert repo.store.unpushed.count() == marked
        with (
            connected(repo.store, elsewhere) as remote,
            pytest.raises(RemoteProblem, match="its own remote"),
        ):
            fetch(repo, remote, "", [Wanted("data")])


def test_of_two_who_commit_one_wins_and_the_other_merges(
    cache: Path, place: RemotePlace, tmp_path: Path
) -> None:
    other = new_cache(tmp_path / "other", place)
    for path, name in ((cache, "ours"), (other, "theirs")):
        with open_cache(path, PATIENT) as repo:
            commit_files(repo, {name: name.encode()})
    with open_cache(other, PATIENT) as repo:
        push_all(repo)
        theirs = _head(repo)
    with open_cache(cache, PATIENT) as repo:
        with pytest.raises(NotFastForward, match="not in it here") as refused:
            push_all(repo)
        assert "vfs pull data@main" in refused.value.hint
        (problem,) = _pull(repo).problems
        assert f"vfs merge data@{theirs.hex()[:12]} into data@main" in problem.hint
        merge(
            repo,
            Order(data_set="data", branch="main"),
            Version(commit=theirs, name="theirs", label="t"),
        )
        push_all(repo)
        whole = OLD | {"ours": b"ours", "theirs": b"theirs"}
        assert read_main(repo) == whole
    refresh_cache(other, PATIENT)
    with open_cache(other, PATIENT) as repo:
        assert read_main(repo) == whole


def test_branches_follow_the_remote_unless_something_was_made_here(
    cache: Path, tmp_path: Path
) -> None:
    with Repository.open(tmp_path / "origin") as repo:
        for name in ("clean", "dirty", "ahead", "gone", "gone-dirty"):
            repo.set_branch("data", name, _head(repo), expected=None, why="test")
        push_all(repo)
    refresh_cache(cache, PATIENT)
    with open_cache(cache, PATIENT) as repo:
        old = _head(repo)
        repo.set_branch("data", "mine", old, expected=None, why="test")
        write(repo, {"new": b"1"}, "dirty")
        write(repo, {"new": b"1"}, "gone-dirty")
        commit_files(repo, {"new": b"1"}, "ahead")
        ahead = _head(repo, "ahead")
    with Repository.open(tmp_path / "origin") as repo:
        for name in ("clean", "dirty", "ahead"):
            commit_files(repo, {"from": b"there"}, name)
        new = _head(repo, "clean")
        place = find_remote(repo.store, None)
        with connected(repo.store, place, write=True) as remote:
            push(
                repo, remote, "origin", [ref for ref in repo.refs("data") if "gone" not in ref.name]
            )
            for name in ("gone", "gone-dirty"):
                delete_branch(repo, "data", name)
                delete_remote_ref(repo, remote, "origin", "data", name)
    for _ in range(2):
        refresh_cache(cache, PATIENT)
        with open_cache(cache, PATIENT) as repo:
            heads = {ref.name: ref.commit for ref in repo.refs("data")}
        assert heads == {
            "ahead": ahead,
            "clean": new,
            "dirty": old,
            "gone-dirty": old,
            "main": old,
            "mine": old,
        }


def test_what_was_written_over_may_go_and_nothing_else(cache: Path) -> None:
    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"committed": os.urandom(100_000)})
        write(repo, {"changed": os.urandom(9_000)})
        before = repo.store.unpushed.count()
        write(repo, {"changed": os.urandom(8_000)})
        assert repo.store.unpushed.count() == before + 1
        assert release(repo.store, keep_s=0) == 1
        assert release(repo.store, keep_s=0) == 0
        whole = read_main(repo)
        evict_all(repo)
    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"more": b"more"})
        found = read_main(repo)
        assert isinstance(found["changed"], bytes)
        assert len(found["changed"]) == 8_000
        assert {name: found[name] for name in whole} == whole
        commit_overlay(repo, "data", "main", message="again")
        push_all(repo)
        assert not repo.store.unpushed.count()


def test_who_relies_on_what_is_about_to_go_keeps_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One looked before it was doubted, and is waited for; one comes after that."""
    first, second = os.urandom(9_000), os.urandom(9_000)
    with open_cache(cache, PATIENT) as repo:
        with repo.store.ingest() as ingest:
            ids = ingest.add_chunks([first, second])
        await_older = repo.store.writers.await_older

        def wait(on_wait: Callable[[], None]) -> None:
            write(repo, {"first": first})
            await_older(on_wait)

        unneeded, calls = releasing._unneeded, []

        def look(store: Store, since_ns: int) -> set[ObjectId]:
            found = unneeded(store, since_ns)
            calls.append(found)
            if len(calls) == 2:
                write(repo, {"second": second})
            return found

        monkeypatch.setattr(repo.store.writers, "await_older", wait)
        monkeypatch.setattr(releasing, "_unneeded", look)
        assert release(repo.store, keep_s=0) == 0
        evict_all(repo)
        assert calls[0] >= set(ids)
        assert [repo.reader.get(oid) for oid in ids] == [first, second]


def test_a_check_misses_nothing_that_the_remote_has(cache: Path) -> None:
    with open_cache(cache, PATIENT) as repo:
        commit_files(repo, {"new": os.urandom(100_000)})
        write(repo, {"large": b"other", "more": b"more"})
        evict_all(repo)
    assert check_store(cache, data=True).damages == []
    with open_cache(cache, PATIENT) as repo:
        lost = _chunks(repo, _head(repo), b"new")[0]
        repo.store.change(lambda txn: txn.delete(lost, db=repo.store.table("objects")))
    found = " ".join(damage.message for damage in check_store(cache, data=True).damages)
    assert lost.hex() in found
