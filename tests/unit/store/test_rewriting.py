"""Taking objects out of blocks: their bytes are gone, all else is as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from tests.support.stores import damage, locate
from vfs.errors import Conflict, CorruptObject, Erased, ErasedMeanwhile
from vfs.ids import ObjectId, object_id
from vfs.repo.fsck import check_store
from vfs.store.layout import Kind, number_key, unpack_location
from vfs.store.store import Store

MARKER = bytes(random.Random(1).randbytes(16))
TEXT = b"".join(b"a line of text, number %d\n" % number for number in range(3000))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store") as store:
        yield store


def add(store: Store, files: list[list[bytes]]) -> list[list[ObjectId]]:
    """Add files of chunks; the chunks of each are compressed together."""
    with store.ingest() as ingest:
        ids = iter(
            ingest.add_chunks([chunk for file in files for chunk in file], [len(f) for f in files])
        )
        return [[next(ids) for _ in file] for file in files]


def erase(store: Store, ids: list[ObjectId], reason: str = "asked to") -> list[ObjectId]:
    """Erase objects; return those that are damaged."""
    number = store.erasures.begin({"reason": reason}, time_ns=1, who="me")
    store.erasures.mark(number, ids, store.erasures.moment())
    damaged = store.overwrite_erased(lambda _: None)
    store.erasures.end(number, {}, time_ns=2, who="me")
    return damaged


def blocks(store: Store) -> dict[int, bytes]:
    with store._env.read() as txn, txn.cursor(store._env.tables["blocks"]) as cursor:
        return {int.from_bytes(key, "big"): bytes(value) for key, value in cursor}


def stored_bytes(store: Store) -> bytes:
    """Return all that the blocks hold, as it is and decompressed wherever a frame begins."""
    raw = b"".join(blocks(store).values())
    found = [raw]
    at = raw.find(zstandard.FRAME_HEADER)
    while at >= 0:
        with suppress(zstandard.ZstdError):
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(raw[at:]))
        at = raw.find(zstandard.FRAME_HEADER, at + 1)
    return b"".join(found)


def secret(number: int, size: int) -> bytes:
    """Return bytes that don't compress, with the marker in them."""
    data = bytearray(random.Random(number).randbytes(size))
    data[size // 2 : size // 2 + len(MARKER)] = MARKER
    return bytes(data)


def test_what_shares_a_compressed_segment_is_moved(store: Store) -> None:
    before, behind = TEXT[:30_000], TEXT[30_000:60_000]
    (ids,) = add(store, [[before, MARKER + TEXT, behind]])
    assert locate(store, ids[0])[2:6] == locate(store, ids[1])[2:6]
    assert MARKER in stored_bytes(store)
    erase(store, [ids[1]])
    assert MARKER not in stored_bytes(store)
    reader = store.reader()
    assert [reader.get(ids[0]), reader.get(ids[2])] == [before, behind]
    with pytest.raises(Erased, match="erased on 1970-01-01: asked to"):
        reader.get(ids[1])
    assert check_store(store.path, data=True).is_clean


def test_what_shares_a_block_stays_where_it_is(store: Store) -> None:
    parts = [random.Random(10).randbytes(3000), secret(1, 3000), random.Random(11).randbytes(3000)]
    ids = [oid for (oid,) in add(store, [[part] for part in parts])]
    places = [locate(store, oid) for oid in ids]
    assert len({place.block for place in places}) == 1
    erase(store, [ids[1]])
    assert MARKER not in stored_bytes(store)
    assert [locate(store, oid) for oid in ids[::2]] == places[::2]
    assert [store.reader().get(oid) for oid in ids[::2]] == parts[::2]


def test_blocks_of_which_nothing_is_left_go_but_the_last_number_stays(store: Store) -> None:
    ((oid,),) = add(store, [[secret(1, 100_000)]])
    last = max(blocks(store))
    erase(store, [oid])
    assert blocks(store) == {last: b""}
    ((new,),) = add(store, [[b"more"]])
    assert locate(store, new).block == last + 1
    assert check_store(store.path, data=True).is_clean


def test_many_at_random(store: Store) -> None:
    shuffle = random.Random(5)
    files = []
    for number in range(60):
        kind = shuffle.choice(["text", "noise", "tiny"])
        count = shuffle.randint(1, 6)
        if kind == "text":
            start = shuffle.randrange(1000)
            files.append([TEXT[start + n * 9000 :][:9000] + b"%d" % number for n in range(count)])
        else:
            size = 40_000 if kind == "noise" else 30
            files.append([shuffle.randbytes(size) for _ in range(count)])
    ids = [oid for file in add(store, files) for oid in file]
    contents = {oid: store.reader().get(oid) for oid in ids}
    gone: set[ObjectId] = set()
    for _ in range(4):
        left = sorted(set(ids) - gone)
        some = shuffle.sample(left, len(left) // 4)
        erase(store, some)
        gone.update(some)
        reader = store.reader()
        for oid in ids:
            if oid in gone:
                with pytest.raises(Erased):
                    reader.get(oid)
            else:
                assert reader.get(oid) == contents[oid]
        held = stored_bytes(store)
        assert not [oid for oid in gone if contents[oid] in held and len(contents[oid]) > 30]
    assert check_store(store.path, data=True).is_clean


def test_nothing_is_overwritten_where_the_object_is_not(store: Store) -> None:
    """The place may be what is damaged: what is there then is somebody else's."""
    ((one,), (other,)) = add(store, [[secret(1, 3000)], [secret(2, 3000)]])
    wrong = locate(store, one)._replace(at=100)
    number = store.erasures.begin({"reason": "r"}, time_ns=1, who="me")

    def misplace(txn: object) -> None:
        from vfs.store.layout import pack_location

        txn.put(one, pack_location(wrong), db=store._env.tables["objects"])  # type: ignore[attr-defined]

    store._env.write(misplace)
    store.erasures.mark(number, [one], store.erasures.moment())
    assert store.overwrite_erased(lambda _: None) == [one]
    assert store.reader().get(other) == secret(2, 3000)


def test_a_damaged_neighbour_is_no_obstacle(store: Store) -> None:
    parts = [random.Random(2).randbytes(9000), secret(3, 9000), random.Random(4).randbytes(9000)]
    (ids,) = add(store, [parts])
    assert not locate(store, ids[0]).compressed
    damage(store, ids[0])
    assert erase(store, [ids[1]]) == []
    assert MARKER not in stored_bytes(store)
    assert store.reader().get(ids[2]) == parts[2]
    with pytest.raises(CorruptObject, match="damaged"):
        store.reader().get(ids[0])


def test_an_object_with_a_tombstone_is_refused(store: Store) -> None:
    ((oid,), (other,)) = add(store, [[b"secret"], [b"other"]])
    erase(store, [oid])
    with store.ingest() as ingest:
        with pytest.raises(Erased, match="asked to"):
            ingest.add_chunks([b"secret"])
        assert ingest.add_chunks([b"new", b"other"]) == [object_id(b"new"), other]
    with store.ingest(when_erased="note") as ingest:
        assert ingest.add_chunks([b"secret", b"newer"]) == [oid, object_id(b"newer")]
        assert list(ingest.erased) == [oid]
    with pytest.raises(Erased):
        store.reader().get(oid)
    assert store.reader().get(object_id(b"newer")) == b"newer"


def test_it_can_be_stored_again_and_the_record_says_so(store: Store) -> None:
    ((oid,),) = add(store, [[b"secret"]])
    erase(store, [oid])
    with store.ingest(when_erased="store", who="me@host") as ingest:
        ingest.add_chunks([b"secret", b"more"])
    assert store.reader().get(oid) == b"secret"
    assert store.erasures.reason(oid) is None
    _, line = next(iter(store.audit.lines()))
    assert (line.action, line.who) == ("erase.allow", "me@host")
    assert line.facts["objects"] == [oid.hex()]


def test_nothing_is_stored_again_while_an_erase_is_under_way(store: Store) -> None:
    store.erasures.begin({"reason": "r"}, time_ns=1, who="me")
    with pytest.raises(Conflict, match="not finished"):
        store.ingest(when_erased="store")
    with pytest.raises(Conflict, match="not finished"):
        store.erasures.begin({"reason": "r"}, time_ns=1, who="me")


def test_what_was_stored_before_an_erase_can_not_be_written_after_it(store: Store) -> None:
    """Its writer may know objects by now that are gone."""
    ((oid,),) = add(store, [[b"secret"]])
    ingest = store.ingest()
    assert ingest.add_chunks([b"secret"]) == [oid]
    erase(store, [oid])
    ingest.add_chunks([b"new"])
    with pytest.raises(ErasedMeanwhile):
        ingest.flush()
    with pytest.raises(ErasedMeanwhile):
        ingest.__exit__(None, None, None)
    with pytest.raises(CorruptObject, match="missing"):
        store.reader().get(object_id(b"new"))


def test_tombstones_need_that_nothing_came_meanwhile(store: Store) -> None:
    ((oid,),) = add(store, [[b"secret"]])
    store.refs.add_data_set("data", 1)
    moment = store.erasures.moment()
    with store.ingest() as ingest:
        ingest.add_object(Kind.COMMIT, b"any")
    from vfs.store.refs import RefChange

    change = RefChange(data_set="data", name="t", kind="tag", new=object_id(b"any"))
    store.refs.move([change], time_ns=1, who="w", why="y")
    number = store.erasures.begin({"reason": "r"}, time_ns=1, who="me")
    with pytest.raises(Conflict, match="meanwhile"):
        store.erasures.mark(number, [oid], moment)
    assert store.reader().get(oid) == b"secret"
    store.erasures.mark(number, [oid], store.erasures.moment())
    with store._env.read() as txn:
        row = txn.get(oid, db=store._env.tables["erased"])
        assert row is not None
        assert bytes(row[:8]) == number_key(number)
        assert unpack_location(row[8:]).size == 6
