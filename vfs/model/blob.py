"""Nodes of a blob (a file's chunk list) <-> bytes. Bytes: docs/format.md, "blob node"."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import SIZE_MAX_BYTES
from vfs.model.node import LEVEL_MAX, NODE_MAX_BYTES

_MAGIC: Final = 0x42  # "B"
_HEADER: Final = struct.Struct("<BBH")  # magic, level, count
_SPAN: Final = struct.Struct("<32sQ")


class Span(NamedTuple):
    """Consecutive bytes of a file: a chunk, a hole (NO_CONTENT), or what a child node covers."""

    content: ObjectId
    length: int  # bytes, above 0

    @property
    def is_hole(self) -> bool:
        """Say whether this reads as zeros."""
        return self.content == NO_CONTENT


class BlobNode:
    """A decoded node; `level` 0 holds chunks and holes."""

    __slots__ = ("ends", "level", "spans")

    def __init__(self, level: int, spans: Sequence[Span]) -> None:
        self.level = level
        self.spans = spans
        self.ends = list(accumulate(span.length for span in spans))

    def find(self, offset: int) -> int:
        """Return the index of the span that holds the byte at *offset*."""
        return bisect_right(self.ends, offset)

    @property
    def size(self) -> int:
        """Return the bytes that this node covers."""
        return self.ends[-1]


def encode_blob_node(level: int, spans: Sequence[Span]) -> bytes:
    """Return the canonical bytes."""
    body = [_SPAN.pack(*span) for span in spans]
    return _HEADER.pack(_MAGIC, level, len(spans)) + b"".join(body)


def decode_blob_node(data: bytes) -> BlobNode:
    """Return the node that *data* holds. Raises CorruptObject."""
    if not _HEADER.size < len(data) <= NODE_MAX_BYTES:
        raise CorruptObject(f"a blob node of {len(data)} bytes")
    magic, level, count = _HEADER.unpack_from(data)
    if magic != _MAGIC or level > LEVEL_MAX or len(data) != _HEADER.size + count * _SPAN.size:
        raise CorruptObject("this is no blob node, or a truncated one")
    spans = [
        Span(ObjectId(content), length)
        for content, length in _SPAN.iter_unpack(data[_HEADER.size :])
    ]
    if not all(span.length for span in spans) or (level and any(s.is_hole for s in spans)):
        raise CorruptObject("a blob node has an empty span")
    node = BlobNode(level, spans)
    if node.size > SIZE_MAX_BYTES:
        raise CorruptObject("a blob node covers more than a file can hold")
    return node
