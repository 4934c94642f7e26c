"""Sending what a remote lacks, so that at every moment what counts there is whole.

A node counts on a remote once it is in an index there; everything that it names counts before it.
So a push needs to look no further than to what the remote has, and one that was killed goes on
where it was. It holds as objects are packed after what they name, indexes are written in the order
of their packs, and a pack of nodes comes after the chunks that were packed so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vfs.remote.pack import PackBuilder, SealedPack
from vfs.store.layout import Kind
from vfs.sync.graph import outgoing

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.remote import Remote
    from vfs.store.objects import ObjectSource
    from vfs.sync.progress import Progress

PACKS_AHEAD: Final = 2
"""Packs that are compressed and written while the next one is filled: 64 MiB of memory each."""


class Sender:
    """Sends objects to a remote. For one thread."""

    def __init__(self, source: ObjectSource, remote: Remote, progress: Progress) -> None:
        self._source = source
        self._remote = remote
        self._progress = progress
        self._chunks = PackBuilder()
        self._nodes = PackBuilder()
        self._under_way: list[PackBuilder] = []  # full, but their indexes are not written yet
        self.objects = 0
        self.bytes = 0  # as stored

    def send(self, commits: Sequence[ObjectId]) -> None:
        """Send all that *commits* need, and return when it counts on the remote.

        Raises CorruptObject for what is damaged here, RemoteProblem, RemoteUnavailable.
        """
        packs = self._remote.workers.in_order(self._write, self._packs(commits), ahead=PACKS_AHEAD)
        for pack in packs:
            self._remote.publish(pack)
            self._under_way.pop(0)
            self.objects += pack.objects

    def _packs(self, commits: Sequence[ObjectId]) -> Iterator[PackBuilder]:
        for commit in commits:
            for kind, oid, data in outgoing(self._source, commit, self._has):
                if kind is Kind.CHUNK:
                    self._chunks.add(kind, oid, data)
                    if self._chunks.is_full:
                        yield self._full_chunks()
                    continue
                self._nodes.add(kind, oid, data)
                if self._nodes.is_full:
                    if self._chunks.size:
                        yield self._full_chunks()
                    yield self._full_nodes()
        self._chunks.merge(self._nodes)
        self._nodes = PackBuilder()
        if self._chunks.size:
            yield self._full_chunks()

    def _full_chunks(self) -> PackBuilder:
        full, self._chunks = self._chunks, PackBuilder()
        self._under_way.append(full)
        return full

    def _full_nodes(self) -> PackBuilder:
        full, self._nodes = self._nodes, PackBuilder()
        self._under_way.append(full)
        return full

    def _has(self, kind: Kind, oid: ObjectId) -> bool:
        is_node = kind is not Kind.CHUNK
        if any((oid, is_node) in pack.keys for pack in (self._chunks, self._nodes)):
            return True
        if any((oid, is_node) in pack.keys for pack in self._under_way):
            return True
        return self._remote.catalog.find(oid, is_node=is_node) is not None

    def _write(self, builder: PackBuilder) -> SealedPack:
        """Compress and write a pack. Runs in a pool thread."""
        pack = builder.seal()
        stored = len(pack.body)
        pack = self._remote.write_pack(pack)
        self.bytes += stored
        self._progress.advance(pack.objects, stored)
        return pack
