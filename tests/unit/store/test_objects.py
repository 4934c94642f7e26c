"""Objects: stored once, verified at every read, damage stays where it is."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.support.stores import damage, file_offset, flip_byte, locate
from tests.support.trees import file
from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.model.node import encode_leaf, identity
from vfs.store.layout import OBJECT_MAX_BYTES, Kind
from vfs.store.store import Store

RANDOM = random.Random(3)
TEXT = b"".join(b"line %d\n" % i for i in range(5000))


def add(store: Store, *chunks: bytes) -> list[ObjectId]:
    with store.ingest() as ingest:
        return ingest.add_chunks(chunks)


def test_nothing_is_stored_twice(store: Store) -> None:
    chunks = [RANDOM.randbytes(50_000) for _ in range(5)]
    add(store, *chunks, *chunks)
    with store.ingest() as ingest:
        ingest.add_chunks(chunks[::-1])
        ingest.flush()
        assert ingest.stored_bytes == 0
    counts = store.count_objects()[Kind.CHUNK]
    assert (counts.objects, counts.bytes, counts.stored) == (5, 250_000, 250_000)


def test_two_threads_store_one_chunk_once(store: Store) -> None:
    chunks = [RANDOM.randbytes(20_000) for _ in range(40)]
    with store.ingest() as ingest:
        threads = [
            threading.Thread(target=lambda: [ingest.add_chunks([chunk]) for chunk in chunks])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ingest.flush()
        assert ingest.stored_bytes == 40 * 20_000
    assert store.count_objects()[Kind.CHUNK].objects == 40


@pytest.mark.parametrize("runs", [None, [10], [3, 0, 7], [1] * 10])
def test_chunks_of_one_file_come_back_one_by_one(store: Store, runs: list[int] | None) -> None:
    chunks = [TEXT[i:] + b"%d" % i for i in range(10)]
    with store.ingest() as ingest:
        ids = ingest.add_chunks([*chunks, *chunks], None if runs is None else [*runs, *runs])
    reader = store.reader()
    for _ in range(2):
        assert [reader.get(oid) for oid in ids] == [*chunks, *chunks]


def test_large_runs_come_back(store: Store) -> None:
    chunks = [TEXT * 4 + RANDOM.randbytes(50_000) for _ in range(20)]  # above one segment
    with store.ingest() as ingest:
        ids = ingest.add_chunks(chunks, [20])
    for cache_bytes in (0, 1 << 20, 64 << 20):
        reader = store.reader(cache_bytes=cache_bytes)
        assert [reader.get(oid) for oid in ids[::-1]] == chunks[::-1]


def test_compression_is_used_where_it_helps(store: Store) -> None:
    text, noise = add(store, TEXT, RANDOM.randbytes(len(TEXT)))
    assert locate(store, text).compressed
    assert not locate(store, noise).compressed
    assert locate(store, text).stored < len(TEXT) / 3
    assert store.object_size(text) == store.object_size(noise) == len(TEXT)
    assert store.object_size(ObjectId(bytes(32))) is None


def test_an_object_has_a_largest_size(store: Store) -> None:
    with store.ingest() as ingest, pytest.raises(ValueError, match="an object of"):
        ingest.add_chunks([bytes(OBJECT_MAX_BYTES + 1)])


def test_an_object_survives_closing(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        ids = add(store, b"one", TEXT)
    with Store.open(tmp_path / "s") as store:
        assert [store.reader().get(oid) for oid in ids] == [b"one", TEXT]


@pytest.mark.parametrize("body", [TEXT, RANDOM.randbytes(40_000)], ids=["compressed", "raw"])
@pytest.mark.parametrize("where", [0.0, 0.3, 0.999])
def test_damage_is_noticed_and_stays_where_it_is(store: Store, body: bytes, where: float) -> None:
    others = [b"other %d" % i + body for i in range(20)]
    ids = add(store, *others[:10], body, *others[10:])
    damaged = ids.pop(10)
    place = locate(store, damaged)
    flip_byte(store.path / "data.mdb", file_offset(store, damaged) + int(place.stored * where))
    reader = store.reader()
    for _ in range(2):  # never retried into something else, never kept
        with pytest.raises(CorruptObject):
            reader.get(damaged)
        assert [reader.get(oid) for oid in ids] == others


def test_every_byte_of_a_compressed_object_counts(store: Store) -> None:
    """No flipped byte gives wrong data; a few give the same data (unused bits of the frame)."""
    body = TEXT[:300]
    (oid,) = add(store, body)
    start, place = file_offset(store, oid), locate(store, oid)
    assert place.compressed
    noticed = 0
    for at in range(place.stored):
        flip_byte(store.path / "data.mdb", start + at)
        try:
            assert store.reader().get(oid) == body
        except CorruptObject:
            noticed += 1
        flip_byte(store.path / "data.mdb", start + at)
    assert noticed > place.stored * 0.9
    assert store.reader().get(oid) == body


def test_damaged_objects_are_counted_all_the_same(store: Store) -> None:
    (oid,) = add(store, TEXT)
    damage(store, oid)
    assert store.count_objects()[Kind.CHUNK].objects == 1


def test_a_failed_ingest_ends(store: Store) -> None:
    def fail() -> None:
        with store.ingest() as ingest:
            ingest.add_chunks([b"some"])
            raise KeyError

    before = threading.enumerate()
    with pytest.raises(KeyError):
        fail()
    assert threading.enumerate() == before


def test_an_ingest_can_go_on_after_a_flush(store: Store) -> None:
    with store.ingest() as ingest:
        for number in range(5):
            (oid,) = ingest.add_chunks([b"%d" % number])
            ingest.flush()
            assert store.reader().get(oid) == b"%d" % number


def test_a_file_that_looks_like_a_directory_hides_none(store: Store) -> None:
    """Somebody who can add files adds the bytes of a leaf before the directory is stored."""
    for number, together in enumerate((False, True)):
        entry = file(b"name%d" % number, number)
        leaf = encode_leaf([entry])
        with store.ingest() as ingest:
            ingest.add_chunks([leaf])
            if not together:
                ingest.flush()
            assert ingest.add_object(Kind.TREE, leaf) == object_id(leaf)
        inode = store.numbering.number(identity(entry))
        assert store.numbering.locate(inode) == (object_id(leaf), 0)
        assert store.reader().get(object_id(leaf)) == leaf


def test_a_scratch_map_is_a_sorted_map(store: Store) -> None:
    rows = {RANDOM.randbytes(8): RANDOM.randbytes(9) for _ in range(20_000)}
    with store.scratch() as scratch:
        for key, value in rows.items():
            scratch.put(key, value)
        assert len(scratch) == len(rows)
        assert list(scratch.items()) == sorted(rows.items())
        prefix = min(rows)[:1]
        assert list(scratch.items(prefix)) == sorted(i for i in rows.items() if i[0][:1] == prefix)
        gone = max(rows)
        assert scratch.pop(gone) == rows[gone]
        assert scratch.pop(gone) is None
        assert scratch.get(gone) is None
        assert scratch.get(min(rows)) == rows[min(rows)]
    assert not list((store.path / "tmp").iterdir())


def test_a_row_that_is_cut_short_is_damage(store: Store) -> None:
    with store.ingest() as ingest:
        (oid,) = ingest.add_chunks([b"some"])
    store._env.write(lambda txn: txn.put(oid, b"", db=store._env.tables["objects"]))
    with pytest.raises(CorruptObject), store.ingest() as ingest:
        ingest.add_chunks([b"some"])
