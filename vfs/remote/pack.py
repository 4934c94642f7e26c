"""Filling packs: objects of a kind side by side in segments, segments in packs.

Where a pack ends depends only on the objects and their order, so a push that goes on after a kill
makes the packs again that it made before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from vfs.ids import ObjectId, object_id
from vfs.remote.layout import PACK_MAGIC, PackId, Segment, encode_index
from vfs.store.compression import compress_all
from vfs.store.ingest import SEGMENT_BYTES, SEGMENT_OBJECTS
from vfs.store.layout import Kind

PACK_RAW_BYTES: Final = 32 << 20
"""Objects of a pack, before compression."""

PACK_OBJECTS: Final = 100_000
"""Objects of a pack at most, about: each takes some 350 bytes of memory until it is written."""

NODES_BYTES: Final = 128 << 10
"""Of a segment of nodes: who wants one wants its neighbours, but not half a megabyte of them."""


Load = Callable[[], tuple[bytes, bool]]
"""Returns a segment as it is stored, and whether it is compressed. Called by another thread."""


class SealedPack(NamedTuple):
    """A pack as it is to be written."""

    id: PackId
    body: bytes
    index_data: bytes
    objects: int
    raw: int  # bytes of the objects
    stored: int = 0  # bytes of the body, once it is written
    is_new: bool = True  # it was not on the remote before


class _Filling:
    """A segment that is not full yet."""

    def __init__(self, kind: Kind) -> None:
        self.room = SEGMENT_BYTES if kind is Kind.CHUNK else NODES_BYTES
        self.members: list[tuple[ObjectId, Kind, int]] = []  # and their sizes
        self.parts: list[bytes] = []
        self.load: Load | None = None  # instead of the parts
        self.size = 0

    def takes(self, size: int) -> bool:
        """Say whether there is room for an object of *size* bytes."""
        return self.size + size <= self.room and len(self.members) < SEGMENT_OBJECTS


class PackBuilder:
    """One pack being filled. For one thread."""

    def __init__(self) -> None:
        self.size = 0  # bytes before compression
        self.keys: set[tuple[ObjectId, bool]] = set()
        """What is in it: ids, and whether as a node."""
        self._open: dict[Kind, _Filling] = {}
        self._full: list[_Filling] = []

    def add(self, kind: Kind, oid: ObjectId, data: bytes) -> None:
        """Add an object that is not in it."""
        segment = self._open.get(kind)
        if segment is None or not segment.takes(len(data)):
            segment = self._open[kind] = _Filling(kind)
            self._full.append(segment)
        segment.members.append((oid, kind, len(data)))
        segment.parts.append(data)
        segment.size += len(data)
        self.size += len(data)
        self.keys.add((oid, kind is not Kind.CHUNK))

    def add_stored(self, objects: Sequence[tuple[ObjectId, int]], load: Load) -> None:
        """Add a segment of chunks that are not in it, ids and sizes; *load* gets its bytes."""
        segment = _Filling(Kind.CHUNK)
        segment.members = [(oid, Kind.CHUNK, size) for oid, size in objects]
        segment.load = load
        self._full.append(segment)
        self.size += sum(size for _, size in objects)
        self.keys.update((oid, False) for oid, _ in objects)

    @property
    def is_full(self) -> bool:
        """Say whether nothing more should go into it."""
        return self.size >= PACK_RAW_BYTES or len(self.keys) >= PACK_OBJECTS

    def merge(self, other: PackBuilder) -> None:
        """Take what another one holds, behind what is here."""
        self._full += other._full
        self.size += other.size
        self.keys |= other.keys

    def seal(self, salt: bytes = b"") -> SealedPack:
        """Compress everything and return the pack. Meant for a pool thread; once.

        *salt* stands before the segments: with another one the pack has another name.
        """
        segments: list[Segment] = []
        objects: list[tuple[ObjectId, Kind, int, int, int]] = []
        parts = [PACK_MAGIC, salt]
        at = len(PACK_MAGIC) + len(salt)
        for body, is_compressed, members in self._compressed():
            offset = 0
            for oid, kind, size in members:
                objects.append((oid, kind, len(segments), offset, size))
                offset += size
            segments.append(Segment(at, len(body), offset, is_compressed))
            parts.append(body)
            at += len(body)
        whole = b"".join(parts)
        pack = PackId(object_id(whole))
        index = encode_index(pack, len(whole), segments, objects)
        return SealedPack(pack, whole, index, len(objects), self.size)

    def _compressed(self) -> Iterable[tuple[bytes, bool, list[tuple[ObjectId, Kind, int]]]]:
        """Yield segments as they are stored, and give up what they are made of."""
        for number, segment in enumerate(self._full):
            self._full[number] = _EMPTY
            if segment.load is not None:
                yield *segment.load(), segment.members
                continue
            raw = b"".join(segment.parts)
            (packed,) = compress_all([raw])
            yield raw if packed is None else packed, packed is not None, segment.members
        self._full = []


_EMPTY: Final = _Filling(Kind.CHUNK)
