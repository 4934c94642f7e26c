"""Removing exactly some objects: they are gone from all blocks, and their neighbours are not."""

from __future__ import annotations

import random

from tests.support.garbage import damages
from tests.support.stores import damage, locate
from vfs.store.store import Store

NOISE = random.Random(3)
SECRET = b"the secret of the store, which has to go" * 50


def all_blocks(store: Store) -> bytes:
    with store.held() as held:
        return b"".join(bytes(value) for _, value in held.rows("blocks"))


def test_it_is_gone_and_its_neighbours_are_not(store: Store) -> None:
    beside = [NOISE.randbytes(9000) for _ in range(8)]
    with store.ingest() as ingest:
        ids = ingest.add_chunks([*beside[:4], NOISE.randbytes(3000) + SECRET, *beside[4:]])
    gone = ids.pop(4)
    stored = all_blocks(store)
    place = locate(store, gone)
    start = (place.block - 1) * 16_368 + place.at
    segment = stored[start : start + place.stored]
    assert segment in stored
    assert store.remove_objects([gone]) == []
    assert segment not in all_blocks(store)
    assert segment[:64] not in all_blocks(store)
    reader = store.reader()
    assert not reader.has(gone)
    assert [reader.get(oid) for oid in ids] == beside
    assert damages(store.path) == []


def test_what_is_compressed_with_it_is_compressed_anew(store: Store) -> None:
    texts = [b"%d and so on, " % number * 4000 for number in range(5)]
    with store.ingest() as ingest:
        ids = ingest.add_chunks(texts, [5])
    place = locate(store, ids[0])
    assert all(locate(store, oid).block == place.block for oid in ids)
    assert store.remove_objects(ids[1:3]) == []
    reader = store.reader()
    assert [reader.has(oid) for oid in ids] == [True, False, False, True, True]
    assert [reader.get(ids[at]) for at in (0, 3, 4)] == [texts[at] for at in (0, 3, 4)]
    assert locate(store, ids[0]).raw == sum(len(texts[at]) for at in (0, 3, 4))
    assert damages(store.path) == []


def test_what_is_not_there_is_no_error(store: Store) -> None:
    with store.ingest() as ingest:
        ids = ingest.add_chunks([b"one"])
    store.remove_objects(ids)
    assert store.remove_objects(ids) == []


def test_damaged_neighbours_are_named(store: Store) -> None:
    texts = [NOISE.randbytes(20_000) + bytes(80_000) for _ in range(3)]
    with store.ingest() as ingest:
        ids = ingest.add_chunks(texts, [3])
    assert locate(store, ids[0]).compressed
    damage(store, ids[1])
    assert set(store.remove_objects([ids[0]])) == set(ids[1:])
    assert not store.reader().has(ids[0])
