"""Reading objects: found by id, decompressed, verified. Every time, whatever the disk says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs import counts
from vfs.errors import CorruptObject, Erased
from vfs.ids import ObjectId, object_id
from vfs.recent import Recent
from vfs.store.compression import decompress
from vfs.store.erasures import absent
from vfs.store.layout import BLOCK_BYTES, Kind, Location, number_key, unpack_location
from vfs.store.objects import NotHere
from vfs.store.readahead import ReadAhead

if TYPE_CHECKING:
    import lmdb

    from vfs.store.environment import Environment
    from vfs.store.objects import Supply

CACHE_BYTES: Final = 16 << 20
_TRIES: Final = 3
_CACHED_MIN_BYTES: Final = 32 << 10
"""Smaller segments are cheap to decompress again, and seldom asked for again."""


class Reader:
    """Reads the objects of a store. For one thread; keeps no transaction open between calls."""

    def __init__(
        self,
        env: Environment,
        *,
        cache_bytes: int = CACHE_BYTES,
        bring: Supply | None = None,
    ) -> None:
        """*bring* is called for an object that is missing, and stores it or raises VfsError."""
        self._env = env
        self._bring = bring
        self.waits = True
        """Whether what is missing is waited for. Else NotHere is raised, for who asks to bring it
        (`Supply`) in another thread, and ask again."""
        self._objects = env.tables["objects"]
        self._blocks = env.tables["blocks"]
        self._read_ahead = ReadAhead()
        # Decompressed segments: several requests of the kernel's size read one large segment.
        self._segments: Recent[tuple[int, int], bytes] = Recent(cache_bytes)

    def get(self, oid: ObjectId) -> bytes:
        """Return the object. Raises CorruptObject when it is damaged or missing, Erased."""
        data = self._stored(oid, must=self._bring is None)
        if data is None and self._bring is not None:
            if not self.waits:
                raise NotHere(oid)
            counts.count(counts.FETCHES)
            for left in reversed(range(_TRIES)):  # it may be evicted before it is read
                self._bring(oid)
                data = self._stored(oid, must=not left)
                if data is not None:
                    break
        if data is None or object_id(data) != oid:
            raise CorruptObject(f"the object {oid.hex()} is damaged")
        return data

    def _stored(self, oid: ObjectId, *, must: bool) -> bytes | None:
        """Return the object as it is here, or None; where it *must* be here, raise the reason."""
        with self._env.read() as txn:
            value = txn.get(oid, db=self._objects)
            if value is not None:
                return self._fetch(txn, unpack_location(value))
            reason = absent(txn, self._env.tables, oid)
            if must or isinstance(reason, Erased):
                raise reason
            return None

    def has(self, oid: ObjectId) -> bool:
        """Say whether the object is in the store (its bytes are not looked at)."""
        with self._env.read() as txn:
            return txn.get(oid, db=self._objects) is not None

    def kind_and_size(self, oid: ObjectId) -> tuple[Kind, int] | None:
        """Return what the index says of an object, or None. Raises CorruptObject."""
        with self._env.read() as txn:
            value = txn.get(oid, db=self._objects)
            if value is None:
                return None
            place = unpack_location(value)
            return Kind(place.kind), place.size

    def place(self, oid: ObjectId) -> Location:
        """Return where an object is. Raises CorruptObject when it is missing, Erased."""
        if self._bring is not None and not self.has(oid):
            self.get(oid)
        with self._env.read() as txn:
            value = txn.get(oid, db=self._objects)
            if value is None:
                raise absent(txn, self._env.tables, oid)
            return unpack_location(value)

    def copied(self, place: Location) -> bytes:
        """Return a segment as it is stored, whatever its bytes are by now. Raises CorruptObject."""
        with self._env.read() as txn:
            return bytes(self.stored(txn, place, 0, place.stored))

    def segment(self, place: Location) -> bytes | memoryview:
        """Return a segment as it is stored. Raises CorruptObject.

        Of a held store alone (`Store.held`): it may point into the map.
        """
        with self._env.read() as txn:
            return self.stored(txn, place, 0, place.stored)

    def _fetch(self, txn: lmdb.Transaction[memoryview], place: Location) -> bytes:
        if self._bring is not None:
            self._bring.touched(place.block)
        if not place.compressed:
            return bytes(self.stored(txn, place, place.offset, place.size))
        segment = self._segments.get((place.block, place.at))
        counts.count(counts.SEGMENT_MISSES if segment is None else counts.SEGMENT_HITS)
        if segment is None:
            segment = decompress(self.stored(txn, place, 0, place.stored), place.raw)
            if place.raw >= _CACHED_MIN_BYTES:
                self._segments.put((place.block, place.at), segment, len(segment))
        if place.size == place.raw:
            return segment
        return segment[place.offset : place.offset + place.size]

    def stored(
        self, txn: lmdb.Transaction[memoryview], place: Location, skip: int, length: int
    ) -> bytes | memoryview:
        """Return *length* bytes of a segment as it is stored, from *skip* on.

        They may point into the map. Raises CorruptObject.
        """
        counts.count(counts.STORED_BYTES, length)
        more, at = divmod(place.at + skip, BLOCK_BYTES)
        block = place.block + more
        parts = []
        while length > 0:
            value = txn.get(number_key(block), db=self._blocks)
            if value is None or at >= len(value):
                raise CorruptObject("the index of objects is damaged: it leads to no block")
            self._read_ahead.touched(block, value)
            part = value[at : at + length]
            parts.append(part)
            length -= len(part)
            block, at = block + 1, 0
        return parts[0] if len(parts) == 1 else b"".join(parts)
