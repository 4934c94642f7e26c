"""Reading a remote's objects by their ids: ranges of packs, side by side ones together, verified.

Nothing here trusts the remote: sizes are bounded before memory is taken, and bytes that are not
what an id says are never handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

from vfs.errors import CorruptObject, NotFound, RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.recent import Recent
from vfs.remote.bucket import Bucket, read_again
from vfs.remote.catalog import Catalog
from vfs.remote.layout import PackId, Place, Segment, pack_name
from vfs.remote.parallel import Workers
from vfs.store.layout import Kind
from vfs.store.whole import Part, verified

T = TypeVar("T")

GAP_BYTES: Final = 64 << 10
"""Bytes between two segments that are read for nothing rather than by a request of their own: at
1 Gbit/s they take 0.5 ms, a request takes several."""

RANGE_BYTES: Final = 4 << 20
RANGE_RAW_BYTES: Final = 8 << 20  # before compression: all of it is in memory at once
WINDOW_BYTES: Final = 2 << 20  # of a pack, fetched together for whoever reads on demand
NODES_PART: Final = 4
"""Of it, for one who wants a node: 0.5 MiB of leaves have some 15,000 entries, whose inode numbers
take 0.1 s to store."""

CACHE_BYTES: Final = 32 << 20  # segments of nodes: their neighbours are asked for next


class Arrived(NamedTuple):
    """What came of one segment, verified. Its bytes are a view of all that one request fetched."""

    parts: list[Part]  # that were asked for, in the order in which they lie there
    kinds: list[Kind]  # of these
    stored: bytes | memoryview  # the segment as it came
    raw: bytes | memoryview  # before compression
    compressed: bool

    def data(self, part: Part) -> bytes:
        """Return a copy of one object."""
        return bytes(self.raw[part.offset : part.offset + part.size])

    def only(self, oid: ObjectId) -> Arrived | None:
        """Return this as if one object of it had been asked for; None where it was not."""
        for part, kind in zip(self.parts, self.kinds, strict=True):
            if part.oid == oid:
                return self._replace(parts=[part], kinds=[kind])
        return None


Handle: TypeAlias = Callable[[Arrived], None]


class Sought(NamedTuple):
    """A segment of a pack, and what is wanted of it."""

    pack: PackId
    segment: Segment
    parts: list[Part]  # in the order in which they lie there
    kinds: list[Kind]  # of these


class _Range(NamedTuple):
    """What one request fetches."""

    pack: PackId
    start: int
    end: int
    raw: int  # bytes before compression
    members: list[Sought]


class Window(NamedTuple):
    """A piece of a pack on a fixed grid: who wants anything of it wants the same request."""

    pack: PackId
    start: int
    wanted: tuple[ObjectId, Place]
    around: list[tuple[ObjectId, Place]]  # that one, too


class RemoteObjects:
    """Reads the objects that a catalog knows. For one thread; what it starts runs in others."""

    def __init__(self, bucket: Bucket, catalog: Catalog, workers: Workers) -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._workers = workers
        self._segments: Recent[tuple[PackId, int], bytes] = Recent(CACHE_BYTES)
        self._moved: list[tuple[list[ObjectId], Handle]] = []  # their packs went meanwhile

    def nodes(self, ids: Iterable[ObjectId]) -> dict[ObjectId, bytes]:
        """Return tree nodes, blob nodes or commits, in as few requests as they take, in parallel.

        Raises RemoteProblem for one that is missing or damaged.
        """
        wanted = set(ids)
        return self._again(lambda: self._nodes(wanted))

    def _nodes(self, ids: set[ObjectId]) -> dict[ObjectId, bytes]:
        found: dict[ObjectId, bytes] = {}
        missing: list[tuple[ObjectId, Place]] = []
        for oid in ids:
            place = self.place(oid, is_node=True)
            raw = self._segments.get((place.pack, place.segment.start))
            data = None if raw is None else raw[place.offset : place.offset + place.size]
            if data is not None and object_id(data) == oid:
                found[oid] = data
            else:
                missing.append((oid, place))
        ranges = _ranges(_by_segment(missing))
        answers = self._workers.in_order(self._arrived, ranges)
        for wanted, segments in zip(ranges, answers, strict=True):
            for member, one in zip(wanted.members, segments, strict=True):
                self._segments.put(
                    (wanted.pack, member.segment.start), bytes(one.raw), len(one.raw)
                )
                found.update((part.oid, one.data(part)) for part in one.parts)
        return found

    def get(self, oid: ObjectId) -> bytes | None:
        """Return an object of any kind; None where no index has it.

        Raises RemoteProblem where it is damaged, RemoteUnavailable.
        """

        def read() -> bytes | None:
            window = self.window(oid)
            if window is None:
                return None
            (arrived,) = self._read_all([window.wanted])
            return arrived.data(arrived.parts[0])

        return self._again(read)

    def place(self, oid: ObjectId, *, is_node: bool) -> Place:
        """Return where an object is. Raises RemoteProblem where no index has it."""
        place = self._catalog.find(oid, is_node=is_node)
        if place is None:
            raise RemoteProblem(f"the object {oid.hex()} is not on the remote")
        return place

    def read(
        self, objects: Iterable[tuple[ObjectId, Place]]
    ) -> Iterator[list[tuple[Kind, ObjectId, bytes]]]:
        """Yield the objects at these places, pack by pack, as they lie there.

        Raises RemoteProblem, NotFound where a pack is gone.
        """
        yield from self._workers.in_order(self._read_range, _ranges(_by_segment(objects)))

    def begin_chunks(self, sought: Iterable[Sought], handle: Handle) -> None:
        """Have chunks fetched and handed to *handle*, a segment at a time, by other threads.

        Returns while they are under way: `finish_chunks` waits, and raises what went wrong.
        """
        for one in _ranges(sought):
            self._workers.begin(lambda wanted=one: self._hand_over(wanted, handle))  # type: ignore[misc]

    def finish_chunks(self) -> None:
        """Wait for all chunks that were asked for.

        Raises RemoteProblem, also for one that is missing, RemoteUnavailable.
        """
        self._workers.finish()
        moved, self._moved = self._moved, []
        if moved:  # packs were removed after others had got what is needed of them
            self._catalog.refresh(self._workers)
            for ids, handle in moved:
                places = ((oid, self.place(oid, is_node=False)) for oid in ids)
                self.begin_chunks(_by_segment(places), handle)
            self._workers.finish()
        if self._moved:
            raise RemoteProblem(
                "the remote lacks a pack that it has the index of",
                hint="vfs fsck --remote says what is touched",
            )

    def window(self, oid: ObjectId) -> Window | None:
        """Return where an object is, with all that lies around it; None where no index has it."""
        place = self._catalog.find(oid, is_node=True) or self._catalog.find(oid, is_node=False)
        if place is None:
            return None
        is_node = place.kind is not Kind.CHUNK
        size = max(WINDOW_BYTES // NODES_PART, 1) if is_node else WINDOW_BYTES
        start = place.segment.start // size * size
        around = [
            one
            for one in self._catalog.within(place.pack, start, start + size)
            if (one[1].kind is not Kind.CHUNK) == is_node
        ]
        return Window(place.pack, start, (oid, place), around)

    def read_window(self, window: Window) -> list[Arrived]:
        """Return what a window holds as it lies there, or where that is damaged its object alone.

        Meant for any thread. Raises RemoteProblem, RemoteUnavailable.
        """
        try:
            return self._read_all(window.around)
        except RemoteProblem:
            return self._read_all([window.wanted])

    def _read_all(self, objects: Sequence[tuple[ObjectId, Place]]) -> list[Arrived]:
        ranges = _ranges(_by_segment(objects))
        return [one for wanted in ranges for one in self._arrived(wanted)]

    def _read_range(self, wanted: _Range) -> list[tuple[Kind, ObjectId, bytes]]:
        """Return the objects of a range. Runs in pool threads."""
        return [
            (kind, part.oid, one.data(part))
            for one in self._arrived(wanted)
            for kind, part in zip(one.kinds, one.parts, strict=True)
        ]

    def _hand_over(self, wanted: _Range, handle: Handle) -> None:
        try:
            arrived = self._arrived(wanted)
        except NotFound:
            ids = [part.oid for member in wanted.members for part in member.parts]
            self._moved.append((ids, handle))
            return
        for one in arrived:
            handle(one)

    def _again(self, call: Callable[[], T]) -> T:
        """Return what *call* does; once more with new indexes where a pack is gone."""
        try:
            return call()
        except NotFound:
            self._catalog.refresh(self._workers)
        try:
            return call()
        except NotFound as error:
            raise RemoteProblem(f"the remote is damaged: {error}") from error

    def _arrived(self, wanted: _Range) -> list[Arrived]:
        """Return the segments of a range, decompressed and verified. Runs in pool threads."""
        name, length = pack_name(wanted.pack), wanted.end - wanted.start

        def read() -> list[Arrived]:
            data = memoryview(self._bucket.get_range(name, wanted.start, length))
            try:
                return [_verified(member, wanted.start, data) for member in wanted.members]
            except CorruptObject as error:
                raise RemoteProblem(
                    f"'{name}' on the remote is damaged, or its index is: {error}"
                ) from error

        return read_again(read)


def _by_segment(wanted: Iterable[tuple[ObjectId, Place]]) -> Iterator[Sought]:
    """Yield the segments that objects are in."""
    found: dict[tuple[PackId, Segment], list[tuple[Part, Kind]]] = {}
    for oid, place in wanted:
        part = Part(place.offset, place.size, oid)
        found.setdefault((place.pack, place.segment), []).append((part, place.kind))
    for (pack, segment), objects in found.items():
        objects.sort()
        yield Sought(pack, segment, [part for part, _ in objects], [kind for _, kind in objects])


def _ranges(sought: Iterable[Sought]) -> list[_Range]:
    """Return what to ask for: segments that lie close together are one request."""
    ranges: list[_Range] = []
    for member in sorted(sought, key=lambda one: (one.pack, one.segment)):
        pack, segment = member.pack, member.segment
        end = segment.start + segment.stored
        last = ranges[-1] if ranges else None
        if (
            last is not None
            and last.pack == pack
            and segment.start - last.end <= GAP_BYTES
            and end - last.start <= RANGE_BYTES
            and last.raw + segment.raw <= RANGE_RAW_BYTES
        ):
            ranges[-1] = last._replace(end=max(last.end, end), raw=last.raw + segment.raw)
            last.members.append(member)
        else:
            ranges.append(_Range(pack, segment.start, end, segment.raw, [member]))
    return ranges


def _verified(member: Sought, start: int, data: memoryview) -> Arrived:
    """Return a segment whose wanted objects are what their ids say. Raises CorruptObject."""
    at, stored, raw, compressed = member.segment
    body = data[at - start : at - start + stored]
    whole = verified(body, member.parts, raw=raw, compressed=compressed)
    return Arrived(member.parts, member.kinds, body, whole, compressed)
