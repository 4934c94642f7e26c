"""Collections on a remote: what goes, what stays, and who comes in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.remotes import (
    WatchedBucket,
    assert_remote_sound,
    commit,
    connect,
    read_tree,
)
from vfs.clock import NS, now_ns
from vfs.errors import NotFound, RemoteProblem
from vfs.remote import journal
from vfs.remote import remote as remotes
from vfs.remote.files import FileBucket
from vfs.repo.fsck import check_store
from vfs.repo.gc import Rules
from vfs.repo.repository import Repository
from vfs.sync.collecting import Options, Report, collect, packs, phases, preview
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import PushResult, push

DAY = 86_400
NOW = Options(keep_s=0, grace_s=0)
LATER = Options(keep_s=0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that is put forward by days."""
    days = 10.0  # what is written in a test is old
    monkeypatch.setattr(phases, "now_ns", lambda: now_ns() + int(days * DAY * NS))

    def forward(more: float) -> None:
        nonlocal days
        days += more

    return forward


def push_all(repo: Repository, place: Path, *, force: bool = False) -> PushResult:
    with connect(place) as remote:
        return push(repo, remote, "origin", repo.all_refs(), force=force)


def pull_data(repo: Repository, place: Path, *, force: bool = False) -> None:
    with connect(place) as remote:
        pull(repo, remote, "origin", [Wanted("data")], force=force)


def collect_now(place: Path, options: Options = NOW) -> Report:
    with connect(place) as remote:
        report = collect(remote, options)
    assert_remote_sound(place)
    return report


def names(place: Path, directory: str) -> set[str]:
    return {item.name for item in FileBucket(place).items(directory)}


def orphan(here: Repository, place: Path, data: bytes) -> None:
    """Push a version that has *data*, and then give it up."""
    first = here.resolve("data").commit
    commit(here, {"orphan": data})
    push_all(here, place)
    here.set_branch("data", "main", first, expected=here.resolve("data").commit, why="test")
    push_all(here, place, force=True)


def test_what_nothing_names_goes_after_the_grace_and_not_before(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    before = names(place, "packs")
    orphan(here, place, b"B" * 3000)
    (doomed,) = names(place, "packs") - before
    with connect(place) as remote:
        expected = preview(remote, LATER)
    assert (expected.condemned_packs, expected.objects) == (1, 4)
    first = collect_now(place, LATER)
    assert (first.condemned_packs, first.removed_packs) == (1, 0)
    assert first.due_ns is not None
    clock(0.9)
    assert collect_now(place, LATER).removed_packs == 0
    assert doomed in names(place, "packs")
    clock(0.2)
    assert collect_now(place, LATER).removed_packs == 1
    assert names(place, "packs") == before
    assert {name.removeprefix("index/") for name in names(place, "index")} == {
        name.removeprefix("packs/") for name in before
    }


def test_what_references_led_to_is_kept_for_a_time(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    assert collect_now(place, Options(grace_s=0)).condemned_packs == 0
    clock(40)
    assert collect_now(place, Options(grace_s=0)).removed_packs == 1


def test_what_was_sent_not_long_ago_stays(here: Repository, place: Path) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    assert collect_now(place, Options(keep_s=3600, grace_s=0)).condemned_packs == 0
    assert collect_now(place).removed_packs == 1  # nobody pushes, says who gives no time at all


def test_a_pack_that_is_mostly_garbage_is_rewritten(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 90_000})
    first = here.resolve("data").commit
    commit(here, {"b": b"".join(b"%1000d" % n for n in range(900)), "a": b"A" * 90_000})
    push_all(here, place)
    here.set_branch("data", "main", first, expected=here.resolve("data").commit, why="test")
    push_all(here, place, force=True)
    report = collect_now(place)
    assert (report.removed_packs, report.kept_packs) == (1, 1)
    assert report.copied_objects > 0
    assert sum(item.size for item in FileBucket(place).items("packs")) < 20_000


def test_many_small_packs_become_few(
    here: Repository, there: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    tree: dict[str, bytes] = {}
    for number in range(packs.MANY + 4):
        tree[f"{number}"] = b"%d" % number * 100
        commit(here, tree)
        push_all(here, place)
    assert len(names(place, "packs")) == packs.MANY + 4
    report = collect_now(place)
    assert report.objects == 0
    assert len(names(place, "packs")) == 1
    assert collect_now(place).condemned_packs == 0
    pull_data(there, place)
    root = there.commit(there.resolve("data").commit).root
    assert read_tree(there, root) == tree
    assert push_all(here, place).objects == 0


def test_who_reads_by_old_indexes_looks_again(
    here: Repository, there: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {f"{n}": b"%d" % n * 700 for n in range(50)})
    orphan(here, place, b"in one pack with it" * 100)

    def replace_packs(call: str, name: str) -> None:
        if call == "get_range" and not done:
            done.append(name)
            with connect(place) as remote:
                collect(remote, NOW)

    done: list[str] = []
    bucket = WatchedBucket(FileBucket(place), before=replace_packs)
    with connect(place, bucket=bucket) as remote:
        pull(there, remote, "origin", [Wanted("data")])
    assert done
    assert not names(place, "packs") & set(done)
    assert check_store(there.store.path, data=True).damages == []


def test_what_is_condemned_is_sent_again(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    collect_now(place, LATER)
    commit(here, {"again": b"B" * 3000})
    with connect(place) as remote:
        assert push(here, remote, "origin", here.all_refs()).objects == 4
    clock(2)
    assert collect_now(place, LATER).removed_packs == 1


def test_what_is_pushed_while_packs_are_removed_is_whole(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    collect_now(place, LATER)
    clock(2)
    commit(here, {"again": b"B" * 3000})

    def push_now(call: str, name: str) -> None:
        if call == "delete" and not done:
            done.append(name)
            push_all(here, place)

    done: list[str] = []
    bucket = WatchedBucket(FileBucket(place), before=push_now)
    with connect(place, bucket=bucket) as remote:
        collect(remote, LATER)
    assert done
    assert_remote_sound(place)


@pytest.mark.parametrize("moment", [("items", "index"), ("put", "index/"), ("put", "packs/")])
def test_a_push_that_began_before_is_whole(
    moment: tuple[str, str],
    here: Repository,
    place: Path,
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remotes, "VIEW_SECONDS", 0.0)
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    commit(here, {"again": b"B" * 3000, "new": b"C" * 3000})

    def collect_between(call: str, name: str) -> None:
        if call == moment[0] and name.startswith(moment[1]) and not done:
            done.append(name)
            with connect(place) as remote:
                collect(remote, LATER)
            clock(2)
            with connect(place) as remote:
                collect(remote, LATER)

    done: list[str] = []
    bucket = WatchedBucket(FileBucket(place), after=collect_between)
    with connect(place, bucket=bucket) as remote:
        push(here, remote, "origin", here.all_refs())
    assert done
    assert_remote_sound(place)


def test_rules_of_retention_reach_the_remote_and_who_clones_it(
    here: Repository, there: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    versions = [commit(here, {"a": b"%d" % n * 3000}, f"{n}") for n in range(4)]
    push_all(here, place)
    report = collect_now(place, Options(keep_s=0, grace_s=0, rules={"data": Rules(last=2)}))
    assert [one.commit for one in report.expired] == versions[:2]
    assert report.removed_packs == 1
    pull_data(there, place)
    assert [oid for oid, _ in there.log("data")] == versions[::-1]
    with pytest.raises(NotFound, match="retention of data"):
        there.resolve("data", versions[0].hex()[:12])
    assert read_tree(there, there.commit(versions[2]).root) == {"a": b"2" * 3000}
    assert check_store(there.store.path, data=True).damages == []
    # A store that lacks content pushes what it has.
    commit(there, {"b": b"more"})
    push_all(there, place)
    there.store.tracking.forget("origin")
    push_all(there, place.with_name("other"))
    for one in (place, place.with_name("other")):
        assert_remote_sound(one)
    # What gets a name again is sent whole.
    here.set_branch("data", "old", versions[1], expected=None, why="test")
    with connect(place) as remote:
        push(here, remote, "origin", [ref for ref in here.all_refs() if ref.name == "old"])
    assert_remote_sound(place)
    collect_now(place)
    with Repository.create(place.with_name("clone")) as clone:
        pull_data(clone, place)
        assert read_tree(clone, clone.commit(versions[1]).root) == {"a": b"1" * 3000}


def test_damage_keeps_everything(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    orphan(here, place, b"B" * 3000)
    for path in (place / "packs").iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    before = names(place, "packs")
    with connect(place) as remote, pytest.raises(RemoteProblem):
        collect(remote, NOW)
    assert names(place, "packs") == before


def test_packs_that_no_push_finished_go(
    here: Repository, place: Path, clock: Callable[[float], None]
) -> None:
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    FileBucket(place).put(f"packs/{'ab' * 32}", b"whatever")
    assert collect_now(place).removed_packs == 1
    assert f"packs/{'ab' * 32}" not in names(place, "packs")


def test_the_journal_stays_short_and_what_was_half_written_goes(
    here: Repository,
    place: Path,
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "COMPACT_RECORDS", 4)
    commit(here, {"a": b"A" * 5000})
    push_all(here, place)
    (place / "packs" / ".partial-0123").write_bytes(b"half")
    for number in range(6):
        orphan(here, place, b"%d" % number * 3000)
        assert collect_now(place, LATER).condemned_packs == 1
        clock(8)
        assert collect_now(place, LATER).removed_packs == 1
        clock(8)
        assert len(names(place, "journal")) <= 4 + 1 + 2
        assert not list(place.rglob(".partial-*"))
    assert f"journal/{0:020}" not in names(place, "journal")
