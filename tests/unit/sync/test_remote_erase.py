"""Erasing from a remote: nothing of it is left there, and all who come know why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remotes import assert_remote_sound, commit, connect, read_tree
from vfs.errors import Erased
from vfs.ids import object_id
from vfs.remote.files import FileBucket
from vfs.repo.erasing import Query, carry_out, make_plan
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.sync.collecting import Options, collect
from vfs.sync.erasing import Outcome, erase_from_remote
from vfs.sync.fetch import FetchResult, Wanted, fetch
from vfs.sync.pull import PullResult, pull
from vfs.sync.push import PushResult, push

SECRET = bytes(range(256)) * 2  # kept as it is in a pack: too small to be worth compressing


def push_all(repo: Repository, place: Path) -> PushResult:
    with connect(place) as remote:
        return push(repo, remote, "origin", repo.all_refs())


def pull_data(repo: Repository, place: Path) -> PullResult:
    with connect(place) as remote:
        return pull(repo, remote, "origin", [Wanted("data")])


def fetch_data(repo: Repository, place: Path) -> FetchResult:
    with connect(place) as remote:
        return fetch(repo, remote, "origin", [Wanted("data")])


def erase_here(repo: Repository) -> None:
    query = Query(reason="request 17", data_set="data", paths=("secret",))
    carry_out(repo, make_plan(repo, query, lambda *_: None), lambda *_: None)


CONTENTS = frozenset([object_id(SECRET)])


def erase_there(repo: Repository, place: Path) -> Outcome:
    with connect(place) as remote:
        return erase_from_remote(repo.store, remote, contents=CONTENTS)


def holds(place: Path, secret: bytes) -> bool:
    """Say whether any object of the bucket, or of its packs, has these bytes."""
    bucket = FileBucket(place)
    names = [
        item.name for top in ("packs", "index", "refs", "journal") for item in bucket.items(top)
    ]
    if any(secret in bucket.get(name, most=1 << 30) for name in names):
        return True
    with connect(place) as remote:
        remote.refresh()
        return any(
            secret in data
            for index in remote.catalog.indexes()
            for objects in remote.objects.read(index.within(0, 1 << 40))
            for _, _, data in objects
        )


def test_nothing_of_it_is_left(here: Repository, there: Repository, place: Path) -> None:
    commit(here, {"secret": SECRET, "a": b"A" * 3000})
    commit(here, {"a": b"A" * 3000, "b": b"B"})
    push_all(here, place)
    assert holds(place, SECRET)
    erase_here(here)
    outcome = erase_there(here, place)
    assert (outcome.chunks, outcome.packs, outcome.unknown_packs) == (1, 1, 0)
    assert not holds(place, SECRET)
    assert_remote_sound(place)
    assert erase_there(here, place).packs == 0
    pull_data(there, place)
    old = there.commit(there.resolve("data", "main~1").commit)
    entry = there.entry_at(old.root, (b"secret",))
    with pytest.raises(Erased, match="request 17"):
        list(there.read_file(entry))
    assert there.entry_at(old.root, (b"a",)).size == 3000
    assert check_store(there.store.path, data=True).damages == []


def test_clones_are_told_and_keep_what_they_have(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, {"secret": SECRET, "a": b"A"})
    push_all(here, place)
    pull_data(there, place)
    erase_here(here)
    erase_there(here, place)
    told = fetch_data(there, place)
    assert [why.partition(": ")[2] for why in told.erased.values()] == ["request 17"]
    assert told.erased_contents == CONTENTS
    root = there.commit(there.resolve("data").commit).root
    assert read_tree(there, root) == {"secret": SECRET, "a": b"A"}


def test_nobody_brings_it_again(here: Repository, there: Repository, place: Path) -> None:
    commit(here, {"secret": SECRET, "a": b"A"})
    push_all(here, place)
    pull_data(there, place)
    erase_here(here)
    erase_there(here, place)
    commit(there, {"secret": b"", "copy": SECRET, "a": b"A"})
    assert push_all(there, place).withheld == 1
    assert not holds(place, SECRET)
    assert_remote_sound(place)
    pull_data(here, place)
    assert check_store(here.store.path, data=True).damages == []


def test_what_a_push_under_way_brings_again_goes(here: Repository, place: Path) -> None:
    from vfs.remote.pack import PackBuilder
    from vfs.store.layout import Kind

    commit(here, {"secret": SECRET, "a": b"A"})
    push_all(here, place)
    erase_here(here)
    erase_there(here, place)

    def bring_again() -> None:
        with connect(place) as remote:
            builder = PackBuilder()
            builder.add(Kind.CHUNK, object_id(SECRET), SECRET)
            remote.publish(remote.seal(builder))
        assert holds(place, SECRET)

    bring_again()
    assert erase_there(here, place).packs == 1
    assert not holds(place, SECRET)
    bring_again()
    with connect(place) as remote:
        collect(remote, Options(keep_s=0, grace_s=0))
    assert not holds(place, SECRET)
    assert_remote_sound(place)


def test_a_store_with_erased_contents_is_pushed(
    here: Repository, there: Repository, place: Path
) -> None:
    commit(here, {"secret": SECRET, "a": b"A"})
    erase_here(here)
    push_all(here, place)
    assert_remote_sound(place)
    pull_data(there, place)
    assert check_store(there.store.path, data=True).damages == []
    (line,) = [line for _, line in there.store.audit.lines() if line.action == "erase.learn"]
    assert "request 17" in str(line.facts["reason"])


def test_an_erase_beside_a_collection(here: Repository, place: Path) -> None:
    commit(here, {"secret": SECRET, "a": b"A" * 3000})
    push_all(here, place)
    with connect(place) as remote:  # condemned, with all copied to another pack
        collect(remote, Options(keep_s=0, repack_share=2))
    erase_here(here)
    erase_there(here, place)
    assert not holds(place, SECRET)
    assert_remote_sound(place)
    with connect(place) as remote:
        collect(remote, Options(keep_s=0, grace_s=0))
    assert_remote_sound(place)
