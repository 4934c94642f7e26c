"""The objects of a store in the order in which they lie on the disk, whole segments at a time.

To sort them, rows of the index go through files without a name, each for a range of blocks, which
stay in memory while they are small. One range at a time is sorted, at 200 bytes of memory for each
object in it: small ranges, as a million small objects fit into 30 MiB.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.store.layout import BLOCK_BYTES, Location, unpack_location

BLOCKS_A_FILE: Final = 1 << 8  # 4 MiB, at least
FILES_MAX: Final = 256
SPOOLED_BYTES: Final = 32 << 20  # of all files in memory

_RECORD: Final = struct.Struct(">QI32sB24s")  # where, offset; id; length of the row, row


class Placed(NamedTuple):
    """An object and where it lies."""

    start: int  # of its segment: bytes from the start of block 0, all blocks being full
    oid: ObjectId
    place: Location

    @property
    def end(self) -> int:
        """Return where its segment ends, as `start`."""
        return self.start + self.place.stored


class DiskOrder:
    """Takes rows in any order, gives them in that of the disk. A context manager."""

    def __init__(
        self, directory: Path, last_block: int, spooled_bytes: int = SPOOLED_BYTES
    ) -> None:
        """*directory* is where the files are, *last_block* the last that a row leads to."""
        self._blocks_a_file = BLOCKS_A_FILE
        while last_block // self._blocks_a_file >= FILES_MAX:
            self._blocks_a_file *= 2
        count = last_block // self._blocks_a_file + 1
        self._files: list[IO[bytes]] = [
            tempfile.SpooledTemporaryFile(spooled_bytes // count, dir=str(directory))  # noqa: SIM115
            for _ in range(count)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    def add(self, oid: ObjectId, place: Location, row: memoryview) -> None:
        """Take an object, and its row in the index. Raises CorruptObject for a wrong place."""
        start = place.block * BLOCK_BYTES + place.at
        record = _RECORD.pack(start, place.offset, oid, len(row), bytes(row))
        number = place.block // self._blocks_a_file
        if number >= len(self._files):
            raise CorruptObject(f"the index is damaged: the object {oid.hex()} is in no block")
        self._files[number].write(record)

    def segments(self) -> Iterator[list[Placed]]:
        """Yield the objects of each segment, in the order of the blocks. As often as wanted."""
        size = _RECORD.size
        for file in self._files:
            file.seek(0)
            data = file.read()
            records = sorted(data[at : at + size] for at in range(0, len(data), size))
            for _, segment in groupby(map(_unpack, records), key=_segment_of):
                yield list(segment)


def _unpack(record: bytes) -> Placed:
    start, _, oid, length, row = _RECORD.unpack(record)
    return Placed(start, ObjectId(oid), unpack_location(memoryview(row)[:length]))


def _segment_of(placed: Placed) -> tuple[int, int, int, bool]:
    place = placed.place
    return placed.start, place.stored, place.raw, place.compressed
