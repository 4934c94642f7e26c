"""Adding objects: hashed, deduplicated, compressed, packed, and written in bounded transactions.

Life of an object: `add` claims its id (so that two threads never store one chunk twice), looks
it up in the index, compresses it and puts it into an open pack. A full pack is queued. One writer
thread takes packs from the queue and writes them, with their index rows, in transactions of
bounded size. `flush` returns when all that was added is on disk. Nothing refers to any of it yet:
a process that dies here leaves objects that the next attempt finds and `gc` can remove.

Memory: one open pack of each sort, QUEUE_PACKS waiting, one transaction's worth being written.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from blake3 import blake3

from vfs.clock import now_ns
from vfs.errors import CorruptObject, Erased
from vfs.ids import ObjectId, object_id
from vfs.store.audit import AuditLog
from vfs.store.compression import compress_all
from vfs.store.erasures import (
    ALLOW,
    Erasure,
    erasure_in,
    generation_in,
    require_finished,
    require_generation,
)
from vfs.store.layout import OBJECT_MAX_BYTES, Kind, is_condemned, unpack_location
from vfs.store.numbers import Numbering, next_number
from vfs.store.packing import Pack, Segment
from vfs.store.reader import Reader

if TYPE_CHECKING:
    import lmdb

    from vfs.model.canonical import JSON
    from vfs.store.environment import Environment
    from vfs.store.unpushed import Unpushed
    from vfs.store.writers import Writers

WhenErased = Literal["refuse", "note", "store"]
"""What becomes of bytes that were erased before and come again: the call raises Erased; their id is
returned and noted in `Ingest.erased`, and they are not stored; they are stored again."""

PACK_BYTES: Final = 1 << 20
"""What is queued and written at once. Only its last block is not full: that wastes half a page."""

SEGMENT_BYTES: Final = 448 * 1024
"""Chunks of one file are compressed together up to this size: for text a sixth less than each alone
(64 KiB), as much as in the megabytes that other tools compress at a time. With one chunk more at
the end it stays below OBJECT_MAX_BYTES."""

SEGMENT_OBJECTS: Final = 2_000
"""At most so many share a segment, however small they are: the rows of all of them are written in
one transaction."""

QUEUE_PACKS: Final = 24
"""About what a transaction takes: while one is on its way to the disk, the next is made ready."""

BATCH_BYTES: Final = 24 << 20
BATCH_ROWS: Final = 6_000
"""Rows of a transaction: each may dirty a page of its own, which LMDB keeps in memory."""

_LEAF_LEVEL_AT: Final = 1
_QUIET_BYTES: Final = 2047  # blake3 keeps the GIL below 2 KiB


def _check_size(data: bytes | memoryview) -> None:
    if len(data) > OBJECT_MAX_BYTES:
        raise ValueError(f"an object of {len(data)} bytes")


def _quiet_id(data: bytes | memoryview) -> ObjectId:
    """Return the id of *data* without giving up the GIL if it is short.

    blake3 gives it up from 2 KiB on. Where other threads want it, 4 KiB then take 60 us, as it has
    to be waited for; hashed in pieces they take 7 us.
    """
    if not _QUIET_BYTES < len(data) <= 4 * _QUIET_BYTES:
        return object_id(data)
    view = memoryview(data)
    hasher = blake3()
    for at in range(0, len(view), _QUIET_BYTES):
        hasher.update(view[at : at + _QUIET_BYTES])
    return ObjectId(hasher.digest())


class Ingest:
    """Adds objects to a store. Thread-safe. A context manager: leaving it flushes.

    What it takes for stored stays there until it is left (`vfs.store.writers`): by then a
    reference, or a row of an overlay, must lead to it.
    """

    def __init__(
        self,
        env: Environment,
        numbering: Numbering,
        writers: Writers,
        *,
        verify: bool = False,
        when_erased: WhenErased = "refuse",
        who: str = "",
        unpushed: Unpushed | None = None,
    ) -> None:
        """*verify*: what is stored counts as stored only if its bytes are right.

        *unpushed*, of a remote's cache, gets a mark for each object: none of them counts as stored
        without one, as it might be evicted. *who* stores again what was erased. Raises Conflict
        where that is to be done while an erase is not finished: the old bytes would never be
        overwritten.
        """
        self._env = env
        self._numbering = numbering
        self._writers = writers
        self._verify = verify
        self._when_erased = when_erased
        self._who = who
        self._unpushed = unpushed
        self.erased: dict[ObjectId, Erasure] = {}
        """Objects that were erased before, and came again."""
        self._announced = writers.announce()
        try:
            with env.read() as txn:
                if when_erased == "store":
                    require_finished(txn, env.tables)
                self.generation = generation_in(txn, env.tables)
        except BaseException:
            self._announced.close()
            raise
        """What whoever refers to what is stored here has to compare (`require_generation`)."""
        self._lock = threading.Lock()
        self._claimed: set[tuple[bool, ObjectId]] = set()
        self._data = Pack()
        self._nodes = Pack()
        self._queue: queue.Queue[Pack | threading.Event | None] = queue.Queue(QUEUE_PACKS)
        self._failure: BaseException | None = None
        self.stored_bytes = 0  # compressed bytes that were new
        self._writer = threading.Thread(target=self._write_packs, name="vfs-ingest", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._queue.put(None)
            self._writer.join()
            self._announced.close()

    def add_chunks(
        self, chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None = None
    ) -> list[ObjectId]:
        """Add chunks of files; return their ids. Meant for pool threads.

        *runs* says how many chunks in a row belong to one file each: these are compressed
        together. Hashing, compressing and the transaction release the GIL. Blocks while the writer
        is behind.
        """
        ids = [_quiet_id(chunk) for chunk in chunks]
        groups = _grouped(self._claim(Kind.CHUNK, ids), chunks, runs)
        raws = [
            chunks[group[0]] if len(group) == 1 else b"".join([chunks[index] for index in group])
            for group in groups
        ]
        for raw in raws:
            _check_size(raw)
        self._append(
            Segment(
                Kind.CHUNK,
                [(ids[index], len(chunks[index])) for index in group],
                len(raw),
                bytes(raw) if packed is None else packed,
                packed is not None,
                None,
            )
            for group, raw, packed in zip(groups, raws, compress_all(raws), strict=True)
        )
        return ids

    def add_object(self, kind: Kind, data: bytes) -> ObjectId:
        """Add one object that is not a chunk; return its id."""
        _check_size(data)
        oid = object_id(data)
        if self._claim(kind, [oid]):
            is_leaf = kind is Kind.TREE and not data[_LEAF_LEVEL_AT]
            (packed,) = compress_all([data])
            body = data if packed is None else packed
            leaf = data if is_leaf else None
            self._append(
                [Segment(kind, [(oid, len(data))], len(data), body, packed is not None, leaf)]
            )
        return oid

    def add_segment(self, segment: Segment, raw: bytes | memoryview) -> None:
        """Add a segment of chunks as it was stored elsewhere; *raw* is it before compression.

        The caller has compared *raw* with the ids. Where some of the chunks are here already, the
        others are compressed anew.
        """
        _check_size(raw)
        mine = self._claim(segment.kind, [oid for oid, _ in segment.objects])
        if len(mine) == len(segment.objects):
            self._append([segment])
        elif mine:
            self._append([_only(mine, segment, raw)])

    @property
    def stores_erased(self) -> bool:
        """Say whether what was erased is stored again."""
        return self._when_erased == "store"

    def flush(self) -> None:
        """Return when all that was added so far is durable. Raises what the writer ran into."""
        with self._lock:
            full = [self._data, self._nodes]
            self._data, self._nodes = Pack(), Pack()
        for pack in full:
            if pack.segments:
                self._queue.put(pack)
        written = threading.Event()
        self._queue.put(written)
        written.wait()
        self._raise_failure()

    def _claim(self, kind: Kind, ids: Sequence[ObjectId]) -> list[int]:
        """Return the indices of the ids that nobody has stored or is storing."""
        is_tree = kind is Kind.TREE
        with self._lock:
            mine = []
            for index, oid in enumerate(ids):
                if (is_tree, oid) not in self._claimed:
                    self._claimed.add((is_tree, oid))
                    mine.append(index)
        if not mine:
            return mine
        # The index is read after the claim: a row that the writer commits in between is seen.
        with self._env.read() as txn:
            table = self._env.tables["objects"]
            known = [index for index in mine if _has(txn.get(ids[index], db=table), kind)]
            if self._unpushed is not None:
                known = [index for index in known if self._unpushed.is_sure_in(txn, ids[index])]
            erased = self._erased_in(txn, [ids[index] for index in mine])
        if self._verify:
            known = [index for index in known if self._is_sound(ids[index])]
        refused = self._refuse(erased)
        if known or refused:
            gone = {ids[index] for index in known} | refused
            with self._lock:
                self._claimed.difference_update((is_tree, oid) for oid in gone)
            mine = [index for index in mine if ids[index] not in gone]
        if refused and self._when_erased == "refuse":
            with self._lock:
                self._claimed.difference_update((is_tree, ids[index]) for index in mine)
            raise Erased(f"the content was {erased[min(refused)]}")
        return mine

    def _erased_in(
        self, txn: lmdb.Transaction[memoryview], ids: Sequence[ObjectId]
    ) -> dict[ObjectId, Erasure]:
        """Return those of *ids* that were erased, and why."""
        table = self._env.tables.get("erased")
        if table is None or not txn.stat(table)["entries"]:
            return {}
        found = ((oid, erasure_in(txn, self._env.tables, oid)) for oid in ids)
        return {oid: erasure for oid, erasure in found if erasure is not None}

    def _refuse(self, erased: dict[ObjectId, Erasure]) -> set[ObjectId]:
        """Note what was erased; return what is not to be stored."""
        if not erased:
            return set()
        with self._lock:
            self.erased |= erased
        return set() if self.stores_erased else set(erased)

    def _is_sound(self, oid: ObjectId) -> bool:
        try:
            Reader(self._env, cache_bytes=0).get(oid)
        except CorruptObject:
            return False
        return True

    def _append(self, segments: Iterable[Segment]) -> None:
        full = []
        with self._lock:
            for segment in segments:
                is_data = segment.kind is Kind.CHUNK
                pack = self._data if is_data else self._nodes
                pack.add(segment)
                if pack.size >= PACK_BYTES or pack.rows >= BATCH_ROWS:
                    full.append(pack)
                    if is_data:
                        self._data = Pack()
                    else:
                        self._nodes = Pack()
        for pack in full:
            self._queue.put(pack)
        if full:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_packs(self) -> None:
        """Write what is queued, until None comes. After a failure, only empty the queue."""
        batch: list[Pack] = []
        while True:
            item = self._queue.get()
            if isinstance(item, Pack):
                batch.append(item)
                if not _is_full(batch):
                    continue
            if batch and self._failure is None and item is not None:
                try:
                    self._write(batch)
                except BaseException as error:  # noqa: BLE001 - raised again by the callers' threads
                    self._failure = error
            batch = []
            if isinstance(item, threading.Event):
                item.set()
            elif item is None:
                return

    def _write(self, batch: list[Pack]) -> None:
        self._env.require_room()
        new = self._env.write(lambda txn: self._store(txn, batch))
        segments = [segment for pack in batch for segment in pack.segments]
        stored = [
            (segment.kind is Kind.TREE, oid) for segment in segments for oid, _ in segment.objects
        ]
        with self._lock:
            self.stored_bytes += new
            self._claimed.difference_update(stored)

    def _store(self, txn: lmdb.Transaction[memoryview], batch: list[Pack]) -> int:
        require_generation(txn, self._env.tables, self.generation)
        blocks, objects = self._env.tables["blocks"], self._env.tables["objects"]
        rows: list[tuple[ObjectId, bytes, Segment]] = []
        number = next_number(txn, blocks)
        for pack in batch:
            rows.extend(pack.index_rows(number))
            number = pack.put_blocks(txn, blocks, number)
        rows.sort(key=itemgetter(0))  # so that rows that share a page come together
        distrust = self._writers.state_in(txn).has_condemned
        new = 0
        returned: list[ObjectId] = []
        for oid, row, segment in rows:
            # Another process may have stored the same object meanwhile: the first one stays, unless
            # this one is here because that may be damaged.
            is_new = txn.put(oid, row, overwrite=self._verify, db=objects)
            if not is_new and not _has(txn.get(oid, db=objects), segment.kind):
                is_new = txn.put(oid, row, db=objects)
            if self._unpushed is not None:
                self._unpushed.mark_in(txn, oid)
            if is_new:
                if self.erased and txn.delete(oid, db=self._env.tables["erased"]):
                    returned.append(oid)
                new += len(segment.body) // len(segment.objects)
                if segment.leaf is not None:
                    self._numbering.register(txn, oid, segment.leaf, distrust=distrust)
        if returned:
            facts: dict[str, JSON] = {"objects": [oid.hex() for oid in returned]}
            audit = AuditLog(self._env)
            audit.append_in(txn, ALLOW, facts, time_ns=now_ns(), who=self._who)
        return new


def _grouped(
    new: list[int], chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None
) -> list[list[int]]:
    """Return the indices of *new* chunks by the segments that they go to.

    Those of one run share segments of SEGMENT_BYTES or SEGMENT_OBJECTS; without *runs*, each stands
    alone.
    """
    if runs is None:
        return [[index] for index in new]
    groups: list[list[int]] = []
    ends = accumulate(runs)
    end = size = 0
    for index in new:
        if index >= end or size >= SEGMENT_BYTES or len(groups[-1]) >= SEGMENT_OBJECTS:
            while index >= end:
                end = next(ends)
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += len(chunks[index])
    return groups


def _only(indices: Sequence[int], segment: Segment, raw: bytes | memoryview) -> Segment:
    """Return a segment of some of the objects of another one, which is *raw* before compression."""
    ends = list(accumulate(size for _, size in segment.objects))
    objects = [segment.objects[index] for index in indices]
    left = b"".join(
        [raw[ends[index] - segment.objects[index][1] : ends[index]] for index in indices]
    )
    (packed,) = compress_all([left])
    body = left if packed is None else packed
    return Segment(segment.kind, objects, len(left), body, packed is not None, None)


def _has(row: memoryview | None, kind: Kind) -> bool:
    """Say whether an object of *kind* is stored when its row in the index is *row*.

    A tree leaf is stored with its inode numbers. One that is there only as the content of some
    file is not: whoever can guess a leaf could else add it as a file, and hide the directory. What
    is about to be removed is not, either.
    """
    if row is None or is_condemned(row):
        return False
    return kind is not Kind.TREE or unpack_location(row).kind == kind


def _is_full(batch: list[Pack]) -> bool:
    return (
        sum(pack.size for pack in batch) >= BATCH_BYTES
        or sum(pack.rows for pack in batch) >= BATCH_ROWS
    )
