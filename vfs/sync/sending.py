"""Sending what a remote lacks, so that at every moment what counts there is whole.

A node counts on a remote once it is in an index there; everything that it names counts before it.
So a push needs to look no further than to what the remote has, and one that was killed goes on
where it was. It holds as objects are packed after what they name, indexes are written in the order
of their packs, and a pack of nodes comes after the chunks that were packed so far.

What is gone here, by a rule of retention or as it was erased, is not sent: the journal says so
before it could be missed. What is condemned there (docs/decisions/0006-remote-gc.md) is sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, Erased, RemoteChanged
from vfs.remote import notes
from vfs.remote.notes import Reason
from vfs.remote.pack import PackBuilder, SealedPack
from vfs.store.compression import compress_all
from vfs.store.layout import Kind, Location
from vfs.store.whole import Gathering, Part, is_whole, verified
from vfs.sync.graph import below, outgoing

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository
    from vfs.sync.progress import Progress

PACKS_AHEAD: Final = 2
"""Packs that are compressed and written while the next one is filled: 64 MiB of memory each."""

AS_STORED_BYTES: Final = 64 << 10
"""Segments of so much, before compression, travel as they are stored; what is in smaller ones is
compressed together with its neighbours."""

HELD_CHUNKS: Final = 100_000
"""Chunks whose segments are not complete: so many wait at most for what else is missing there."""

TRIES: Final = 20
"""Times that a push begins anew as the remote was cleaned up meanwhile."""


class Sender:
    """Sends objects to a remote. For one thread."""

    def __init__(self, repo: Repository, remote: Remote, progress: Progress) -> None:
        self._source = repo.reader
        self._store = repo.store
        self._remote = remote
        self._progress = progress
        self.objects = 0
        self.bytes = 0  # as stored
        self.withheld: set[ObjectId] = set()
        """Chunks that are here and were not sent, as they were erased from the remote."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._chunks = PackBuilder()
        self._nodes = PackBuilder()
        self._gathering: Gathering[tuple[int, int]] = Gathering()  # block, and place in it
        self._held: dict[ObjectId, Location] = {}  # chunks that are in none of the packs yet
        self._under_way: list[PackBuilder] = []  # full, but their indexes are not written yet
        self._pruned: dict[ObjectId, Reason] = {}  # met, and to be told before they count
        self._erased: dict[Reason, set[ObjectId]] = {}
        self._revived: set[ObjectId] = set()  # pruned there, and to be whole again

    def send(self, commits: Sequence[ObjectId]) -> None:
        """Send all that *commits* need, and return when it counts on the remote.

        Raises CorruptObject for what is damaged here, RemoteProblem, RemoteUnavailable, and
        RemoteChanged where the remote is cleaned up again and again meanwhile.
        """
        for left in reversed(range(TRIES)):
            self._remote.refresh()
            try:
                self._send(commits)
                return
            except RemoteChanged:
                if not left:
                    raise

    def confirm(self, commits: Sequence[ObjectId]) -> None:
        """See to it that what was sent counts still: a reference is about to name it."""
        try:
            self._remote.require_current()
        except RemoteChanged:
            self.send(commits)

    def _send(self, commits: Sequence[ObjectId]) -> None:
        self._begin_anew()
        revived = frozenset(self._remote.journal.state.pruned.keys() & set(commits))
        self._revived.update(revived)
        packs = self._remote.workers.in_order(self._write, self._packs(commits), ahead=PACKS_AHEAD)
        for pack in packs:
            self._tell()
            self._remote.publish(pack)
            self._under_way.pop(0)
            self.objects += pack.objects
        if revived:
            self._remote.note(notes.whole(revived))

    def _packs(self, commits: Sequence[ObjectId]) -> Iterator[PackBuilder]:
        for commit in commits:
            for kind, oid, data in outgoing(self._source, commit, self._has, self._names):
                self._revived.discard(oid)
                if kind is Kind.CHUNK:
                    yield from self._chunk(oid)
                    continue
                self._nodes.add(kind, oid, data)
                if self._nodes.is_full:
                    yield from self._let_go()
                    if self._chunks.size:
                        yield self._full_chunks()
                    yield self._full_nodes()
        yield from self._let_go()
        self._chunks.merge(self._nodes)
        self._nodes = PackBuilder()
        if self._chunks.size:
            yield self._full_chunks()

    def _chunk(self, oid: ObjectId) -> Iterator[PackBuilder]:
        """Take a chunk that the remote lacks; it waits for the others of its segment."""
        try:
            place = self._held[oid] = self._source.place(oid)
        except Erased:
            self._note_erased(oid)
            return
        part = Part(place.offset, place.size, oid)
        parts = self._gathering.add((place.block, place.at), place.raw, part)
        if parts is not None:
            yield from self._add(parts)
        if len(self._held) >= HELD_CHUNKS:
            yield from self._let_go()

    def _let_go(self) -> Iterator[PackBuilder]:
        """Have no chunk wait any longer."""
        for _, parts in self._gathering.rest():
            yield from self._add(parts)

    def _add(self, parts: Sequence[Part]) -> Iterator[PackBuilder]:
        """Pack chunks of one segment: all as it is stored, or each by itself."""
        place = self._held[parts[0].oid]
        if place.raw >= AS_STORED_BYTES and is_whole(parts, place.raw):
            objects = [(part.oid, part.size) for part in parts]
            self._chunks.add_stored(objects, partial(self._load, place, parts))
        else:
            for part in parts:
                self._chunks.add(Kind.CHUNK, part.oid, self._source.get(part.oid))
        for part in parts:
            del self._held[part.oid]
        if self._chunks.is_full:
            yield self._full_chunks()

    def _load(self, place: Location, parts: Sequence[Part]) -> tuple[bytes, bool]:
        """Return a segment as it is stored, verified, and whether compressed. In pool threads."""
        reader = self._store.reader(cache_bytes=0)
        try:
            stored = reader.copied(place)
            verified(stored, parts, raw=place.raw, compressed=place.compressed)
        except CorruptObject:
            # Somebody may have moved it meanwhile; if it is damaged, this says so.
            raw = b"".join([reader.get(part.oid) for part in parts])
            (packed,) = compress_all([raw])
            return (raw, False) if packed is None else (packed, True)
        return stored, place.compressed

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
        if not is_node and oid in self._held:
            return True
        if any((oid, is_node) in pack.keys for pack in (self._chunks, self._nodes)):
            return True
        if any((oid, is_node) in pack.keys for pack in self._under_way):
            return True
        if kind is Kind.CHUNK and oid in self._remote.journal.state.erased:
            self.withheld.add(oid)
            return True
        if oid in self._revived:
            return False
        return self._remote.catalog.counts(oid, is_node=is_node)

    def _names(self, kind: Kind, oid: ObjectId, data: bytes) -> Iterator[tuple[Kind, ObjectId]]:
        """Yield what an object names, but not the content of a version that has none here."""
        pruned = self._store.pruned.get(oid) if kind is Kind.COMMIT else None
        if pruned is not None:
            self._pruned[oid] = Reason(pruned.time_ns, pruned.reason)
        for child_kind, child in below(kind, data):
            if pruned is None or child_kind is not Kind.TREE:
                yield child_kind, child

    def _note_erased(self, oid: ObjectId) -> None:
        erasure = self._store.erasures.reason(oid)
        if erasure is not None:
            reason = Reason(erasure.time_ns, erasure.reason)
            self._erased.setdefault(reason, set()).add(oid)

    def _tell(self) -> None:
        """Have the journal say what will be missed in what counts next."""
        pruned, self._pruned = self._pruned, {}
        if pruned:
            self._remote.note(notes.pruned(pruned))
        erased, self._erased = self._erased, {}
        for reason, chunks in erased.items():
            self._remote.note(notes.erased(reason, chunks=frozenset(chunks), contents=frozenset()))

    def _write(self, builder: PackBuilder) -> SealedPack:
        """Compress and write a pack. Runs in a pool thread."""
        pack = self._remote.seal(builder)
        self.bytes += pack.stored
        self._progress.advance(pack.objects, pack.stored)
        return pack
