"""Taking objects out of blocks: their bytes are overwritten, and what shares a segment moves.

Segments are compressed as a whole, so the objects that stay are packed into a new one, at the end
of the table. One transaction puts it there, points the index to it, and overwrites the old
segment: the blocks that it filled go, of others it had a part of, that part becomes zeros. So
before and after it, everything that lives can be read, and what shares only a block is not moved.

Knows nothing of why objects go: whoever calls keeps the index free of those that are to go.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.store.compression import compress_all, decompress
from vfs.store.layout import BLOCK_BYTES, Kind, Location, number_key, unpack_location
from vfs.store.numbers import next_number
from vfs.store.packing import Pack, Segment
from vfs.store.reader import Reader

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Table, Txn

BATCH_BYTES: Final = 8 << 20  # of segments, in one transaction
BATCH_SEGMENTS: Final = 500

_WHERE: Final = struct.Struct("<Q")  # an index row's first field: block, and place in it

Settle = Callable[["Txn", list[ObjectId]], None]
_Row = tuple[ObjectId, bytes]


class _Doomed(NamedTuple):
    """A segment that is to go."""

    place: Location  # of any of its objects
    dead: list[ObjectId]
    rows: list[_Row]  # of the index, of what stays
    moved: Segment | None  # what stays, packed anew


def remove_objects(
    env: Environment,
    dead: Mapping[ObjectId, Location],
    settle: Settle,
    on_progress: Callable[[int], None],
) -> list[ObjectId]:
    """Remove the bytes of the *dead*, which are at these places, from the blocks.

    *settle* is called with those that are done, in the transaction that removes them; *on_progress*
    with their number, behind it. Returns those that are not at their places: there, nothing was
    touched. May be called by several processes at once, and again after it was interrupted.
    Raises StoreFull.
    """
    segments: dict[int, list[ObjectId]] = defaultdict(list)
    for oid, place in dead.items():
        segments[_where(place)].append(oid)
    staying = _staying(env, segments, dead)
    reader = Reader(env, cache_bytes=0)
    damaged: list[ObjectId] = []
    batch: list[_Doomed] = []
    size = 0
    for where in sorted(segments, key=lambda where: dead[segments[where][0]][2:4]):
        try:
            doomed = _prepare(env, reader, dead, segments[where], staying.get(where, []))
        except CorruptObject:
            damaged += segments[where]
            continue
        batch.append(doomed)
        size += doomed.place.stored
        if size >= BATCH_BYTES or len(batch) >= BATCH_SEGMENTS:
            _remove(env, batch, settle, on_progress)
            batch, size = [], 0
    _remove(env, batch, settle, on_progress)
    return damaged


def _where(place: Location) -> int:
    """Return what the first field of an index row says of a segment."""
    return place.block | place.at << 40


def _staying(
    env: Environment, segments: Mapping[int, object], dead: Mapping[ObjectId, Location]
) -> dict[int, list[_Row]]:
    """Return the index rows of what shares a segment with the dead. Reads the whole index."""
    found: dict[int, list[_Row]] = defaultdict(list)
    with env.read() as txn, txn.cursor(env.tables["objects"]) as cursor:
        for key, value in cursor:
            (where,) = _WHERE.unpack_from(value)
            if where in segments:
                oid = ObjectId(bytes(key))
                if oid not in dead:
                    found[where].append((oid, bytes(value)))
    return found


def _prepare(
    env: Environment,
    reader: Reader,
    dead: Mapping[ObjectId, Location],
    ids: list[ObjectId],
    rows: list[_Row],
) -> _Doomed:
    """Read a segment and pack what stays. Raises CorruptObject unless all the dead are in it."""
    place = dead[ids[0]]
    with env.read() as txn:
        stored = bytes(reader.stored(txn, place, 0, place.stored))
    # A row that is damaged must not lead to bytes of somebody else being overwritten.
    raw = memoryview(decompress(stored, place.raw, exact=True) if place.compressed else stored)
    for oid in ids:
        if _object(raw, dead[oid]) != oid:
            raise CorruptObject(f"the object {oid.hex()} is damaged")
    kept: list[tuple[ObjectId, int]] = []
    parts: list[memoryview] = []
    sound: list[_Row] = []
    for oid, row in rows:
        at = unpack_location(memoryview(row))
        if _object(raw, at) == oid:  # what is damaged can't be moved, and stays damaged
            kept.append((oid, at.size))
            parts.append(raw[at.offset : at.offset + at.size])
            sound.append((oid, row))
    return _Doomed(place, ids, sound, _segment(Kind(place.kind), kept, parts))


def _object(raw: memoryview, place: Location) -> ObjectId:
    return object_id(raw[place.offset : place.offset + place.size])


def _segment(
    kind: Kind, objects: list[tuple[ObjectId, int]], parts: list[memoryview]
) -> Segment | None:
    if not objects:
        return None
    body = b"".join(parts)
    (packed,) = compress_all([body])
    return Segment(
        kind, objects, len(body), body if packed is None else packed, packed is not None, None
    )


def _remove(
    env: Environment,
    batch: list[_Doomed],
    settle: Settle,
    on_progress: Callable[[int], None],
) -> None:
    if not batch:
        return
    env.require_room()
    gone = [oid for doomed in batch for oid in doomed.dead]

    def change(txn: Txn) -> None:
        blocks, objects = env.tables["blocks"], env.tables["objects"]
        pack = Pack()
        before: dict[ObjectId, bytes] = {}
        for doomed in batch:
            if doomed.moved is not None:
                pack.add(doomed.moved)
                before |= doomed.rows
        first = next_number(txn, blocks)
        pack.put_blocks(txn, blocks, first)
        for oid, row, _ in pack.index_rows(first):
            # Unless somebody has moved it meanwhile.
            if bytes(txn.get(oid, db=objects) or b"") == before[oid]:
                txn.put(oid, row, db=objects)
        _overwrite(txn, blocks, [doomed.place for doomed in batch])
        settle(txn, gone)

    env.write(change)
    on_progress(len(gone))


def _overwrite(txn: Txn, blocks: Table, places: list[Location]) -> None:
    """Overwrite segments; blocks of which nothing is left go."""
    left: dict[int, bytearray] = {}
    covered: dict[int, int] = defaultdict(int)
    for place in places:
        for block, start, length in _parts(place):
            if block not in left:
                left[block] = bytearray(txn.get(number_key(block), db=blocks) or b"")
            there = min(length, max(len(left[block]) - start, 0))
            left[block][start : start + there] = bytes(there)
            covered[block] += there
    with txn.cursor(blocks) as cursor:
        last = bytes(cursor.key()) if cursor.last() else b""
    for block, zeros in left.items():
        key = number_key(block)
        if covered[block] < len(zeros):
            txn.put(key, bytes(zeros), db=blocks)
        elif key == last:
            txn.put(key, b"", db=blocks)  # its number must not come back
        else:
            txn.delete(key, db=blocks)


def _parts(place: Location) -> Iterator[tuple[int, int, int]]:
    """Yield the blocks that a segment is in, where it begins in each, and how many bytes of it."""
    block, start, rest = place.block, place.at, place.stored
    while rest > 0:
        length = min(rest, BLOCK_BYTES - start)
        yield block, start, length
        rest -= length
        block, start = block + 1, 0
