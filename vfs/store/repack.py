"""Giving back the room of objects that are gone: blocks go whole, or what is left in them is moved.

An object is found by its row, so moving one is putting its segment into a new block and its row, in
one transaction. The old block goes in the same: whoever reads in between has a snapshot. Numbers of
blocks never come back, so no reader's memory of a place is ever wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.store.compression import compress_all, decompress
from vfs.store.diskorder import DiskOrder, Placed
from vfs.store.layout import (
    BLOCK_BYTES,
    Kind,
    key_number,
    number_key,
    pack_location,
    unpack_location,
)
from vfs.store.numbers import next_number
from vfs.store.packing import Pack, Segment
from vfs.store.reader import Reader

if TYPE_CHECKING:
    import lmdb

    from vfs.store.environment import Environment, Txn

log = logging.getLogger(__name__)

BLOCKS_AT_ONCE: Final = 2_000
"""Blocks that one transaction removes at most: LMDB notes each of their pages."""

MOVED_BYTES: Final = 8 << 20  # in one transaction


class Extent(NamedTuple):
    """Blocks that hang together, as segments go over from one to the next, and what is in them."""

    first: int
    last: int
    segments: list[list[Placed]]

    @property
    def live_bytes(self) -> int:
        """Return about how many of the stored bytes are of objects that there are."""
        return sum(
            segment[0].place.stored * live_raw_bytes(segment) // max(segment[0].place.raw, 1)
            for segment in self.segments
        )


@dataclass(slots=True)
class Repacked:
    """What was done to blocks."""

    freed: int = 0  # bytes of blocks that went, less those of new ones
    rewritten: int = 0  # blocks of which something was moved
    damaged: int = 0  # blocks that stay, as something in them can't be verified


def live_raw_bytes(segment: list[Placed]) -> int:
    """Return the bytes, before compression, of the objects of a segment that there are."""
    return sum(placed.place.size for placed in segment)


class Repacker:
    """Removes and rewrites blocks of one store. For one thread, in one process at a time."""

    def __init__(
        self, env: Environment, directory: Path, on_block: Callable[[int, int], None]
    ) -> None:
        """*directory* is for files without a name; *on_block* is told how far it is, of how far."""
        self._env = env
        self._directory = directory
        self._on_block = on_block
        self._objects, self._blocks = env.tables["objects"], env.tables["blocks"]
        self._last = 0  # block that was there when the index was read
        self.done = Repacked()

    def run(self, share: float) -> Repacked:
        """Remove blocks without objects; rewrite those where they take less than *share* of 1.

        A *share* of 1 leaves no byte of an object that is gone, whatever that costs.
        Raises StoreFull where there is no room to rewrite; what can be removed is gone by then.
        """
        with self._order() as order:
            self._remove_dead(order)
            waiting: list[Extent] = []
            size = 0
            for extent in _extents(order):
                self._on_block(extent.last, self._last)
                if self._is_sparse(extent, share):
                    waiting.append(extent)
                    size += extent.live_bytes
                if size >= MOVED_BYTES:
                    self._move(waiting)
                    waiting, size = [], 0
            self._move(waiting)
        return self.done

    def _order(self) -> DiskOrder:
        """Return all objects in the order of the disk."""
        with self._env.read() as txn:
            self._last = next_number(txn, self._blocks) - 1
            order = DiskOrder(self._directory, self._last)
            with txn.cursor(self._objects) as cursor:
                for key, row in cursor:
                    order.add(ObjectId(bytes(key)), unpack_location(row), row)
        return order

    # blocks without objects

    def _remove_dead(self, order: DiskOrder) -> None:
        next_block = 0
        for extent in _extents(order):
            self._on_block(extent.first, self._last)
            if extent.first > next_block:
                self._remove_blocks(next_block, extent.first - 1)
            next_block = extent.last + 1
        if next_block <= self._last:
            self._remove_blocks(next_block, self._last)

    def _remove_blocks(self, first: int, last: int) -> None:
        """Remove the blocks from *first* to *last*, both included, as far as they are there."""
        start: int | None = first
        while start is not None:
            start = self._env.write(partial(self._remove_some, start, last))

    def _remove_some(self, first: int, last: int, txn: Txn) -> int | None:
        with txn.cursor(self._blocks) as cursor:
            more = cursor.set_range(number_key(first))
            for _ in range(BLOCKS_AT_ONCE):
                if not more or key_number(cursor.key()) > last:
                    return None
                self._remove_block(cursor, txn)
                more = bool(cursor.key())
            return key_number(cursor.key()) if more else None

    def _remove_block(self, cursor: lmdb.Cursor[memoryview], txn: Txn) -> None:
        """Remove the block at *cursor*, which moves on to the next."""
        key, size = bytes(cursor.key()), len(cursor.value())
        self.done.freed += size
        if key_number(key) + 1 < next_number(txn, self._blocks):
            cursor.delete()
        else:
            txn.put(key, b"", db=self._blocks)  # or its number would come back
            cursor.last()
            cursor.next()

    # blocks with few

    def _room(self, extent: Extent) -> int:
        """Return how many bytes the blocks of *extent* have."""
        with self._env.read() as txn:
            return sum(
                len(txn.get(number_key(number), db=self._blocks) or b"")
                for number in range(extent.first, extent.last + 1)
            )

    def _is_sparse(self, extent: Extent, share: float) -> bool:
        """Say whether to rewrite *extent*: if a page goes at least, or no byte is to stay."""
        live = extent.live_bytes
        if live >= share * (extent.last + 1 - extent.first) * BLOCK_BYTES:
            return False
        room = self._room(extent)
        return live < share * room and (share >= 1 or room - live >= BLOCK_BYTES // 4)

    def _move(self, extents: list[Extent]) -> None:
        """Move what is in *extents* to new blocks, and remove the old ones."""
        sound, packs = [], Pack()
        for extent in extents:
            try:
                segments = [self._copy(segment) for segment in extent.segments]
            except CorruptObject as error:
                log.warning("blocks %d to %d stay: %s", extent.first, extent.last, error)
                self.done.damaged += extent.last + 1 - extent.first
                continue
            sound.append(extent)
            for segment in segments:
                packs.add(segment)
        if sound:
            self._env.require_room()
            self._env.write(partial(self._replace, sound, packs))
            self.done.rewritten += sum(extent.last + 1 - extent.first for extent in sound)

    def _copy(self, placed: list[Placed]) -> Segment:
        """Return a segment as it is to be stored now, verified. Raises CorruptObject."""
        place = placed[0].place
        with self._env.read() as txn:
            reader = Reader(self._env, cache_bytes=0)
            stored = bytes(reader.stored(txn, place, 0, place.stored))
        return rebuilt(placed, stored)

    def _replace(self, extents: list[Extent], pack: Pack, txn: Txn) -> None:
        old = {
            placed.oid: pack_location(placed.place)
            for extent in extents
            for segment in extent.segments
            for placed in segment
        }
        first = next_number(txn, self._blocks)
        rows = sorted((oid, row) for oid, row, _ in pack.index_rows(first))
        last = pack.put_blocks(txn, self._blocks, first)
        self.done.freed -= pack.size
        for oid, row in rows:
            there = txn.get(oid, db=self._objects)
            if (
                there is not None and bytes(there) == old[oid]
            ):  # else it was stored anew, or condemned and removed, meanwhile
                txn.put(oid, row, db=self._objects)
        assert last > first
        for extent in extents:
            for number in range(extent.first, extent.last + 1):
                value = txn.get(number_key(number), db=self._blocks)
                self.done.freed += len(value or b"")
                txn.delete(number_key(number), db=self._blocks)


def rebuilt(placed: list[Placed], stored: bytes | memoryview) -> Segment:
    """Return the segment of the objects in *placed*, of what their old one was *stored* as.

    As it was, where they are all that is in it. Raises CorruptObject where one is not what its id
    says.
    """
    place = placed[0].place
    raw = decompress(stored, place.raw) if place.compressed else bytes(stored)
    parts = [raw[one.place.offset : one.place.offset + one.place.size] for one in placed]
    for one, part in zip(placed, parts, strict=True):
        if object_id(part) != one.oid:
            raise CorruptObject(f"the object {one.oid.hex()} is damaged")
    objects = [(one.oid, one.place.size) for one in placed]
    kind = Kind(place.kind)
    if live_raw_bytes(placed) == place.raw:
        return Segment(kind, objects, place.raw, bytes(stored), place.compressed, None)
    left = b"".join(parts)
    (packed,) = compress_all([left])
    body = left if packed is None else packed
    return Segment(kind, objects, len(left), body, packed is not None, None)


def _extents(order: DiskOrder) -> Iterator[Extent]:
    """Yield the blocks that have objects, in their order."""
    segments: list[list[Placed]] = []
    first = last = -1
    for segment in order.segments():
        begin = segment[0].place.block
        end = max(segment[0].end - 1, segment[0].start) // BLOCK_BYTES
        if begin > last and segments:
            yield Extent(first, last, segments)
            segments = []
        if not segments:
            first = begin
        segments.append(segment)
        last = max(last, end)
    if segments:
        yield Extent(first, last, segments)
