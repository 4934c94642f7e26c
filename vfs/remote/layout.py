"""Names and bytes of what lies in a bucket. Bytes: docs/remote-format.md."""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from blake3 import blake3

from vfs.errors import RemoteProblem
from vfs.ids import ID_BYTES, ObjectId
from vfs.store.layout import OBJECT_MAX_BYTES, Kind

FORMAT: Final = 1
SEALED_FORMAT: Final = 2  # of the header in the clear; the one behind it says what it holds
HEADER_NAME: Final = "vfs.json"
PACKS: Final = "packs"
INDEXES: Final = "index"
REFS: Final = "refs"

JSON_MAX_BYTES: Final = 64 << 10
PACK_MAX_BYTES: Final = 128 << 20
INDEX_MAX_BYTES: Final = 64 << 20
PACK_MAGIC: Final = b"vfspack\x01"

_INDEX_MAGIC: Final = b"vfsindx\x01"
_HEAD: Final = struct.Struct("<8s32sQII")  # magic, pack, its size, segments, objects
_SEGMENT: Final = struct.Struct("<IIIB")  # start, stored, raw, compressed
_OBJECT: Final = struct.Struct("<32sBIII")  # id, kind, segment, offset, size
_START: Final = struct.Struct(">Q37x")  # of an object: how its id begins
_NUMBER: Final = struct.Struct("<33xI8x")  # of an object: its segment
_KEY_BYTES: Final = ID_BYTES
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")

PackId = ObjectId
"""BLAKE3-256 of a pack's bytes."""


class Segment(NamedTuple):
    """One or more objects, one behind the other, compressed together."""

    start: int  # in the pack
    stored: int  # bytes there
    raw: int  # bytes before compression
    compressed: bool


class Place(NamedTuple):
    """Where an object is."""

    pack: PackId
    segment: Segment
    kind: Kind
    offset: int  # in the segment before compression
    size: int


def pack_name(pack: PackId) -> str:
    """Return the name of a pack in the bucket."""
    return f"{PACKS}/{pack.hex()}"


def index_name(pack: PackId) -> str:
    """Return the name of a pack's index in the bucket."""
    return f"{INDEXES}/{pack.hex()}"


def pack_of_name(name: str) -> PackId | None:
    """Return the pack that has this name, or whose index has; None for a name that is none's."""
    digits = name.rpartition("/")[2]
    return PackId(ObjectId(bytes.fromhex(digits))) if _HEX.fullmatch(digits) else None


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes: keys sorted, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def decode_json(name: str, data: bytes) -> dict[str, Any]:
    """Return the JSON object that *name* holds. Raises RemoteProblem."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RemoteProblem(f"'{name}' on the remote is damaged: it is no JSON object")
    return value


def encode_header(uuid: str) -> bytes:
    """Return the bytes of a new remote's header."""
    return encode_json({"format": FORMAT, "kind": "vfs remote", "uuid": uuid})


def decode_header(data: bytes) -> str:
    """Return the remote's uuid. Raises RemoteProblem for another format."""
    value = decode_json(HEADER_NAME, data)
    if value.get("kind") != "vfs remote":
        raise RemoteProblem("this is no vfs remote")
    if value.get("format") != FORMAT:
        raise RemoteProblem(
            f"the remote is of format {value.get('format')}; this vfs reads format {FORMAT}",
            hint="install a vfs that reads it",
        )
    uuid = value.get("uuid")
    if not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
        raise RemoteProblem("the remote's header is damaged: it has no uuid")
    return uuid


def is_sealed(header: bytes) -> bool:
    """Say whether a header is that of an encrypted remote. Raises RemoteProblem for none."""
    value = decode_json(HEADER_NAME, header)
    return value.get("kind") == "vfs remote" and value.get("format") == SEALED_FORMAT


def encode_index(
    pack: PackId,
    size: int,
    segments: Sequence[Segment],
    objects: Sequence[tuple[ObjectId, Kind, int, int, int]],
) -> bytes:
    """Return the bytes of an index. *objects*: id, kind, number of the segment, offset, size."""
    parts = [_HEAD.pack(_INDEX_MAGIC, pack, size, len(segments), len(objects))]
    parts += [_SEGMENT.pack(*segment) for segment in segments]
    parts += [_OBJECT.pack(*one) for one in sorted(objects)]
    body = b"".join(parts)
    return body + blake3(body).digest()


def encode_salt(generation: int) -> bytes:
    """Return what stands before the segments of packs of a generation: nothing in the first."""
    return generation.to_bytes(8, "little") if generation else b""


class PackIndex:
    """Which objects a pack holds, and where. Bounds were checked; ids are when bytes arrive."""

    def __init__(self, pack: PackId, data: bytes) -> None:
        """Take *data*, which is to be the index of *pack*. Raises RemoteProblem."""
        self.pack = pack
        name = index_name(pack)
        if len(data) < _HEAD.size + ID_BYTES or blake3(data[:-ID_BYTES]).digest() != data[-32:]:
            raise RemoteProblem(f"'{name}' on the remote is damaged")
        magic, named, self.size, segments, self.count = _HEAD.unpack_from(data)
        self._data = memoryview(data)
        self._objects = _HEAD.size + segments * _SEGMENT.size
        end = self._objects + self.count * _OBJECT.size
        if magic != _INDEX_MAGIC or named != pack or end + ID_BYTES != len(data):
            raise RemoteProblem(f"'{name}' on the remote is no index of that pack")
        self._segments = segments
        self._by_segment: dict[int, array[int]] = {}

    def find(self, oid: ObjectId, *, is_node: bool) -> Place | None:
        """Return where an object is; a node counts only as one. Raises RemoteProblem."""
        low, high = 0, self.count
        data, base, size = self._data, self._objects, _OBJECT.size
        while low < high:
            middle = (low + high) // 2
            at = base + middle * size
            if data[at : at + _KEY_BYTES].tobytes() < oid:
                low = middle + 1
            else:
                high = middle
        while low < self.count:
            found, kind, segment, offset, length = _OBJECT.unpack_from(data, base + low * size)
            if found != oid:
                return None
            if kind or not is_node:
                return self._place(kind, segment, offset, length)
            low += 1
        return None

    def within(self, start: int, end: int) -> list[tuple[ObjectId, Place]]:
        """Return the objects of the segments that begin in [start, end) of the pack.

        Looks at all of the index the first time. Raises RemoteProblem.
        """
        if not self._by_segment:
            self._by_segment = self._sorted_by_segment()
        heads = self._data[_HEAD.size : self._objects]
        found = []
        for number, (at, *_) in enumerate(_SEGMENT.iter_unpack(heads)):
            if start <= at < end:
                for one in self._by_segment.get(number, ()):
                    here = self._objects + one * _OBJECT.size
                    oid, kind, _, offset, size = _OBJECT.unpack_from(self._data, here)
                    found.append((ObjectId(oid), self._place(kind, number, offset, size)))
        return found

    def _sorted_by_segment(self) -> dict[int, array[int]]:
        """Return which objects each segment has, 4 bytes for each."""
        objects = self._data[self._objects : self._objects + self.count * _OBJECT.size]
        found: dict[int, array[int]] = {}
        for one, (number,) in enumerate(_NUMBER.iter_unpack(objects)):
            if number not in found:
                found[number] = array("I")
            found[number].append(one)
        return found

    def ids(self) -> Iterator[tuple[ObjectId, Kind]]:
        """Yield the objects, ascending by id."""
        for number in range(self.count):
            at = self._objects + number * _OBJECT.size
            yield ObjectId(bytes(self._data[at : at + ID_BYTES])), Kind(self._data[at + ID_BYTES])

    def starts(self) -> Iterator[int]:
        """Yield the first 8 bytes of each object's id as a number, ascending."""
        objects = self._data[self._objects : self._objects + self.count * _OBJECT.size]
        return (start for (start,) in _START.iter_unpack(objects))

    def _place(self, kind: int, number: int, offset: int, size: int) -> Place:
        if number < self._segments and kind in _KINDS:
            at = _HEAD.size + number * _SEGMENT.size
            start, stored, raw, compressed = _SEGMENT.unpack_from(self._data, at)
            if (
                raw <= OBJECT_MAX_BYTES
                and stored <= OBJECT_MAX_BYTES
                and start + stored <= self.size <= PACK_MAX_BYTES
                and offset + size <= raw
                and (compressed == 1 or (compressed == 0 and stored == raw))
            ):
                segment = Segment(start, stored, raw, bool(compressed))
                return Place(self.pack, segment, Kind(kind), offset, size)
        raise RemoteProblem(f"'{index_name(self.pack)}' on the remote says what can't be")


_KINDS: Final = frozenset(Kind)
