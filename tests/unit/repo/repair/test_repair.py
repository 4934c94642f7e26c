"""Damage of each kind in a copy of a store, repaired from the original or from the copy itself."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.support.full_store import edit, put, remove, rows
from tests.support.stores import locate
from vfs.errors import CorruptObject, InvalidInput
from vfs.ids import ObjectId
from vfs.repo.fsck import check_store
from vfs.repo.repair import Repair, repair_store
from vfs.repo.repository import Repository
from vfs.store.backup import save_backup
from vfs.store.layout import Kind, number_key, pack_location, unpack_location
from vfs.sync.graph import below, outgoing

REFERENCES = ("data_sets", "refs", "slots", "commits")
NUMBERS = ("leaves", "numbers")


def same_versions(one: Path, other: Path) -> bool:
    """Say whether all references mean the same. Of a store without damage that says all."""
    return rows(one, "refs") == rows(other, "refs")


def needed(store: Path, kind: Kind) -> list[ObjectId]:
    """Return the objects of a kind that versions lead to: nothing else is missed."""
    with Repository.open(store, readonly=True) as repo:
        seen: set[ObjectId] = set()
        for ref in repo.all_refs():
            found = outgoing(
                repo.reader, ref.commit, lambda _, oid: oid in seen, lambda k, _, d: below(k, d)
            )
            for _, oid, _ in found:
                seen.add(oid)
    return [oid for oid in of_kind(store, kind) if oid in seen]


def of_kind(store: Path, kind: Kind) -> list[ObjectId]:
    return [
        ObjectId(key)
        for key, value in rows(store, "objects")
        if unpack_location(memoryview(value)).kind == kind
    ]


def flip(store: Path, oid: ObjectId) -> None:
    """Change a byte of an object, one that matters."""
    with Repository.open(store, readonly=True) as repo:
        place = locate(repo.store, oid)
    key = number_key(place.block)
    block = dict(rows(store, "blocks"))[key]
    for at in range(place.at, min(place.at + place.stored, len(block))):
        put(store, "blocks", key, block[:at] + bytes([block[at] ^ 0x5A]) + block[at + 1 :])
        with Repository.open(store, readonly=True) as repo:
            try:
                repo.reader.get(oid)
            except CorruptObject:
                return
    raise AssertionError("no byte of the object matters")


def repaired(store: Path, *copies: Path) -> Repair:
    repair = repair_store(store, copies)
    assert repair.report.damages == []
    assert repair.done
    return repair


def test_a_sound_store_is_left_alone(store: Path) -> None:
    before = (store / "data.mdb").read_bytes()
    repair = repair_store(store, [])
    assert repair.report.is_clean
    assert repair.done == []
    assert (store / "data.mdb").read_bytes() == before


# ------------------------------------------------------------------------------------- objects


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("how", ["damaged", "missing", "malformed"])
def test_objects_of_each_kind_come_from_a_copy(
    store: Path, full: Path, kind: Kind, how: str
) -> None:
    some = random.Random(1).sample(needed(store, kind), 2)
    for oid in some:
        if how == "damaged":
            flip(store, oid)
        elif how == "missing":
            remove(store, "objects", oid)
        else:
            put(store, "objects", oid, b"x" * 17)
    repair = repaired(store, full)
    assert same_versions(store, full)
    for oid in some:
        assert any(oid.hex() in line and str(full) in line for line in repair.done)


def test_all_objects_of_all_kinds_are_lost(store: Path, full: Path) -> None:
    """What is below a lost tree is not known to be lost before the tree is there again."""
    edit(store, lambda txn, tables: txn.drop(tables["objects"], delete=False))  # type: ignore[arg-type]
    repaired(store, full)
    assert same_versions(store, full)


def test_from_a_backup_and_from_two_copies_of_which_each_has_a_part(
    store: Path, full: Path, tmp_path: Path
) -> None:
    one, other = of_kind(store, Kind.CHUNK)[5:7]
    with Repository.open(full, readonly=True) as repo:
        save_backup(repo.store, tmp_path / "backup", lambda _: None)
    copy = Path(shutil.copytree(full, tmp_path / "copy"))
    remove(copy, "objects", one)
    for oid in (one, other):
        remove(store, "objects", oid)
    repair = repair_store(store, [copy])
    assert [d.object for d in repair.report.damages] == [one.hex()]
    assert len(repair.done) == 1
    repaired(store, copy, tmp_path / "backup")
    assert same_versions(store, full)


def test_a_copy_that_is_damaged_in_the_same_place_gives_nothing(
    store: Path, full: Path, tmp_path: Path
) -> None:
    oid = of_kind(store, Kind.CHUNK)[7]
    flip(store, oid)
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    before = check_store(store, data=True).damages
    repair = repair_store(store, [copy])
    assert repair.done == []
    assert repair.report.damages == before


def test_the_store_itself_and_what_is_no_store_are_no_copies(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is to be repaired"):
        repair_store(store, [store])
    (tmp_path / "file").write_bytes(b"x" * 1000)
    with pytest.raises(InvalidInput, match="no backup"):
        repair_store(store, [tmp_path / "file"])


def test_a_tree_that_is_in_the_index_as_a_chunk_needs_no_copy(store: Path, full: Path) -> None:
    oid = of_kind(store, Kind.TREE)[3]
    with Repository.open(store, readonly=True) as repo:
        place = locate(repo.store, oid)
    put(store, "objects", oid, pack_location(place._replace(kind=Kind.CHUNK)))
    repaired(store)
    assert same_versions(store, full)


# ---------------------------------------------------------------------------------- derived rows


@pytest.mark.parametrize("table", [*REFERENCES, *NUMBERS])
def test_each_row_that_is_lost_is_made_again(store: Path, full: Path, table: str) -> None:
    found = rows(store, table)
    some = random.Random(2).sample(found, min(len(found), 6))
    for key, _ in some:
        remove(store, table, key)
    repaired(store)
    after = dict(rows(store, table))
    if table in ("refs", "slots", "commits"):
        assert after == dict(found)
    if table == "data_sets":  # one without a version is gone, as nobody knows of it
        assert set(after) == {key for key, _ in found} - {b"void"}
    assert same_versions(store, full)


@pytest.mark.parametrize("table", [*REFERENCES, *NUMBERS])
def test_each_row_that_is_damaged_is_made_again(store: Path, full: Path, table: str) -> None:
    found = rows(store, table)
    for key, value in random.Random(3).sample(found, min(len(found), 5)):
        put(store, table, key, value[:-1])
    repair = repair_store(store, [])
    left = [damaged.message for damaged in repair.report.damages]
    if table == "data_sets":  # nothing tells when an empty one was made
        assert len(left) <= 1
        assert all("'void'" in message for message in left)
        return
    assert left == []
    assert same_versions(store, full)


@pytest.mark.parametrize("left", [0, 5])
def test_commits_whose_slots_nobody_knows_get_new_ones(store: Path, full: Path, left: int) -> None:
    for table in ("slots", "commits"):
        for key, _ in rows(store, table)[left:]:
            remove(store, table, key)
    repaired(store)
    assert same_versions(store, full)
    assert dict(rows(store, "slots")[:left]).items() <= dict(rows(full, "slots")).items()
    of_logs = {key[-8:] for key, _ in rows(full, "ref_log")}
    before, after = dict(rows(full, "slots")), dict(rows(store, "slots"))
    assert all(after[key] == before[key] for key in of_logs)


def test_numbers_that_are_swapped_keep_what_stat_shows(store: Path, full: Path) -> None:
    table = rows(store, "numbers")
    (one, first), (other, second) = table[10], table[200]
    put(store, "numbers", one, second)
    put(store, "numbers", other, first)
    repaired(store)
    assert [key for key, _ in rows(store, "numbers")] == [key for key, _ in table]


def test_all_tables_of_numbers_are_lost(store: Path, full: Path) -> None:
    for table in NUMBERS:
        edit(store, lambda txn, tables, name=table: txn.drop(tables[name], delete=False))  # type: ignore[misc,arg-type]
    repaired(store)
    assert {key for key, _ in rows(store, "numbers")} == {key for key, _ in rows(full, "numbers")}


def test_a_number_of_nobody_goes(store: Path) -> None:
    put(store, "numbers", number_key(1 << 40), b"\1" * 10)
    repaired(store)
    assert number_key(1 << 40) not in dict(rows(store, "numbers"))


# -------------------------------------------------------------------------- what nothing proves


@pytest.mark.parametrize("with_slot", [False, True])
def test_a_reference_whose_last_line_is_lost_is_not_turned_back(
    store: Path, with_slot: bool
) -> None:
    """Its log would say an older version; a slot, or its own row, tells that there was a newer."""
    lines = [(k, v) for k, v in rows(store, "ref_log") if k.startswith(b"data\0main\0")]
    remove(store, "ref_log", lines[-1][0])
    if with_slot:
        remove(store, "slots", lines[-1][0][-8:])
    key = b"data\0main"
    before = dict(rows(store, "refs"))[key]
    repair = repair_store(store, [])
    assert dict(rows(store, "refs"))[key] == before
    assert not repair.report.is_clean


def test_a_line_of_a_log_is_never_invented(store: Path) -> None:
    key, value = next((k, v) for k, v in rows(store, "ref_log") if k.startswith(b"data\0moves"))
    put(store, "ref_log", key, value[:20])
    repair = repair_store(store, [])
    assert repair.done == []
    assert dict(rows(store, "ref_log"))[key] == value[:20]
    assert not repair.report.is_clean


def test_what_was_not_committed_is_told_and_left(store: Path) -> None:
    key, value = rows(store, "overlay_inodes")[3]
    put(store, "overlay_inodes", key, value[:50])
    before = check_store(store, data=True).damages
    repair = repair_store(store, [])
    assert repair.done == []
    assert repair.report.damages == before


def test_a_dry_run_changes_nothing(store: Path, full: Path) -> None:
    remove(store, "objects", of_kind(store, Kind.CHUNK)[0])
    remove(store, "refs", b"data\0v1")
    remove(store, "numbers", rows(store, "numbers")[4][0])
    before = (store / "data.mdb").read_bytes()
    repair = repair_store(store, [full], dry_run=True)
    assert len(repair.done) == 3
    assert (store / "data.mdb").read_bytes() == before
    done = repaired(store, full).done
    assert done == repair.done
