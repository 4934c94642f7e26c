"""Each kind of damage is found, named with the paths it touches, and nothing else is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.full_store import put, remove, rows
from tests.support.stores import damage as damage_object
from tests.support.stores import locate
from tests.support.trees import MTIME_NS, store_file
from tests.support.versions import commit as commit_tree
from tests.support.versions import commit_with_parents
from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.blob import decode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import Entry, Extra, Totals, directory_entry
from vfs.model.node import Child, Leaf, Sums, encode_inner, encode_leaf, identity
from vfs.model.overlay import (
    NEW_INO,
    ROOT_INO,
    InodeRow,
    decode_header,
    decode_inode,
    encode_header,
    encode_inode,
)
from vfs.repo.fsck import Damage, check_store
from vfs.repo.repository import Repository
from vfs.store.layout import Kind, key_number, number_key, pack_location


def found(store: Path, *, data: bool = False) -> list[Damage]:
    return check_store(store, data=data).damages


def only(store: Path, *, data: bool = False) -> Damage:
    damages = found(store, data=data)
    assert len(damages) == 1, damages
    return damages[0]


def entry(store: Path, revision: str, *path: bytes) -> Entry:
    with Repository.open(store, readonly=True) as repo:
        return repo.entry_at(repo.commit(repo.resolve("data", revision).commit).root, path)


def head(store: Path, revision: str) -> ObjectId:
    with Repository.open(store, readonly=True) as repo:
        return repo.resolve("data", revision).commit


def chunk_of(store: Path, revision: str, name: bytes, index: int) -> ObjectId:
    blob = entry(store, revision, name)
    with Repository.open(store, readonly=True) as repo:
        return decode_blob_node(repo.reader.get(blob.content)).spans[index].content


def flip(store: Path, oid: ObjectId) -> None:
    with Repository.open(store, readonly=True) as repo:
        damage_object(repo.store, oid)


# ------------------------------------------------------------------------------------- objects


def test_a_flipped_byte_in_a_chunk(store: Path) -> None:
    chunk = chunk_of(store, "v1", b"big", 3)
    flip(store, chunk)
    assert found(store) == []  # the structure is as it was
    damaged = only(store, data=True)  # of that segment, one chunk
    places = {"data@v1:big", "data@v2:big", "data@main:big", "data@exp:big", "data@half:big"}
    assert places <= set(damaged.places)
    assert {place.partition(":")[2] for place in damaged.places} == {"big"}


def test_a_flipped_byte_where_chunks_are_compressed_together(store: Path) -> None:
    text = entry(store, "v1", b"text")
    flip(store, chunk_of(store, "v1", b"text", 0))
    damages = found(store, data=True)
    assert damages
    for damaged in damages:
        assert "data@v1:text" in damaged.places
        assert not any(place.startswith("data@v2:") for place in damaged.places)
    assert text.size == 300_000


def test_a_flipped_byte_in_a_tree_node(store: Path) -> None:
    directory = entry(store, "v1", b"deep", b"er", b"still")
    flip(store, directory.content)
    for data in (False, True):
        damaged = only(store, data=data)
        assert damaged.object == directory.content.hex()
        assert "data@v1:deep/er/still" in damaged.places
        assert "other@main:er/still" in damaged.places
        # The numbers of files in other trees lead through it, too; here there are none.


def test_a_damaged_leaf_whose_files_are_found_by_it(store: Path) -> None:
    """A later version's files are found through the leaf that had them first."""
    many = entry(store, "v1", b"many")
    with Repository.open(store, readonly=True) as repo:
        root = repo.nodes.get(many.content)
        assert not isinstance(root, Leaf)
        leaf = root.children[0].node
        names = repo.nodes.child(root, 0).names  # type: ignore[union-attr]
    flip(store, leaf)
    damaged = only(store)
    assert damaged.object == leaf.hex()
    assert "data@v1:many" in damaged.places
    assert "data@v2:many/0001" in damaged.places
    assert names[5] == b"0005"
    assert "data@v2:many/0005" not in damaged.places  # which changed, and has a leaf of its own
    assert damaged.more > 100


def test_a_missing_index_row(store: Path) -> None:
    oid = entry(store, "v1", b"many", b"0005").content
    remove(store, "objects", oid)
    damaged = only(store)
    assert damaged.object == oid.hex()
    assert "missing" in damaged.message
    assert {place for place in damaged.places if "0005" not in place} == set()
    assert "data@v1:many/0005" in damaged.places
    assert not any(place.startswith("data@v2") for place in damaged.places)


def test_swapped_index_rows(store: Path) -> None:
    one, other = (entry(store, "v1", b"many", name).content for name in (b"0007", b"0008"))
    table = dict(rows(store, "objects"))
    put(store, "objects", one, table[other])
    put(store, "objects", other, table[one])
    damages = found(store, data=True)
    assert {damaged.object for damaged in damages} == {one.hex(), other.hex()}
    assert {"data@v1:many/0007" in d.places for d in damages} == {True, False}


def test_a_malformed_index_row(store: Path) -> None:
    oid = entry(store, "v1", b"one").content
    put(store, "objects", oid, b"x" * 17)
    damaged = only(store)
    assert damaged.object == oid.hex()
    assert {"data@v1:one", "data@v1:three", "data@v1:deep/two"} <= set(damaged.places)


def test_an_index_row_that_leads_to_no_block(store: Path) -> None:
    oid = entry(store, "v1", b"one").content
    with Repository.open(store, readonly=True) as repo:
        place = locate(repo.store, oid)
    put(store, "objects", oid, pack_location(place._replace(block=1 << 30)))
    for data in (False, True):
        assert "data@v1:one" in only(store, data=data).places


def test_a_missing_block(store: Path) -> None:
    chunk = chunk_of(store, "v1", b"big", 3)
    with Repository.open(store, readonly=True) as repo:
        block = locate(repo.store, chunk).block + 1
    remove(store, "blocks", number_key(block))
    damages = found(store)
    assert chunk.hex() in {damaged.object for damaged in damages}
    assert all("data@v1:big" in damaged.places for damaged in damages)


def test_index_rows_that_overlap(store: Path) -> None:
    one, other = (entry(store, "v1", b"many", name).content for name in (b"0007", b"0009"))
    with Repository.open(store, readonly=True) as repo:
        wrong, right = (locate(repo.store, oid) for oid in (one, other))
    moved = wrong._replace(block=right.block, at=right.at + 1)
    put(store, "objects", one, pack_location(moved))
    damaged = only(store)
    assert "one over the other" in damaged.message
    assert {"data@v1:many/0007", "data@v1:many/0009"} <= set(damaged.places)
    assert only(store, data=True).object == one.hex()


def test_a_damaged_object_of_no_version(store: Path) -> None:
    with Repository.open(store) as repo, repo.store.ingest() as ingest:
        (oid,) = ingest.add_chunks([b"nobody's" * 1000])
    flip(store, oid)
    damaged = only(store, data=True)
    assert (damaged.object, damaged.places) == (oid.hex(), [])


# --------------------------------------------------------------------------------- crafted trees


def craft(store: Path, root_tree: Callable[[Repository, object], tuple[ObjectId, Totals]]) -> None:
    """Commit a tree that no builder makes, as the branch 'crafted'."""
    with Repository.open(store) as repo:
        with repo.store.ingest() as ingest:
            tree, totals = root_tree(repo, ingest)
            root = directory_entry(b"", tree, totals, mtime_ns=MTIME_NS)
            record = Commit(root=root, parents=(), time_ns=1, author="a", message="crafted")
            oid = ingest.add_object(Kind.COMMIT, record.encode())
        repo.set_branch("data", "crafted", oid, expected=None, why="test")


def add_leaf(ingest: object, *entries: Entry) -> ObjectId:
    return ingest.add_object(Kind.TREE, encode_leaf(entries))  # type: ignore[attr-defined]


def test_wrong_totals_of_a_directory(store: Path) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        leaf = add_leaf(ingest, store_file(ingest, b"file", b"12345"))
        inner = directory_entry(b"inner", leaf, Totals(0, 1, 1, 6))  # of 5 bytes
        return add_leaf(ingest, inner), Totals(1, 2, 1, 6)

    craft(store, tree)
    damaged = only(store)
    assert damaged.places == ["data@crafted:inner"]
    assert "6 bytes" in damaged.message


def test_wrong_totals_of_a_root(store: Path) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        return add_leaf(ingest, store_file(ingest, b"file", b"12345")), Totals(0, 1, 2, 5)

    craft(store, tree)
    assert only(store).places == ["data@crafted"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda child: child._replace(sums=child.sums._replace(files=9)), "sums"),
        (lambda child: child._replace(last=child.last + b"x"), "sums"),
    ],
)
def test_wrong_sums_of_an_inner_node(
    store: Path, wrong: Callable[[Child], Child], message: str
) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        files = [store_file(ingest, b"%d" % i, b"12345") for i in range(4)]
        children = [
            Child(add_leaf(ingest, *part), part[-1].name, Sums(2, 0, 0, 2, 10))
            for part in (files[:2], files[2:])
        ]
        children[1] = wrong(children[1])
        node = ingest.add_object(Kind.TREE, encode_inner(1, children))  # type: ignore[attr-defined]
        totals = sum((child.sums for child in children), Sums(0, 0, 0, 0, 0)).totals()
        return node, totals

    craft(store, tree)
    damaged = only(store)
    assert message in damaged.message
    assert damaged.places == ["data@crafted"]


def test_names_that_do_not_ascend_from_node_to_node(store: Path) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        one, two, three = (store_file(ingest, name, b"12345") for name in (b"a", b"c", b"b"))
        children = [
            Child(add_leaf(ingest, one, two), b"c", Sums(2, 0, 0, 2, 10)),
            Child(add_leaf(ingest, three, two._replace(name=b"d")), b"d", Sums(2, 0, 0, 2, 10)),
        ]
        node = ingest.add_object(Kind.TREE, encode_inner(1, children))  # type: ignore[attr-defined]
        return node, Totals(0, 1, 4, 20)

    craft(store, tree)
    assert "ascend" in only(store).message


def test_a_missing_tree_and_a_wrong_kind(store: Path) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        lost = directory_entry(b"lost", object_id(b"lost"), Totals(0, 1, 0, 0))
        chunk = store_file(ingest, b"chunk", b"no tree").content
        wrong = directory_entry(b"wrong", chunk, Totals(0, 1, 0, 0))
        return add_leaf(ingest, lost, wrong), Totals(2, 3, 0, 0)

    craft(store, tree)
    places = {damaged.places[0]: damaged.message for damaged in found(store)}
    assert set(places) == {"data@crafted:lost", "data@crafted:wrong"}
    assert "missing" in places["data@crafted:lost"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 7}, "7 bytes"),
        ({"extra": Extra(holes=5).encode()}, "holes"),
        ({"extra": Extra(target=b"x").encode()}, "no file"),
        ({"mode": 0o120777}, "content"),
        ({"size": 0}, "content"),
        ({"content": NO_CONTENT}, "content"),
        ({"mode": 0o040755}, "content|totals|size"),
        ({"extra": b"\x09\0\0"}, "extra"),
    ],
)
def test_entries_that_can_not_be(store: Path, change: dict[str, object], message: str) -> None:
    def tree(repo: Repository, ingest: object) -> tuple[ObjectId, Totals]:
        good = store_file(ingest, b"good", b"12345")
        bad = store_file(ingest, b"bad", b"54321")._replace(**change)  # type: ignore[arg-type]
        size = bad.size if bad.is_file else 0
        return add_leaf(ingest, bad, good), Totals(0, 1, 2, 5 + size)

    craft(store, tree)
    damaged = only(store)
    assert damaged.places == ["data@crafted:bad"]
    assert any(word in damaged.message for word in message.split("|")), damaged.message


# ---------------------------------------------------------------------------------- inode numbers


def number_key_of(store: Path, revision: str, name: bytes) -> bytes:
    what = identity(entry(store, revision, name))
    with Repository.open(store, readonly=True) as repo:
        return number_key(repo.store.numbering.number(what))


def test_a_missing_number(store: Path) -> None:
    remove(store, "numbers", number_key_of(store, "v1", b"symlink"))
    damages = found(store)
    places = {place for damaged in damages for place in damaged.places}
    assert {damaged.kind for damaged in damages} == {"number"}
    assert {"data@v1:symlink", "data@v2:symlink"} <= places
    assert {place.partition(":")[2] for place in places} == {"symlink"}


def test_swapped_numbers(store: Path) -> None:
    one, other = (number_key_of(store, "v1", name) for name in (b"symlink", b"big"))
    table = dict(rows(store, "numbers"))
    put(store, "numbers", one, table[other])
    put(store, "numbers", other, table[one])
    places = {place for damaged in found(store) for place in damaged.places}
    assert {place.partition(":")[2] for place in places} == {"symlink", "big"}


@pytest.mark.parametrize("row", [b"x", b"\0" * 10, None])
def test_a_number_that_leads_elsewhere(store: Path, row: bytes | None) -> None:
    key = number_key_of(store, "v1", b"big")
    if row is None:  # the next entry of the same leaf
        old = dict(rows(store, "numbers"))[key]
        row = old[:8] + struct.pack("<H", struct.unpack("<H", old[8:])[0] + 1)
    put(store, "numbers", key, row)
    places = {place for damaged in found(store) for place in damaged.places}
    assert {place.partition(":")[2] for place in places} == {"big"}


def test_a_number_of_nobody_that_leads_nowhere(store: Path) -> None:
    put(store, "numbers", number_key(1 << 40), struct.pack("<IIH", 1, 1 << 30, 0))
    damaged = only(store)
    assert (damaged.kind, damaged.places) == ("table", [])


def test_a_damaged_row_of_a_leaf(store: Path) -> None:
    last_key, _ = rows(store, "leaves")[-1]
    put(store, "leaves", last_key, object_id(b"nothing"))
    damages = found(store)
    assert damages
    assert all(damaged.kind in {"number", "table"} for damaged in damages)
    assert any(damaged.places for damaged in damages)


@pytest.mark.parametrize("first", [None, 0, (1 << 40) + 1, 1])
def test_damaged_births(store: Path, first: int | None) -> None:
    value = b"short" if first is None else struct.pack(">Q32s", first, bytes(32))
    put(store, "births", number_key(1 << 40), value)
    damaged = only(store)
    assert (damaged.kind, damaged.places) == ("table", [])
    assert "'births' is damaged" in damaged.message


# ------------------------------------------------------------------------- references and commits


def test_a_missing_parent(store: Path) -> None:
    lost = object_id(b"lost")
    with Repository.open(store) as repo:
        oid = commit_with_parents(repo, {b"a": b"a"}, lost, time_ns=5)
        repo.set_branch("data", "crafted", oid, expected=None, why="test")
    damaged = only(store)
    assert damaged.kind == "commit"
    assert damaged.object == lost.hex()
    assert damaged.places == [f"data@{lost.hex()[:12]}"]
    assert oid.hex()[:12] in damaged.message


def test_a_damaged_commit(store: Path) -> None:
    oid = head(store, "v1")
    flip(store, oid)
    damages = found(store)
    assert {damaged.object for damaged in damages} == {oid.hex()}
    assert "data@v1" in damages[0].places


def ref_row(store: Path, name: bytes) -> tuple[bytes, bytes]:
    key = b"data\0" + name
    return key, dict(rows(store, "refs"))[key]


@pytest.mark.parametrize("at", [0, 5, 34, 45])
def test_a_damaged_reference(store: Path, at: int) -> None:
    key, row = ref_row(store, b"v2")
    put(store, "refs", key, row[:at] + bytes([row[at] ^ 0x55]) + row[at + 1 :])
    damaged = only(store)
    assert (damaged.kind, damaged.places) == ("reference", ["data@v2"])


def test_a_lost_reference(store: Path) -> None:
    remove(store, "refs", ref_row(store, b"v2")[0])
    damaged = only(store)
    assert damaged.places == ["data@v2"]
    assert "missing" in damaged.message


@pytest.mark.parametrize("which", [0, -1])
def test_a_lost_or_damaged_line_of_a_log(store: Path, which: int) -> None:
    key, row = [(k, v) for k, v in rows(store, "ref_log") if k.startswith(b"data\0main\0")][which]
    for value in (None, row[:-1], bytes([9]) + row[1:], row[:40] + b"x" * 8 + row[48:]):
        if value is None:
            remove(store, "ref_log", key)
        else:
            put(store, "ref_log", key, value)
        damages = found(store)
        assert {damaged.kind for damaged in damages} == {"reference"}
        assert {place for damaged in damages for place in damaged.places} == {"data@main"}


def test_a_lost_or_damaged_slot(store: Path) -> None:
    for key, row in rows(store, "slots")[:4]:
        for value in (None, row[:33], bytes([row[0] ^ 1]) + row[1:]):
            if value is None:
                remove(store, "slots", key)
            else:
                put(store, "slots", key, value)
            assert only(store).kind == "reference"
        put(store, "slots", key, row)


def test_a_lost_or_damaged_row_of_a_commit(store: Path) -> None:
    key = head(store, "v2")
    row = dict(rows(store, "commits"))[key]
    put(store, "commits", key, number_key(key_number(row) + 1))
    assert {damaged.kind for damaged in found(store)} == {"reference"}
    remove(store, "commits", key)
    assert {damaged.kind for damaged in found(store)} == {"reference"}


# --------------------------------------------------------------------------------------- overlays


def overlay(store: Path, branch: bytes = b"exp") -> bytes:
    return number_key(decode_header(dict(rows(store, "overlays"))[b"data\0" + branch]).id)


def inode_at(store: Path, path: bytes) -> tuple[bytes, InodeRow]:
    """Return the key and the row of an inode of the branch by the name in its row."""
    head = overlay(store)
    for key, value in rows(store, "overlay_inodes"):
        if key.startswith(head) and decode_inode(value).name == path and decode_inode(value).nlink:
            return key, decode_inode(value)
    raise AssertionError(path)


def change_inode(store: Path, where: bytes, **fields: object) -> None:
    key, row = inode_at(store, where)
    put(store, "overlay_inodes", key, encode_inode(row._replace(**fields)))  # type: ignore[arg-type]


NEW = "data@exp:new directory/new"


@pytest.mark.parametrize(
    ("name", "fields", "place"),
    [
        (b"new", {"nlink": 2}, NEW),
        (b"new", {"nlink": 0}, NEW),
        (b"new", {"content": object_id(b"lost")}, NEW),
        (b"new", {"content_bytes": 12, "visible": 5}, NEW),
        (b"new", {"name": b"elsewhere"}, "data@exp:new directory/elsewhere"),
        (b"large", {"holes": 5}, "data@exp:new directory/large"),
        (b"large", {"flags": 0}, "data@exp:new directory/large"),
        (b"big", {"patches": 1}, "data@exp:big"),
        (b"new directory", {"nlink": 7}, "data@exp:new directory"),
        (b"0010", {"mode": 0o040755}, "data@exp:many/0010"),
        (b"moved", {"parent": 1 << 61}, "data@exp"),
    ],
)
def test_a_damaged_inode_of_a_branch(
    store: Path, name: bytes, fields: dict[str, object], place: str
) -> None:
    change_inode(store, name, **fields)
    places = {place for damaged in found(store) for place in damaged.places}
    assert place in places
    assert all(place.startswith("data@exp") for place in places)


@pytest.mark.parametrize("row", [b"", b"x" * 200])
def test_an_inode_of_a_branch_that_can_not_be_decoded(store: Path, row: bytes) -> None:
    key, _ = inode_at(store, b"new")
    put(store, "overlay_inodes", key, row)
    damages = found(store)
    assert {damaged.kind for damaged in damages} == {"overlay"}
    assert any("new" in place for damaged in damages for place in damaged.places)


@pytest.mark.parametrize("name", [b"new", b"0010", b"new directory", b"text"])
def test_a_lost_inode_of_a_branch(store: Path, name: bytes) -> None:
    remove(store, "overlay_inodes", inode_at(store, name)[0])
    damages = found(store)
    assert {damaged.kind for damaged in damages} == {"overlay"}
    assert any(name.decode() in place for damaged in damages for place in damaged.places)


@pytest.mark.slow
def test_damaged_names_of_a_branch(store: Path) -> None:
    head = overlay(store)
    table = [(k, v) for k, v in rows(store, "overlay_names") if k.startswith(head)]
    for key, value in table:
        name = key[16:].decode("utf-8", "replace")
        for wrong in (number_key(NEW_INO | 999), b"short"):
            put(store, "overlay_names", key, wrong)
            damages = found(store)
            assert {damaged.kind for damaged in damages} == {"overlay"}, name
            assert all(p.startswith("data@exp") for d in damages for p in d.places)
            assert any(name in place for d in damages for place in d.places), (name, damages)
        put(store, "overlay_names", key, value)
    assert found(store) == []


@pytest.mark.slow
def test_any_lost_row_of_a_branch_is_found(store: Path) -> None:
    head = overlay(store)
    tables = "overlay_names overlay_links overlay_patches overlay_orphans".split()
    for table in tables:
        its = [(key, value) for key, value in rows(store, table) if key.startswith(head)]
        assert its, table
        for key, value in its:
            remove(store, table, key)
            damages = found(store)
            assert damages, (table, key)
            assert {damaged.kind for damaged in damages} == {"overlay"}
            assert all(p.startswith("data@exp") for d in damages for p in d.places)
            put(store, table, key, value)
    assert found(store) == []


def test_a_damaged_patch(store: Path) -> None:
    head = overlay(store)
    key, value = next(row for row in rows(store, "overlay_patches") if row[0].startswith(head))
    put(store, "overlay_patches", key, value[:100] + b"!" + value[101:])
    damaged = only(store)
    assert damaged.places == ["data@exp:big"]
    assert "4 KiB" in damaged.message


@pytest.mark.slow
def test_damaged_marks(store: Path) -> None:
    head = overlay(store)
    for key, value in [row for row in rows(store, "overlay_changes") if row[0].startswith(head)]:
        for wrong in (b"x", number_key(1 << 40) + value[8:]):
            put(store, "overlay_changes", key, wrong)
            damages = found(store)
            assert {damaged.kind for damaged in damages} == {"overlay"}
            assert all(p.startswith("data@exp") for d in damages for p in d.places)
        put(store, "overlay_changes", key, value)


def test_a_mark_without_an_inode_and_an_orphan_without_a_row(store: Path) -> None:
    head = overlay(store)
    put(store, "overlay_changes", head + b"i" + number_key(NEW_INO | 998), number_key(1))
    put(store, "overlay_orphans", head + number_key(NEW_INO | 997), b"")
    assert len(found(store)) == 2


def test_damaged_trees_of_a_branch(store: Path) -> None:
    key, value = next(
        row for row in rows(store, "overlay_trees") if row[0].startswith(overlay(store, b"half"))
    )
    put(store, "overlay_trees", key, object_id(b"lost") + value[32:])
    damaged = only(store)
    assert "missing" in damaged.message
    assert damaged.places[0].startswith("data@half")
    put(store, "overlay_trees", key, value[:-1] + b"\1")
    assert only(store).kind == "overlay"
    put(store, "overlay_trees", key, value[:-1])
    assert only(store).places[0].startswith("data@half")


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h._replace(head=object_id(b"lost")),
        lambda h: h._replace(origin=object_id(b"lost")),
        lambda h: h._replace(id=1000),
        lambda h: h._replace(dirty=False),
        lambda h: h._replace(next_ino=2),
    ],
)
def test_damaged_headers(store: Path, change: Callable[[object], object]) -> None:
    key = b"data\0exp"
    header = decode_header(dict(rows(store, "overlays"))[key])
    put(store, "overlays", key, encode_header(change(header)))  # type: ignore[arg-type]
    damages = found(store)
    assert damages
    for damaged in damages:
        assert damaged.kind == "overlay" or damaged.object == object_id(b"lost").hex()
    assert any(p.startswith("data@exp") for d in damages for p in d.places)
    put(store, "overlays", key, b"x")
    assert only(store).places == ["data@exp"]


def test_rows_of_an_overlay_that_was_given_up_are_no_damage(store: Path) -> None:
    put(store, "overlay_names", number_key(1000) + number_key(ROOT_INO) + b"x", number_key(5))
    put(store, "overlay_inodes", number_key(1000) + number_key(ROOT_INO), b"x")
    assert found(store) == []


# ------------------------------------------------------------------------------------------ more


def test_damage_in_many_places_is_counted(store: Path) -> None:
    oid = entry(store, "v1", b"one").content
    with Repository.open(store) as repo:
        for number in range(8):
            commit_tree(repo, {b"%d" % number: b"linked"}, data_set="other")
    remove(store, "objects", oid)
    damaged = only(store)
    assert len(damaged.places) == 20
    assert damaged.more > 2


def test_the_store_itself(store: Path) -> None:
    put(store, "meta", b"secret", b"short")
    damaged = only(store)
    assert damaged.kind == "lmdb"
    assert "identity" in damaged.message


@pytest.mark.slow
def test_lmdb_pages(store: Path) -> None:
    """Pages of LMDB's trees that are zeroed: whatever reading them does, it is told."""
    data = store / "data.mdb"
    original = data.read_bytes()
    for page in range(2, len(original) // 4096, 29):
        start = page * 4096
        if original[start + 10] & 0x04:  # an overflow page: a block's bytes
            continue
        with data.open("r+b") as file:
            file.seek(start)
            file.write(bytes(4096))
        check_store(store, data=False)  # a page that is free is no damage, so only: it ends
        data.write_bytes(original)
