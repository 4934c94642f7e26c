"""Packs: which of them are to go, and copying what is needed of these into new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vfs.remote import pack as packing
from vfs.remote.layout import PACK_MAX_BYTES, PackId
from vfs.remote.pack import PackBuilder
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.layout import PackIndex
    from vfs.remote.remote import Remote
    from vfs.sync.collecting.reach import Reach
    from vfs.sync.collecting.report import OnProgress

SMALL_SHARE: Final = 0.5  # of a full pack: what has less is small
MANY: Final = 16
"""So many small packs are merged: each push leaves one, and each costs whoever looks for an object
a look into its index. Fewer are left, as merging writes them anew."""

PACKS_AHEAD: Final = 2  # compressed and written while the next one is filled: 64 MiB each


@dataclass(slots=True)
class Census:
    """What packs are worth."""

    condemned: set[PackId] = field(default_factory=set)
    condemned_bytes: int = 0
    objects: int = 0  # that nothing needs
    object_bytes: int = 0  # of them, before compression


def take_census(remote: Remote, reach: Reach, repack_share: float) -> Census:
    """Find the packs that are to go.

    They are: those with a node that nothing needs, as what it names is to go; with something that
    was erased; of which less than *repack_share* is needed, and not in another one; and small ones,
    where there are many.
    """
    census = Census()
    small: list[PackIndex] = []
    erased = remote.journal.state.erased
    for index in sorted(remote.catalog.indexes(), key=lambda one: (-one.size, one.pack)):
        total = needed = 0
        is_condemned = False
        for oid, place in index.within(0, PACK_MAX_BYTES):
            total += place.size
            if not reach.needs(oid, place.kind):
                census.objects += 1
                census.object_bytes += place.size
                is_condemned |= place.kind is not Kind.CHUNK or oid in erased
            elif reach.count_once(oid, place.kind):
                needed += place.size
        if is_condemned or not needed or needed < total * repack_share:
            census.condemned.add(index.pack)
            census.condemned_bytes += index.size
        elif total < packing.PACK_RAW_BYTES * SMALL_SHARE:
            small.append(index)
    if len(small) >= MANY:
        census.condemned.update(index.pack for index in small)
        census.condemned_bytes += sum(index.size for index in small)
    return census


class Copier:
    """Copies objects from packs that are to go into new ones. For one thread, and one use."""

    def __init__(
        self,
        remote: Remote,
        sources: frozenset[PackId],
        is_needed: Callable[[ObjectId, Kind], bool],
        on_progress: OnProgress,
    ) -> None:
        """*sources*: the packs that are to go."""
        self._remote = remote
        self._sources = sources
        self._leaving = sources | remote.catalog.condemned
        self._is_needed = is_needed
        self._on_progress = on_progress
        self._chunks = PackBuilder()
        self._nodes = PackBuilder()
        self._under_way: list[PackBuilder] = []  # full, but their indexes are not written yet
        self.objects = 0
        self.written: set[PackId] = set()
        """What the copies are in. One of the packs that were to go may be such a pack: made by a
        collection that was cut short, of the same bytes."""

    def run(self) -> None:
        """Return when all that is needed counts without the packs that are to go.

        Raises RemoteProblem for what is damaged, RemoteChanged.
        """
        packs = self._remote.workers.in_order(self._remote.seal, self._packs(), ahead=PACKS_AHEAD)
        for pack in packs:
            self._remote.publish(pack)
            self._under_way.pop(0)
            self.written.add(pack.id)
            self.objects += pack.objects
            self._on_progress("objects copied", self.objects)

    def _packs(self) -> Iterator[PackBuilder]:
        for index in self._in_order():
            wanted = [
                (oid, place)
                for oid, place in index.within(0, PACK_MAX_BYTES)
                if self._is_needed(oid, place.kind) and not self._has(oid, place.kind)
            ]
            for objects in self._remote.objects.read(wanted):
                for kind, oid, data in objects:
                    yield from self._add(kind, oid, data)
        self._chunks.merge(self._nodes)
        if self._chunks.size:
            yield self._full(self._chunks)

    def _in_order(self) -> Iterable[PackIndex]:
        """Return the packs that are to go, the oldest first, as versions lie side by side then."""
        catalog = self._remote.catalog
        found = [index for index in catalog.indexes() if index.pack in self._sources]
        return sorted(found, key=lambda one: (catalog.modified_ns(one.pack), one.pack))

    def _add(self, kind: Kind, oid: ObjectId, data: bytes) -> Iterator[PackBuilder]:
        if kind is Kind.CHUNK:
            self._chunks.add(kind, oid, data)
            if self._chunks.is_full:
                full, self._chunks = self._chunks, PackBuilder()
                yield self._full(full)
        else:
            self._nodes.add(kind, oid, data)
            if self._nodes.is_full:
                full, self._nodes = self._nodes, PackBuilder()
                yield self._full(full)

    def _full(self, builder: PackBuilder) -> PackBuilder:
        self._under_way.append(builder)
        return builder

    def _has(self, oid: ObjectId, kind: Kind) -> bool:
        is_node = kind is not Kind.CHUNK
        builders = (self._chunks, self._nodes, *self._under_way)
        if any((oid, is_node) in builder.keys for builder in builders):
            return True
        return self._remote.catalog.counts(oid, is_node=is_node, without=self._leaving)
