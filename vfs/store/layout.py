"""Keys and values of the store's tables <-> Python. Bytes: docs/format.md, "tables"."""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.model.names import SEPARATOR


class Kind(enum.IntEnum):
    """What an object is. For statistics and checks: an id alone finds its object."""

    CHUNK = 0
    TREE = 1
    BLOB = 2
    COMMIT = 3


_KINDS: Final = frozenset(Kind)


class Location(NamedTuple):
    """Where an object's bytes are: in a segment, compressed as a whole, in one or more blocks."""

    kind: int
    compressed: bool
    block: int  # the first
    at: int  # where the segment begins, bytes into the first block
    stored: int  # bytes of the segment there
    raw: int  # bytes of the segment before compression
    offset: int  # where the object begins, bytes into the segment
    size: int  # bytes of the object
    condemned: bool = False  # about to be removed: whoever adds the object stores it anew


_COMPRESSED: Final = 0x80
_CONDEMNED: Final = 0x100
_CONDEMNED_AT: Final = 15  # the byte of a row that has this bit, as its lowest
_ALONE: Final = struct.Struct("<QQ")  # an object that is its segment, as most are
_SHARED: Final = struct.Struct("<QQQ")
_BLOCK_BITS: Final = 40
_FIELD: Final = (1 << 24) - 1
_NUMBER: Final = struct.Struct("<IIH")
_KEY: Final = struct.Struct(">Q")
_SLOT: Final = struct.Struct("<32sB")

NUMBER_BYTES: Final = _NUMBER.size
"""Of a row of the table `numbers`."""

BLOCK_BYTES: Final = 4 * 4096 - 16
"""Of a value of the table `blocks`: with LMDB's header it fills four pages to the last byte."""

OBJECT_MAX_BYTES: Final = 1 << 20
SLOT_MAX: Final = 1 << 28


def number_key(number: int) -> bytes:
    """Return the key of a numbered row; rows sort by number."""
    return _KEY.pack(number)


def key_number(key: memoryview | bytes) -> int:
    """Return the number that *key* stands for. Raises CorruptObject."""
    if len(key) != _KEY.size:
        raise CorruptObject("a table of numbers is damaged: one has a wrong length")
    number: int = _KEY.unpack(key)[0]
    return number


def ref_key(data_set: str, name: str) -> bytes:
    """Return the key of a branch or tag, and of a branch's overlay."""
    return f"{data_set}\0{name}".encode("ascii")


def pack_location(place: Location) -> bytes:
    """Return the value of an `objects` row."""
    head = place.kind | (_COMPRESSED if place.compressed else 0)
    head |= _CONDEMNED if place.condemned else 0
    where = place.block | place.at << _BLOCK_BITS
    what = place.stored | place.raw << 24 | head << 48
    if place.size == place.raw:
        return _ALONE.pack(where, what)
    return _SHARED.pack(where, what, place.offset | place.size << 24)


def unpack_location(value: memoryview) -> Location:
    """Return what an `objects` row says. Raises CorruptObject."""
    if len(value) == _ALONE.size:
        where, what = _ALONE.unpack(value)
        offset, size = 0, what >> 24 & _FIELD
    elif len(value) == _SHARED.size:
        where, what, part = _SHARED.unpack(value)
        offset, size = part & _FIELD, part >> 24
    else:
        raise CorruptObject("the index of objects is damaged")
    stored, raw, head = what & _FIELD, what >> 24 & _FIELD, what >> 48
    block, at = where & ((1 << _BLOCK_BITS) - 1), where >> _BLOCK_BITS
    compressed = bool(head & _COMPRESSED)
    kind = head & ~(_COMPRESSED | _CONDEMNED)
    if (
        raw > OBJECT_MAX_BYTES
        or at >= BLOCK_BYTES
        or offset + size > raw
        or not (compressed or stored == raw)
        or kind not in _KINDS
    ):
        raise CorruptObject("the index of objects is damaged")
    return Location(kind, compressed, block, at, stored, raw, offset, size, bool(head & _CONDEMNED))


def is_condemned(row: memoryview | bytes) -> bool:
    """Say whether the object of an `objects` row is about to be removed. Raises CorruptObject."""
    if len(row) <= _CONDEMNED_AT:
        raise CorruptObject("the index of objects is damaged")
    return bool(row[_CONDEMNED_AT] & 1)


def with_condemned(row: memoryview | bytes, *, condemned: bool) -> bytes:
    """Return an `objects` row, in which there is room for it, with the mark set or taken away."""
    changed = bytearray(row)
    changed[_CONDEMNED_AT] = condemned
    return bytes(changed)


class NumberRow(NamedTuple):
    """Where an inode number's entry is."""

    check: int  # 32 more bits of the identity: tells a collision from a repetition
    leaf: int
    at: int  # index in the leaf


def pack_number_row(row: NumberRow) -> bytes:
    """Return the value of a `numbers` row."""
    return _NUMBER.pack(*row)


def unpack_number_row(value: memoryview) -> NumberRow:
    """Return what a `numbers` row says. Raises CorruptObject."""
    if len(value) != _NUMBER.size:
        raise CorruptObject("the table of inode numbers is damaged")
    return NumberRow(*_NUMBER.unpack(value))


class Slot(NamedTuple):
    """A root that the hub shows: a name, and the commit that it meant when the slot was made."""

    commit: ObjectId
    data_set: str
    name: str  # of the branch or tag; the commit's id in hex for the commit itself

    @property
    def is_difference(self) -> bool:
        """Say whether the commit holds what differs between two: `name` is `<id>..<id>`."""
        return SEPARATOR in self.name


def pack_slot(slot: Slot) -> bytes:
    """Return the value of a `slots` row."""
    data_set = slot.data_set.encode("ascii")
    return _SLOT.pack(slot.commit, len(data_set)) + data_set + slot.name.encode("ascii")


def unpack_slot(value: memoryview) -> Slot:
    """Return what a `slots` row says. Raises CorruptObject."""
    try:
        commit, length = _SLOT.unpack_from(value)
        label = bytes(value[_SLOT.size :]).decode("ascii")
    except (struct.error, UnicodeDecodeError):
        raise CorruptObject("the table of roots is damaged") from None
    return Slot(ObjectId(commit), label[:length], label[length:])
