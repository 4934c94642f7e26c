"""A line of the audit record. Bytes: docs/format.md, "audit line"."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES
from vfs.model.canonical import JSON, decode_json, encode_json
from vfs.model.codec import Cursor

FIRST: Final = bytes(ID_BYTES)
"""Stands for the hash of the line before, where there is none."""

TEXT_MAX_BYTES: Final = 2**16 - 1

_MAGIC: Final = b"A\x01"
_TIME: Final = struct.Struct("<q")
_LENGTH: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """What was done, by whom and when; never changed."""

    before: bytes  # BLAKE3-256 of the line before
    time_ns: int
    action: str  # such as "ref.move"
    who: str
    facts: Mapping[str, JSON]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        parts = [_MAGIC, self.before, _TIME.pack(self.time_ns)]
        for text in (self.action, self.who):
            raw = text.encode("utf-8", "surrogateescape")[:TEXT_MAX_BYTES]
            parts += (_LENGTH.pack(len(raw)), raw)
        parts.append(encode_json(self.facts).encode("utf-8", "surrogateescape"))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> AuditLine:
        """Return what *data* says. Raises CorruptObject."""
        cursor = Cursor(data)
        if cursor.take(len(_MAGIC)) != _MAGIC:
            raise CorruptObject("this is no line of the audit record")
        before = cursor.take(ID_BYTES)
        (time_ns,) = cursor.unpack(_TIME)
        action, who = (_text(cursor.take(cursor.unpack(_LENGTH)[0])) for _ in range(2))
        facts = decode_json(_text(cursor.rest()), "what a line of the audit record says")
        return cls(before=before, time_ns=time_ns, action=action, who=who, facts=facts)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
