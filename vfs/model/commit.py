"""A commit: one version of a data set. Bytes: docs/format.md, "commit"."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from vfs.errors import CorruptObject, InvalidInput
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.canonical import JSON, decode_json, encode_json
from vfs.model.codec import Cursor
from vfs.model.entry import Entry
from vfs.model.node import Leaf, decode_node, encode_leaf

__all__ = ["COMMIT_MAX_BYTES", "JSON", "TEXT_MAX_BYTES", "Commit", "check_text"]

COMMIT_MAX_BYTES: Final = 1 << 20
TEXT_MAX_BYTES: Final = 64 << 10  # of a message or an author, as people may give them

_MAGIC: Final = b"C\x01"
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_TIME: Final = struct.Struct("<q")
_ROOT_NAME: Final = b"root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One version; never changed."""

    root: Entry  # the top directory, with name b""
    parents: tuple[ObjectId, ...]
    time_ns: int
    author: str
    message: str
    provenance: Mapping[str, JSON] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        # The root's own name is empty, which no leaf holds: it stands in its leaf as "root".
        parts = [_MAGIC, _TIME.pack(self.time_ns), _U16.pack(len(self.parents)), *self.parents]
        for text in (self.author, self.message, encode_json(self.provenance)):
            raw = text.encode("utf-8", "surrogateescape")
            parts += (_U32.pack(len(raw)), raw)
        parts.append(encode_leaf([self.root._replace(name=_ROOT_NAME)]))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Commit:
        """Return what *data* says. Raises CorruptObject."""
        if len(data) > COMMIT_MAX_BYTES or data[: len(_MAGIC)] != _MAGIC:
            raise CorruptObject("this is no commit")
        cursor = Cursor(data)
        cursor.take(len(_MAGIC))
        (time_ns,) = cursor.unpack(_TIME)
        (count,) = cursor.unpack(_U16)
        parents = tuple(ObjectId(cursor.take(ID_BYTES)) for _ in range(count))
        author, message, provenance = (_text(cursor) for _ in range(3))
        leaf = decode_node(cursor.rest())
        if not isinstance(leaf, Leaf) or leaf.names != [_ROOT_NAME] or not leaf.entry(0).is_dir:
            raise CorruptObject("a commit without a root directory")
        return cls(
            root=leaf.entry(0)._replace(name=b""),
            parents=parents,
            time_ns=time_ns,
            author=author,
            message=message,
            provenance=decode_json(provenance, "a commit's provenance"),
        )


def check_text(what: str, text: str, most: int = TEXT_MAX_BYTES) -> None:
    """Raise InvalidInput when *text*, which is *what*, can't be in a commit."""
    try:
        size = len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise InvalidInput(f"the {what} has a character that no text can have") from None
    if size > most:
        raise InvalidInput(f"the {what} has {size:,} bytes", hint=f"{most:,} bytes are allowed")


def _text(cursor: Cursor) -> str:
    (length,) = cursor.unpack(_U32)
    return cursor.take(length).decode("utf-8", "surrogateescape")
