"""The contents of files: building a blob from chunks, and reading any range of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import BlobNode, Span, decode_blob_node, encode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry
from vfs.recent import Recent
from vfs.repo.prolly import Builder
from vfs.store.ingest import Ingest
from vfs.store.layout import Kind
from vfs.store.reader import Reader

_BOUNDARY: Final = 0x7F  # a node of 128 spans more than the fewest, on average
_NODES_CACHED: Final = 64


class _BlobShape:
    """Spans at every level. Boundaries depend on the ids of chunks and nodes."""

    min_items = 32
    max_items = 512
    max_bytes = 1 << 20

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def size(self, level: int, item: Span) -> int:
        return 0  # spans are all of one size: counting them is enough

    def is_boundary(self, level: int, item: Span) -> bool:
        return not item.content[0] & _BOUNDARY and not item.is_hole

    def write(self, level: int, items: list[Span]) -> Span:
        node = self._ingest.add_object(Kind.BLOB, encode_blob_node(level, items))
        return Span(node, sum(span.length for span in items))


class BlobBuilder:
    """Builds the content of one file from its chunks and holes, in order."""

    def __init__(self, ingest: Ingest) -> None:
        self._shape = _BlobShape(ingest)
        self._builder: Builder[Span] = Builder(self._shape)
        self._hole = 0  # bytes of a hole that is not appended yet
        self._holes = 0
        self._size = 0

    def add(self, chunk: ObjectId, length: int) -> None:
        """Append a chunk of *length* bytes."""
        self._close_hole()
        self._builder.add(Span(chunk, length))
        self._size += length

    def hole(self, length: int) -> None:
        """Append *length* bytes of zeros that take no room."""
        self._hole += length
        self._holes += length
        self._size += length

    def finish(self) -> tuple[ObjectId, int, int, int]:
        """Return the content id, the entry's flags, the size and the bytes in holes."""
        self._close_hole()
        level, spans = self._builder.finish()
        if not spans:
            return NO_CONTENT, 0, 0, 0
        if len(spans) == 1 and not spans[0].is_hole:
            flags = FLAG_BLOB if level else 0
            return spans[0].content, flags, self._size, self._holes
        root = self._shape.write(level, spans)
        return root.content, FLAG_BLOB, self._size, self._holes

    def _close_hole(self) -> None:
        if self._hole:
            self._builder.add(Span(NO_CONTENT, self._hole))
            self._hole = 0


class FileReader:
    """Reads files of a store. For one thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._nodes: Recent[ObjectId, BlobNode] = Recent(_NODES_CACHED)

    def read(self, entry: Entry, offset: int, length: int) -> bytes:
        """Return *length* bytes of the regular file *entry* from *offset*; fewer only at its end.

        Raises CorruptObject.
        """
        length = min(length, entry.size - offset)
        if length <= 0:
            return b""
        if not entry.flags & FLAG_BLOB:
            data = self._chunk(entry.content, entry.size)
            return data if length == len(data) else data[offset : offset + length]
        parts = list(self._parts(entry, offset, length))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self, entry: Entry, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a range, at most 1 MiB at a time; holes as zeros."""
        end = entry.size if length is None else min(entry.size, offset + length)
        while offset < end:
            data = self.read(entry, offset, min(1 << 20, end - offset))
            yield data
            offset += len(data)

    def spans(self, entry: Entry) -> Iterator[Span]:
        """Yield the chunks and holes of a regular file, in order."""
        if not entry.flags & FLAG_BLOB:
            if entry.size:
                yield Span(entry.content, entry.size)
            return
        yield from self._spans(self._root(entry))

    def _spans(self, node: BlobNode) -> Iterator[Span]:
        if node.level == 0:
            yield from node.spans
            return
        for index in range(len(node.spans)):
            yield from self._spans(self._child(node, index))

    def _parts(self, entry: Entry, offset: int, length: int) -> Iterator[bytes]:
        while length:
            node, start = self._root(entry), 0
            while node.level:
                index = node.find(offset - start)
                start += node.ends[index] - node.spans[index].length
                node = self._child(node, index)
            index = node.find(offset - start)
            while length and index < len(node.spans):
                span = node.spans[index]
                at = offset - start - (node.ends[index] - span.length)
                take = min(length, span.length - at)
                yield self._slice(span, at, take)
                offset += take
                length -= take
                index += 1

    def _slice(self, span: Span, at: int, take: int) -> bytes:
        if span.is_hole:
            return bytes(take)
        data = self._chunk(span.content, span.length)
        return data if take == len(data) else data[at : at + take]

    def _chunk(self, oid: ObjectId, size: int) -> bytes:
        data = self._reader.get(oid)
        if len(data) != size:
            raise CorruptObject(f"the chunk {oid.hex()} is not of the size that its file says")
        return data

    def _root(self, entry: Entry) -> BlobNode:
        root = self._node(entry.content)
        if root.size != entry.size:
            raise CorruptObject(f"the content of {entry.name!r} is not of the size it should be")
        return root

    def _child(self, parent: BlobNode, index: int) -> BlobNode:
        span = parent.spans[index]
        node = self._node(span.content)
        if node.level != parent.level - 1 or node.size != span.length:
            raise CorruptObject("a blob node is not what its parent says")
        return node

    def _node(self, oid: ObjectId) -> BlobNode:
        node = self._nodes.get(oid)
        if node is None:
            node = decode_blob_node(self._reader.get(oid))
            self._nodes.put(oid, node)
        return node
