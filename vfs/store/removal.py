"""Removing exactly these objects, now, so that no block of the store has their bytes any more.

Other objects may be compressed together with one of them: these are compressed anew, and moved. In
the blocks, where other segments lie beside it, zeros take the place of the old segment. LMDB writes
changed pages to other places of its file: what they held stays there until those are used again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.store.diskorder import Placed
from vfs.store.layout import (
    BLOCK_BYTES,
    Location,
    number_key,
    pack_location,
    unpack_location,
)
from vfs.store.numbers import next_number
from vfs.store.packing import Pack
from vfs.store.reader import Reader
from vfs.store.repack import rebuilt

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

SEGMENTS_AT_ONCE: Final = 32  # of 1 MiB at most: what one transaction moves and overwrites

_Segments = dict[tuple[int, int], list[Placed]]


def remove_objects(env: Environment, ids: Collection[ObjectId]) -> list[ObjectId]:
    """Remove objects, which need not be there; durable on return. Reads the whole index.

    Returns objects that were compressed together with one of them and are lost, as they were
    damaged. Nobody else may move or remove objects meanwhile (`vfs.repo.gc.lock`); whoever adds one
    of them anew while this runs has it removed, too. Raises StoreFull.
    """
    wanted = frozenset(ids)
    lost: list[ObjectId] = []
    while segments := _segments_of(env, wanted):
        groups = list(segments.values())
        for at in range(0, len(groups), SEGMENTS_AT_ONCE):
            lost += _remove(env, wanted, groups[at : at + SEGMENTS_AT_ONCE])
    return lost


def _segments_of(env: Environment, ids: Collection[ObjectId]) -> _Segments:
    """Return all objects of the segments that have one of *ids*."""
    table = env.tables["objects"]
    segments: _Segments = {}
    with env.read() as txn:
        rows = (txn.get(oid, db=table) for oid in ids)
        for place in (unpack_location(row) for row in rows if row is not None):
            segments[place.block, place.at] = []
        if segments:
            with txn.cursor(table) as cursor:
                for key, row in cursor:
                    place = unpack_location(row)
                    there = segments.get((place.block, place.at))
                    if there is not None:
                        start = place.block * BLOCK_BYTES + place.at
                        there.append(Placed(start, ObjectId(bytes(key)), place))
    return segments


def _remove(
    env: Environment, ids: Collection[ObjectId], groups: list[list[Placed]]
) -> list[ObjectId]:
    pack, lost = Pack(), []
    for group in groups:
        left = sorted(
            (one for one in group if one.oid not in ids), key=lambda one: one.place.offset
        )
        if not left:
            continue
        with env.read() as txn:
            stored = Reader(env, cache_bytes=0).stored(txn, left[0].place)
        try:
            pack.add(rebuilt(left, stored))
        except CorruptObject:
            lost += [one.oid for one in left]
    env.require_room()
    env.write(partial(_replace, env, groups, pack))
    return lost


def _replace(env: Environment, groups: list[list[Placed]], pack: Pack, txn: Txn) -> None:
    objects, blocks = env.tables["objects"], env.tables["blocks"]
    first = next_number(txn, blocks)
    moved = {oid: row for oid, row, _ in pack.index_rows(first)}
    pack.put_blocks(txn, blocks, first)
    for one in (one for group in groups for one in group):
        there = txn.get(one.oid, db=objects)
        if there is None or bytes(there) != pack_location(one.place):
            continue  # it was stored anew meanwhile
        if one.oid in moved:
            txn.put(one.oid, moved[one.oid], db=objects)
        else:
            txn.delete(one.oid, db=objects)
    for group in groups:
        for number, start, end in _parts(group[0].place):
            value = txn.get(number_key(number), db=blocks)
            if value is not None:
                changed = bytearray(value)
                changed[start:end] = bytes(len(changed[start:end]))
                txn.put(number_key(number), bytes(changed), db=blocks)


def _parts(place: Location) -> Iterator[tuple[int, int, int]]:
    """Yield the blocks of a segment, and from where to where it is in them."""
    number, start, left = place.block, place.at, place.stored
    while left > 0:
        end = min(start + left, BLOCK_BYTES)
        yield number, start, end
        left -= end - start
        number, start = number + 1, 0
