"""Receiving objects: nodes that are missing here come many at a time, chunks as they are met.

What is to be looked at is written as generators ("tasks"): each asks for nodes by yielding their
ids, and is handed their bytes. So code that checks one node at a time is served by a few large
requests: those of all tasks that wait.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from vfs.errors import CorruptObject, RemoteProblem
from vfs.remote.objects import Sought
from vfs.store.layout import Kind
from vfs.store.whole import Gathering, Part
from vfs.sync.segments import keep

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.layout import PackId, Place, Segment
    from vfs.remote.objects import Arrived
    from vfs.remote.remote import Remote
    from vfs.store.ingest import Ingest
    from vfs.store.reader import Reader
    from vfs.sync.progress import Progress

Needs: TypeAlias = Sequence[tuple[Kind, "ObjectId"]]
Task: TypeAlias = Generator[Needs, Sequence[bytes], None]

NEEDS_AT_ONCE: Final = 512
"""Nodes of some 8 KiB: 4 MiB at a time, however deep the trees are."""

CHUNKS_BYTES: Final = 32 << 20
"""Segments are asked for when so much is complete: the more at once, the more lie side by side."""

FLUSH_CHUNKS: Final = 50_000
"""Chunks that are remembered as wanted; then all are asked for, and what came is flushed. On its
way each takes some 600 bytes of memory."""


class Receiver:
    """Brings objects from a remote into the store. For one thread."""

    def __init__(self, reader: Reader, ingest: Ingest, remote: Remote, progress: Progress) -> None:
        self._reader = reader
        self._ingest = ingest
        self._remote = remote
        self._progress = progress
        self._tasks: list[tuple[Task, Needs]] = []
        self._wanted: dict[ObjectId, int] = {}  # missing chunks, and their sizes; until a flush
        self._gathering: Gathering[tuple[PackId, Segment]] = Gathering()
        self._ready: list[Sought] = []  # to be asked for
        self._ready_bytes = 0
        self._lock = threading.Lock()
        self.erased: set[ObjectId] = set()  # chunks that were wanted, and erased from the remote
        self.objects = 0
        self.bytes = 0  # before compression

    def start(self, task: Task) -> None:
        """Have a task done; it may start others."""
        needs = next(task, None)
        if needs is not None:
            self._tasks.append((task, needs))

    def run(self) -> None:
        """Return when all tasks are done and all that they asked for is durable.

        Raises RemoteProblem for what is missing or can't be, RemoteUnavailable, StoreFull.
        """
        while self._tasks:
            # The newest first: what is deep is done before what is beside it, which bounds memory.
            batch, count = [], 0
            while self._tasks and count < NEEDS_AT_ONCE:
                batch.append(self._tasks.pop())
                count += len(batch[-1][1])
            nodes = self._nodes([need for _, needs in batch for need in needs])
            for task, needs in batch:
                try:
                    self._tasks.append((task, task.send([nodes[oid] for _, oid in needs])))
                except StopIteration:
                    pass
                except CorruptObject as error:
                    raise RemoteProblem(f"the remote holds what can't be: {error}") from error
        self._settle()

    def want_chunk(self, oid: ObjectId, size: int) -> None:
        """Have a chunk of *size* bytes in the store. Raises CorruptObject for one of another.

        It is asked for with all of its segment, so that this is stored as it comes; or at the end,
        when it is known what else of that is wanted.
        """
        known = self._wanted.get(oid)
        if known is None:
            there = self._reader.kind_and_size(oid)
            known = None if there is None else there[1]
        if known is None and oid in self._remote.journal.state.erased:
            self.erased.add(oid)
            return
        if known is None:
            place = self._remote.objects.place(oid, is_node=False)
            known = place.size
            self._wanted[oid] = size
            self._gather(oid, place)
        if known != size:
            raise CorruptObject(f"the chunk {oid.hex()} is not of the size that its file says")
        if len(self._wanted) > FLUSH_CHUNKS:
            self._settle()

    def _gather(self, oid: ObjectId, place: Place) -> None:
        part = Part(place.offset, place.size, oid)
        whole = self._gathering.add((place.pack, place.segment), place.segment.raw, part)
        if whole is not None:
            self._seek(place.pack, place.segment, whole)
            if self._ready_bytes >= CHUNKS_BYTES:
                self._ask_for_chunks()

    def _seek(self, pack: PackId, segment: Segment, parts: list[Part]) -> None:
        self._ready.append(Sought(pack, segment, parts, [Kind.CHUNK] * len(parts)))
        self._ready_bytes += segment.raw

    def _nodes(self, needs: Needs) -> dict[ObjectId, bytes]:
        """Return nodes, which are in the store from now on."""
        found: dict[ObjectId, bytes] = {}
        missing: dict[ObjectId, Kind] = {}
        for kind, oid in needs:
            if oid in found or oid in missing:
                continue
            there = self._reader.kind_and_size(oid)
            # A tree leaf that is there only as some file's content lacks its inode numbers.
            if there is not None and (there[0] == kind or kind is not Kind.TREE):
                found[oid] = self._reader.get(oid)
            else:
                missing[oid] = kind
        for oid, data in self._remote.objects.nodes(missing).items():
            self._ingest.add_object(missing[oid], data)
            self._count(1, len(data))
            found[oid] = data
        return found

    def _ask_for_chunks(self) -> None:
        ready, self._ready, self._ready_bytes = self._ready, [], 0
        self._remote.objects.begin_chunks(ready, self._take)

    def _take(self, came: Arrived) -> None:
        """Store what came of a segment. Runs in pool threads."""
        keep(self._ingest, came)
        self._count(len(came.parts), sum(part.size for part in came.parts))

    def _settle(self) -> None:
        """Ask for all that is wanted, and wait until it is durable."""
        for (pack, segment), parts in self._gathering.rest():
            self._seek(pack, segment, parts)
        self._ask_for_chunks()
        self._remote.objects.finish_chunks()
        self._ingest.flush()
        self._wanted.clear()

    def _count(self, objects: int, size: int) -> None:
        with self._lock:
            self.objects += objects
            self.bytes += size
        self._progress.advance(objects, size)
