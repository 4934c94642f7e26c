"""The index of objects and the blocks: does every row lead to bytes, and are they the right ones?

Objects are looked at in the order in which they lie on the disk.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, VfsError
from vfs.ids import ID_BYTES, ObjectId, object_id
from vfs.store.compression import decompress
from vfs.store.diskorder import DiskOrder, Placed
from vfs.store.layout import BLOCK_BYTES, Location, number_key, unpack_location

if TYPE_CHECKING:
    from vfs.repo.fsck.run import Run

SAMPLED_EVERY: Final = 32
"""Of the blocks, where only the structure is checked, one in so many is touched. LMDB's leaves hold
more keys than that, so every page of the table's tree is read all the same."""

THREADS_MAX: Final = 8
TASK_BYTES: Final = 1 << 20


class _Blocks:
    """Which blocks there are."""

    def __init__(self, run: Run) -> None:
        store = run.store
        self.first, self.last = store.first_number("blocks"), store.last_number("blocks")
        self._gaps: list[tuple[int, int]] = []  # what is missing between: first, and behind last
        count = store.count("blocks")
        if count and count != self.last - self.first + 1:
            self._find_gaps(run)
        elif count:
            self._sample(run)

    def _find_gaps(self, run: Run) -> None:
        expected = self.first
        for key, _ in run.store.rows("blocks"):
            number = int.from_bytes(key, "big")
            if number != expected:
                self._gaps.append((expected, number))
            expected = number + 1
            run.line.progress(number - self.first, self.last - self.first)

    def _sample(self, run: Run) -> None:
        for number in range(self.first, self.last + 1, SAMPLED_EVERY):
            row = run.store.row("blocks", number_key(number))
            if row is None or len(row) > BLOCK_BYTES:
                run.found("table", f"the table 'blocks' is damaged at block {number}")
            run.line.progress(number - self.first, self.last - self.first)

    def have(self, place: Location) -> bool:
        """Say whether there are all the blocks of a segment."""
        end = place.block + (place.at + max(place.stored, 1) - 1) // BLOCK_BYTES
        if not self.first <= place.block <= end <= self.last:
            return False
        # The last gap that begins in the segment or before it.
        at = bisect_right(self._gaps, end, key=itemgetter(0))
        return not at or place.block >= self._gaps[at - 1][1]


class ObjectCheck:
    """Checks the index, and with it the stored bytes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._order: DiskOrder | None = None
        self._bytes = 0

    def close(self) -> None:
        """Let go of the files."""
        if self._order is not None:
            self._order.close()

    def index(self) -> None:
        """Check every row of the index by itself."""
        run = self._run
        blocks = _Blocks(run)
        total = run.store.count("objects")
        self._order = DiskOrder(run.temporary, blocks.last)
        for done, (key, value) in enumerate(run.store.rows("objects")):
            if not done & 0xFFF:
                run.line.progress(done, total)
            if len(key) != ID_BYTES:
                run.found("table", f"the index of objects has a key of {len(key)} bytes")
                continue
            oid = ObjectId(key)
            try:
                place = unpack_location(value)
            except CorruptObject:
                run.add_bad(oid, f"the row of the object {key.hex()} in the index is damaged")
                continue
            if not blocks.have(place):
                run.add_bad(oid, f"the object {key.hex()} is said to be in a block that is missing")
                continue
            self._order.add(oid, place, value)
            self._bytes += place.size
        run.count("objects", total)

    def _segments(self) -> Iterator[list[Placed]]:
        return iter(()) if self._order is None else self._order.segments()

    def overlaps(self) -> None:
        """Find segments that can't both be right, as they lie in one place."""
        last: list[Placed] = []
        last_end = 0
        for segment in self._segments():
            start = segment[0].start
            if start < last_end:
                one, other = last[0].oid, segment[0].oid
                damage = self._run.add_bad(
                    one,
                    f"the objects {one.hex()} and {other.hex()} lie one over the other: "
                    "one of them is damaged (--data says which)",
                )
                for placed in (*last, *segment):
                    self._run.bad.setdefault(placed.oid, damage)
            end = segment[0].end
            if end >= last_end:
                last, last_end = segment, end

    def data(self) -> None:
        """Read every object and compare it with its id."""
        run = self._run
        done = 0
        waiting: deque[Future[list[tuple[ObjectId, str]]]] = deque()
        threads = min(os.cpu_count() or 1, THREADS_MAX)
        with ThreadPoolExecutor(threads, thread_name_prefix="vfs-fsck") as pool:
            for batch, size in self._batches():
                waiting.append(pool.submit(_verify, batch))
                if len(waiting) > 2 * threads:
                    self._take(waiting.popleft().result())
                done += size
                run.line.progress(done, self._bytes, is_bytes=True)
            while waiting:
                self._take(waiting.popleft().result())

    def _take(self, damaged: list[tuple[ObjectId, str]]) -> None:
        for oid, message in damaged:
            self._run.add_bad(oid, message)

    def _batches(self) -> Iterator[tuple[list[tuple[bytes, list[Placed]]], int]]:
        """Yield segments as they are stored, about a MiB at a time, and the size of the objects."""
        run = self._run
        batch: list[tuple[bytes, list[Placed]]] = []
        size = stored = 0
        for segment in self._segments():
            first = segment[0]
            if not run.skipped.isdisjoint(placed.oid for placed in segment):
                for placed in segment:
                    run.add_bad(
                        placed.oid,
                        f"reading the object {placed.oid.hex()} ends the process: LMDB is damaged",
                    )
                continue
            run.recorder[:32] = first.oid
            try:
                body = bytes(run.repo.reader.segment(first.place))
            except VfsError:
                for placed in segment:
                    run.add_bad(placed.oid, f"the object {placed.oid.hex()} has lost its block")
                continue
            batch.append((body, segment))
            size += sum(placed.place.size for placed in segment)
            stored += len(body)
            if stored >= TASK_BYTES:
                yield batch, size
                batch, size, stored = [], 0, 0
        yield batch, size


def _verify(batch: list[tuple[bytes, list[Placed]]]) -> list[tuple[ObjectId, str]]:
    """Return the objects that are not what their ids say, and what is wrong. In a pool's thread."""
    damaged = []
    for stored, segment in batch:
        place = segment[0].place
        try:
            raw = decompress(stored, place.raw) if place.compressed else stored
        except CorruptObject:
            raw = b""
        for placed in segment:
            at = placed.place.offset
            if object_id(memoryview(raw)[at : at + placed.place.size]) != placed.oid:
                damaged.append((placed.oid, f"the object {placed.oid.hex()} is damaged"))
    return damaged
