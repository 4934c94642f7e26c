"""Branches, tags and the lines of their logs, and the bytes that rows keep of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.codec import Cursor
from vfs.store.layout import key_number

RefKind = Literal["branch", "tag"]

_KINDS: Final[tuple[RefKind, ...]] = ("branch", "tag")
TEXT_MAX_BYTES: Final = 2**16 - 1  # of who and why; longer ones are cut
_REF: Final = struct.Struct("<B32sQq")
_UPDATE: Final = struct.Struct("<B32s32sq")
_LENGTH: Final = struct.Struct("<H")
_SLOT_BYTES: Final = 8  # at the end of a key of the log


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch or a tag."""

    data_set: str
    name: str
    kind: RefKind
    commit: ObjectId
    slot: int
    time_ns: int  # of the last update


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One line of a reference's log; `old` or `new` is None where it began or ended."""

    slot: int
    kind: RefKind
    old: ObjectId | None
    new: ObjectId | None
    time_ns: int
    who: str
    why: str


def pack_ref(ref: Ref) -> bytes:
    """Return the value of a `refs` row."""
    return _REF.pack(_KINDS.index(ref.kind), ref.commit, ref.slot, ref.time_ns)


def unpack_ref(data_set: str, name: str, value: memoryview) -> Ref:
    """Return the reference that a row of `refs` says. Raises CorruptObject."""
    if len(value) != _REF.size or value[0] >= len(_KINDS):
        raise CorruptObject(f"the reference '{data_set}@{name}' is damaged")
    kind, commit, slot, time_ns = _REF.unpack(value)
    return Ref(data_set, name, _KINDS[kind], ObjectId(commit), slot, time_ns)


def pack_update(update: RefUpdate) -> bytes:
    """Return the value of a `ref_log` row; its slot is in the key."""
    old, new = update.old or NO_CONTENT, update.new or NO_CONTENT
    value = _UPDATE.pack(_KINDS.index(update.kind), old, new, update.time_ns)
    for text in (update.who, update.why):
        raw = text.encode("utf-8", "surrogateescape")[:TEXT_MAX_BYTES]
        value += _LENGTH.pack(len(raw)) + raw
    return value


def unpack_update(key: bytes, value: bytes) -> RefUpdate:
    """Return what a row of `ref_log` says. Raises CorruptObject."""
    cursor = Cursor(value)
    kind, old, new, time_ns = _UPDATE.unpack(cursor.take(_UPDATE.size))
    texts = []
    for _ in range(2):
        (length,) = cursor.unpack(_LENGTH)
        texts.append(cursor.take(length).decode("utf-8", "surrogateescape"))
    if kind >= len(_KINDS):
        raise CorruptObject("the log of references is damaged")
    return RefUpdate(
        slot=key_number(key[-_SLOT_BYTES:]),
        kind=_KINDS[kind],
        old=ObjectId(old) if old != NO_CONTENT else None,
        new=ObjectId(new) if new != NO_CONTENT else None,
        time_ns=time_ns,
        who=texts[0],
        why=texts[1],
    )
