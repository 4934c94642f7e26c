"""Objects on their way to the disk: segments, one behind the other, cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vfs.ids import ObjectId
from vfs.store.layout import BLOCK_BYTES, Kind, Location, number_key, pack_location

if TYPE_CHECKING:
    from vfs.store.environment import Table, Txn


class Segment(NamedTuple):
    """Bytes that are compressed together, and the objects in them, one behind the other."""

    kind: Kind
    objects: Sequence[tuple[ObjectId, int]]  # ids and sizes
    raw: int
    body: bytes | memoryview
    compressed: bool
    leaf: bytes | None  # a tree leaf's bytes: its inode numbers are registered with it


class Pack:
    """A pack being filled."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.size = 0
        self.rows = 0

    def add(self, segment: Segment) -> None:
        """Append a segment."""
        self.segments.append(segment)
        leaf = segment.leaf
        # A leaf waits with its own bytes, too, and a large set of attributes compresses well.
        self.size += len(segment.body) + len(leaf or b"")
        self.rows += len(segment.objects)
        self.rows += 0 if leaf is None else int.from_bytes(leaf[2:4], "little")

    def body(self) -> bytes:
        """Return all segments."""
        return b"".join([segment.body for segment in self.segments])

    def index_rows(self, first: int) -> Iterator[tuple[ObjectId, bytes, Segment]]:
        """Yield the index rows of the objects, the pack being in blocks from *first* on.

        A row is an id, a value, and the segment that the object is in.
        """
        at = 0
        for segment in self.segments:
            more, start = divmod(at, BLOCK_BYTES)
            stored, offset = len(segment.body), 0
            for oid, size in segment.objects:
                place = Location(
                    segment.kind,
                    segment.compressed,
                    first + more,
                    start,
                    stored,
                    segment.raw,
                    offset,
                    size,
                )
                yield oid, pack_location(place), segment
                offset += size
            at += stored

    def put_blocks(self, txn: Txn, blocks: Table, first: int) -> int:
        """Write the segments to blocks from number *first* on; return the number after the last."""
        for value in self._blocks():
            txn.put(number_key(first), value, db=blocks, append=True)
            first += 1
        return first

    def _blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the segments as blocks; most are part of one segment, and not copied."""
        begun: list[bytes | memoryview] = []
        room = BLOCK_BYTES
        for segment in self.segments:
            body = memoryview(segment.body)
            at = 0
            while at < len(body):
                part = body[at : at + room]
                at += len(part)
                room -= len(part)
                begun.append(part)
                if not room:
                    yield part if len(begun) == 1 else b"".join(begun)
                    begun, room = [], BLOCK_BYTES
        if begun:
            yield b"".join(begun)
