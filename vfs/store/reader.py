"""Reading objects: found by id, decompressed, verified. Every time, whatever the disk says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.recent import Recent
from vfs.store.compression import decompress
from vfs.store.layout import Location, number_key, unpack_location

if TYPE_CHECKING:
    import lmdb

    from vfs.store.environment import Environment

CACHE_BYTES: Final = 16 << 20
_CACHED_MIN_BYTES: Final = 32 << 10
"""Smaller segments are cheap to decompress again, and seldom asked for again."""


class Reader:
    """Reads the objects of a store. For one thread; keeps no transaction open between calls."""

    def __init__(self, env: Environment, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._env = env
        self._objects = env.tables["objects"]
        self._packs = env.tables["packs"]
        # Decompressed segments: several requests of the kernel's size read one large segment.
        self._segments: Recent[tuple[int, int], bytes] = Recent(cache_bytes)

    def get(self, oid: ObjectId) -> bytes:
        """Return the object. Raises CorruptObject when it is damaged or missing."""
        with self._env.read() as txn:
            value = txn.get(oid, db=self._objects)
            if value is None:
                raise CorruptObject(f"the object {oid.hex()} is missing")
            data = self._fetch(txn, unpack_location(value))
        if object_id(data) != oid:
            raise CorruptObject(f"the object {oid.hex()} is damaged")
        return data

    def has(self, oid: ObjectId) -> bool:
        """Say whether the object is in the store (its bytes are not looked at)."""
        with self._env.read() as txn:
            return txn.get(oid, db=self._objects) is not None

    def _fetch(self, txn: lmdb.Transaction[memoryview], place: Location) -> bytes:
        segment = self._segments.get((place.pack, place.at))
        if segment is not None:
            return segment[place.offset : place.offset + place.size]
        pack = txn.get(number_key(place.pack), db=self._packs)
        if pack is None or place.at + place.stored > len(pack):
            raise CorruptObject("the index of objects is damaged: it points to no pack")
        if not place.compressed:
            start = place.at + place.offset
            return bytes(pack[start : start + place.size])
        segment = decompress(pack[place.at : place.at + place.stored], place.raw)
        if place.raw >= _CACHED_MIN_BYTES:
            self._segments.put((place.pack, place.at), segment, len(segment))
        if place.size == place.raw:
            return segment
        return segment[place.offset : place.offset + place.size]
