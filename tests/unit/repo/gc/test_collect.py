"""What a collection removes, and what it leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.garbage import NOW, collected, contents, damages, object_ids, version
from tests.support.stores import damage, locate
from tests.support.versions import commit
from vfs.errors import Conflict, NotFound, StoreError
from vfs.ids import object_id
from vfs.repo.gc import Collection, Rules, collect, preview, save_rules
from vfs.repo.gc.lock import collecting
from vfs.repo.repository import Repository
from vfs.store.layout import number_key
from vfs.store.shown import ShownSlots

BIG = [os.urandom(300_000) for _ in range(4)]


@pytest.fixture
def repo(tmp_path: Path):
    with Repository.create(tmp_path / "store") as made:
        made.create_data_set("data")
        yield made


def test_what_references_lead_to_stays(repo: Repository) -> None:
    for number in range(5):
        commit(repo, {b"big": BIG[number % 2], b"n": b"%d" % number, b"d": {b"x": b"y" * number}})
    before = object_ids(repo)
    trees = {oid: version(repo, oid) for oid, _ in repo.log("data")}
    report = collected(repo)
    assert object_ids(repo) == before
    assert (report.objects, report.versions, report.kept_objects) == (0, 0, len(before))
    assert {oid: version(repo, oid) for oid, _ in repo.log("data")} == trees


def test_a_deleted_branch_goes_when_its_log_has_expired(repo: Repository) -> None:
    commit(repo, {b"kept": BIG[0], b"both": BIG[1]})
    before = object_ids(repo)
    repo.create_data_set("other")
    gone = commit(repo, {b"both": BIG[1], b"gone": BIG[2]}, data_set="other").commit
    repo.delete_ref("other", "main", kind="branch")
    assert collected(repo, Collection()).objects == 0
    assert version(repo, gone)[b"gone"] == BIG[2]
    preview_report = preview(repo.store, NOW)
    report = collected(repo)
    assert report.versions == preview_report.versions == 1
    assert report.objects == preview_report.objects > 3
    assert report.stored_bytes == preview_report.stored_bytes >= 300_000
    assert report.freed_bytes >= 300_000
    assert object_ids(repo) == before
    with pytest.raises(NotFound):
        repo.resolve("data", gone.hex())
    assert len(repo.reflog("other", "main")) == 1  # the newest of all: its slot may not come back
    commit(repo, {b"kept": BIG[0]}, tag="t")
    collected(repo)
    assert repo.reflog("other", "main") == []


def test_lines_that_stay_may_name_what_is_gone(repo: Repository) -> None:
    first = commit(repo, {b"a": b"1"}).commit
    repo.create_data_set("other")
    commit(repo, {b"a": b"2"}, data_set="other", tag="t")
    repo.set_tag("other", "t", first, force=True, why="moved")
    repo.delete_ref("other", "main", kind="branch")
    assert collected(repo).versions == 1
    assert [line.old for line in repo.reflog("other", "t")] != [None]
    assert collected(repo, Collection()).objects == 0


def test_the_newest_slot_never_comes_back(repo: Repository) -> None:
    commit(repo, {b"a": b"1"})
    commit(repo, {b"a": b"2"}, tag="t")
    repo.delete_ref("data", "t", kind="tag")
    newest = repo.store.refs.newest_slot()
    collected(repo)
    assert repo.store.refs.newest_slot() == newest
    assert repo.reflog("data", "main")[0].new == repo.store.refs.get("data", "main").commit  # type: ignore[union-attr]


def test_what_an_import_left_goes_and_can_come_back(repo: Repository) -> None:
    commit(repo, {b"kept": b"k"})
    with repo.store.ingest() as ingest:
        ids = ingest.add_chunks(BIG)
    assert collected(repo).objects == 4
    assert not any(repo.reader.has(oid) for oid in ids)
    with repo.store.ingest() as ingest:
        assert ingest.add_chunks(BIG) == ids
    assert [repo.reader.get(oid) for oid in ids] == BIG


def test_numbers_of_leaves_that_go_lead_to_others_with_the_same_entry(repo: Repository) -> None:
    tree = {b"same": b"s", b"other": b"o"}
    commit(repo, tree)
    first = repo.store.refs.get("data", "main")
    assert first is not None
    commit(repo, {**tree, b"more": b"m"})
    save_rules(repo.store, "data", Rules(last=1))
    report = collected(repo)
    assert [one.commit for one in report.expired] == [first.commit]
    root = repo.commit(repo.resolve("data").commit).root
    assert contents(repo, root.content) == {**tree, b"more": b"m"}
    assert repo.store.numbering.count() == 3
    commit(repo, {**tree, b"again": b"a"})
    collected(repo)
    assert repo.store.numbering.count() == 3


def test_numbers_of_leaves_and_blocks_never_come_back(repo: Repository) -> None:
    with repo.store.held() as held:
        assert held.last_number("blocks") == 0
    commit(repo, {b"a": BIG[0]}, tag="t")
    repo.create_data_set("other")
    commit(repo, {b"b": BIG[1]}, data_set="other")
    with repo.store.held() as held:
        last = held.last_number("blocks"), held.last_number("leaves")
    repo.delete_ref("other", "main", kind="branch")
    collected(repo)
    with repo.store.held() as held:
        assert (held.last_number("blocks"), held.last_number("leaves")) >= last
        assert not held.row("leaves", number_key(last[1]))
    commit(repo, {b"b": BIG[2]}, data_set="other")
    collected(repo)


def test_blocks_that_are_sparse_are_rewritten(repo: Repository) -> None:
    small = {b"%d" % number: os.urandom(3000) for number in range(300)}
    repo.create_data_set("other")
    commit(repo, small, data_set="other")
    kept = {name: small[name] for name in list(small)[::10]}
    commit(repo, kept)
    repo.delete_ref("other", "main", kind="branch")
    report = collected(repo)
    assert report.blocks_rewritten > 20
    assert report.freed_bytes > 700_000
    assert version(repo, repo.resolve("data").commit) == kept
    assert collected(repo).blocks_rewritten == 0


def test_nothing_of_what_is_gone_stays_where_all_is_to_be_rewritten(repo: Repository) -> None:
    marker = b"a marker that no compression takes apart"
    kept = {b"%d" % number: os.urandom(3000) for number in range(60)}
    with repo.store.ingest() as ingest:  # as an interrupted import does, amid what is kept
        for number, body in enumerate(kept.values()):
            ingest.add_chunks([body], [1])
            if number % 20 == 10:
                ingest.add_chunks([marker + os.urandom(20)], [1])
    commit(repo, kept)
    with repo.store.held() as held:
        assert sum(bytes(row).count(marker) for _, row in held.rows("blocks")) == 3
    assert collected(repo, Collection(keep_s=0)).blocks_rewritten == 0  # it would not free a page
    everything = Collection(keep_s=0, repack_share=1)
    assert collected(repo, everything).blocks_rewritten > 2
    with repo.store.held() as held:
        assert not any(marker in bytes(row) for _, row in held.rows("blocks"))
    assert version(repo, repo.resolve("data").commit) == kept
    assert collected(repo, everything).blocks_rewritten == 0


def test_segments_are_rebuilt_without_what_is_gone(repo: Repository) -> None:
    text = [b"%d " % number * 20_000 for number in range(6)]
    with repo.store.ingest() as ingest:
        ids = ingest.add_chunks(text, [len(text)])
    assert len({locate(repo.store, oid)[2:4] for oid in ids}) == 1  # one segment
    commit(repo, {b"kept": text[2]})
    before = locate(repo.store, ids[2]).raw
    collected(repo)
    place = locate(repo.store, ids[2])
    assert repo.reader.get(ids[2]) == text[2]
    assert place.raw <= before


def test_damage_among_what_is_kept_ends_it(repo: Repository) -> None:
    made = commit(repo, {b"d": {b"f": b"x"}}).commit
    with repo.store.ingest() as ingest:
        ids = ingest.add_chunks(BIG)
    tree = repo.commit(made).root.content
    repo.store.change(lambda txn: txn.delete(tree, db=repo.store.table("objects")))
    with pytest.raises(StoreError, match="nothing was removed"):
        collect(repo.store, NOW)
    assert all(repo.reader.has(oid) for oid in ids)


def test_damaged_contents_stay_where_they_are(
    repo: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    small = {b"%d" % number: os.urandom(3000) for number in range(60)}
    repo.create_data_set("other")
    commit(repo, small, data_set="other")
    kept = {name: small[name] for name in list(small)[::10]}
    commit(repo, kept)
    repo.delete_ref("other", "main", kind="branch")
    damage(repo.store, object_id(kept[b"10"]))
    report = collect(repo.store, NOW)
    assert report.unrepaired
    assert "stay" in caplog.text
    assert len(damages(repo.store.path)) == 1
    assert repo.reader.get(object_id(kept[b"20"])) == kept[b"20"]


def test_only_one_at_a_time(repo: Repository) -> None:
    with (
        collecting(repo.store.path),
        pytest.raises(Conflict, match=f"process {os.getpid()} removes"),
    ):
        collect(repo.store, NOW)


def test_what_a_mount_has_shown_stays_until_it_ends(repo: Repository) -> None:
    commit(repo, {b"a": b"1"})
    shown = commit(repo, {b"a": BIG[3]}, tag="t").commit
    slot = repo.resolve("data", "t").slot
    head = commit(repo, {b"a": b"2"}).commit
    repo.delete_ref("data", "t", kind="tag")
    save_rules(repo.store, "data", Rules(last=1))
    with ShownSlots(repo.store.path, "mnt") as slots:
        slots.note(slot)
        report = collected(repo)
        assert report.pinned == 1
        assert version(repo, shown) == {b"a": BIG[3]}
        assert repo.store.refs.slot(slot) is not None
    assert [one.commit for one in collected(repo).expired] == [shown]
    assert version(repo, head) == {b"a": b"2"}


def test_a_pruned_version_says_so(repo: Repository) -> None:
    first = commit(repo, {b"a": b"1"}, message="the first").commit
    commit(repo, {b"a": b"2"})
    save_rules(repo.store, "data", Rules(last=1, daily=1))
    collected(repo)
    assert [record.message for _, record in repo.log("data")] == ["a version", "the first"]
    for revision in (first.hex(), "main~1"):
        with pytest.raises(NotFound, match=r"removed .* retention of data \(last 1, daily 1\)"):
            repo.resolve("data", revision)
    with pytest.raises(NotFound, match="was removed"):
        repo.set_tag("data", "old", first, why="test")
    assert repo.resolve("data", "main~1", pruned=True).commit == first
    save_rules(repo.store, "data", None)
    assert collected(repo).expired == []


def test_equal_content_is_not_pruned(repo: Repository) -> None:
    first = commit(repo, {b"a": b"1"}).commit
    commit(repo, {b"a": b"2"})
    commit(repo, {b"a": b"1"})
    save_rules(repo.store, "data", Rules(last=1))
    assert len(collected(repo).expired) == 1
    assert version(repo, first) == {b"a": b"1"}
