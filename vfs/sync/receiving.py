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
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.objects import Objects
    from vfs.remote.remote import Remote
    from vfs.store.ingest import Ingest
    from vfs.store.reader import Reader
    from vfs.sync.progress import Progress

Needs: TypeAlias = Sequence[tuple[Kind, "ObjectId"]]
Task: TypeAlias = Generator[Needs, Sequence[bytes], None]

NEEDS_AT_ONCE: Final = 512
"""Nodes of some 8 KiB: 4 MiB at a time, however deep the trees are."""

CHUNKS_BYTES: Final = 32 << 20
"""Chunks are asked for when so much is missing: the more at once, the more lie side by side."""

FLUSH_CHUNKS: Final = 100_000
"""Ids of chunks that are remembered as being on their way; then what arrived is flushed."""


class Receiver:
    """Brings objects from a remote into the store. For one thread."""

    def __init__(self, reader: Reader, ingest: Ingest, remote: Remote, progress: Progress) -> None:
        self._reader = reader
        self._ingest = ingest
        self._remote = remote
        self._progress = progress
        self._tasks: list[tuple[Task, Needs]] = []
        self._wanted: dict[ObjectId, int] = {}  # chunks that are missing, and their sizes
        self._wanted_bytes = 0
        self._coming: set[ObjectId] = set()  # chunks that were asked for since the last flush
        self._lock = threading.Lock()
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
        self._ask_for_chunks()
        self._settle()

    def want_chunk(self, oid: ObjectId, size: int) -> None:
        """Have a chunk of *size* bytes in the store. Raises CorruptObject for one of another."""
        if oid in self._coming:
            return
        known = self._wanted.get(oid)
        if known is None:
            there = self._reader.kind_and_size(oid)
            known = None if there is None else there[1]
        if known is None:
            self._wanted[oid] = size
            self._wanted_bytes += size
            if self._wanted_bytes >= CHUNKS_BYTES:
                self._ask_for_chunks()
        elif known != size:
            raise CorruptObject(f"the chunk {oid.hex()} is not of the size that its file says")

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
        wanted, self._wanted, self._wanted_bytes = self._wanted, {}, 0

        def handle(objects: Objects) -> None:
            for oid, data in objects:
                if len(data) != wanted[oid]:
                    raise RemoteProblem(
                        f"the chunk {oid.hex()} on the remote is not of the size its file says"
                    )
            self._ingest.add_chunks([data for _, data in objects], [len(objects)])
            self._count(len(objects), sum(len(data) for _, data in objects))

        self._coming.update(wanted)
        self._remote.objects.begin_chunks(wanted, handle)
        if len(self._coming) > FLUSH_CHUNKS:
            self._settle()

    def _settle(self) -> None:
        """Wait until all that was asked for is durable."""
        self._remote.workers.finish()
        self._ingest.flush()
        self._coming.clear()

    def _count(self, objects: int, size: int) -> None:
        with self._lock:
            self.objects += objects
            self.bytes += size
        self._progress.advance(objects, size)
