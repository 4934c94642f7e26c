"""The contents of files: building a blob from chunks, and reading any range of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import BlobNode, Span, decode_blob_node, encode_blob_node
from vfs.model.entry import FLAG_BLOB
from vfs.recent import Recent
from vfs.repo.prolly import Builder
from vfs.store.layout import Kind
from vfs.store.objects import ObjectSink, ObjectSource

_BOUNDARY: Final = 0x7F  # a node of 128 spans more than the fewest, on average
_NODES_CACHED: Final = 64


class Content(NamedTuple):
    """What a regular file holds, as an entry says it."""

    oid: ObjectId  # chunk or blob; NO_CONTENT for an empty file
    flags: int  # FLAG_BLOB
    size: int  # bytes
    holes: int  # of them, those that no chunk holds

    @property
    def content(self) -> ObjectId:
        """Return what entries call so."""
        return self.oid


EMPTY: Final = Content(NO_CONTENT, 0, 0, 0)


class File(Protocol):
    """Whatever says where a file's bytes are: an Entry, a Content."""

    @property
    def content(self) -> ObjectId:
        """Return the id of the chunk or blob."""

    @property
    def flags(self) -> int:
        """Return the flags, FLAG_BLOB for a blob."""

    @property
    def size(self) -> int:
        """Return the bytes that there are."""


class _BlobShape:
    """Spans at every level. Boundaries depend on the ids of chunks and nodes."""

    min_items = 32
    max_items = 512
    max_bytes = 1 << 20

    def __init__(self, ingest: ObjectSink) -> None:
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

    def __init__(self, ingest: ObjectSink) -> None:
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

    def takes_node(self, level: int) -> bool:
        """Say whether a node of *level* of another blob can be appended as it is.

        Behind a hole none can: it may begin with another one, and both would be merged.
        """
        return not self._hole and self._builder.is_aligned(level + 1)

    def add_node(self, level: int, node: Span) -> None:
        """Append a whole node of *level* of another blob (see `takes_node`).

        It must have ended at a boundary there, or be the last one here. The holes in it are not
        counted, as nobody has read it.
        """
        self._builder.add(node, level + 1)
        self._size += node.length

    def finish(self) -> Content:
        """Return the content. Its holes are those that were appended by themselves."""
        self._close_hole()
        level, spans = self._builder.finish()
        if not spans:
            return EMPTY
        if len(spans) == 1 and not spans[0].is_hole:
            flags = FLAG_BLOB if level else 0
            return Content(spans[0].content, flags, self._size, self._holes)
        root = self._shape.write(level, spans)
        return Content(root.content, FLAG_BLOB, self._size, self._holes)

    def _close_hole(self) -> None:
        if self._hole:
            self._builder.add(Span(NO_CONTENT, self._hole))
            self._hole = 0


class FileReader:
    """Reads files of a store. For one thread."""

    def __init__(self, reader: ObjectSource) -> None:
        self._reader = reader
        self._nodes: Recent[ObjectId, BlobNode] = Recent(_NODES_CACHED)

    def read(self, file: File, offset: int, length: int) -> bytes:
        """Return *length* bytes of the regular file *file* from *offset*; fewer only at its end.

        Raises CorruptObject.
        """
        pieces = self.pieces(file, offset, length)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self, file: File, offset: int, length: int) -> list[bytes]:
        """Return what `read` does, not joined: for each chunk what of it was asked for."""
        length = min(length, file.size - offset)
        if length <= 0:
            return []
        if not file.flags & FLAG_BLOB:
            data = self.chunk(file.content, file.size)
            return [data if length == len(data) else data[offset : offset + length]]
        return list(self._parts(file, offset, length))

    def stream(self, file: File, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a range, at most 1 MiB at a time; holes as zeros."""
        end = file.size if length is None else min(file.size, offset + length)
        while offset < end:
            data = self.read(file, offset, min(1 << 20, end - offset))
            yield data
            offset += len(data)

    def spans(self, file: File) -> Iterator[Span]:
        """Yield the chunks and holes of a regular file, in order."""
        return (span for _, span in self.spans_within(file, 0, file.size))

    def spans_within(self, file: File, start: int, end: int) -> Iterator[tuple[int, Span]]:
        """Yield the chunks and holes that have bytes in [start, end), and where each begins."""
        if start < end and start < file.size:
            yield from self._spans(self.root(file), 0, start, end)

    def _spans(self, node: BlobNode, at: int, start: int, end: int) -> Iterator[tuple[int, Span]]:
        """Yield from *node*, which begins *at*."""
        index = node.find(max(start - at, 0))
        at += node.ends[index] - node.spans[index].length
        while index < len(node.spans) and at < end:
            span = node.spans[index]
            if node.level:
                yield from self._spans(self.child(node, index), at, start, end)
            else:
                yield at, span
            at += span.length
            index += 1

    # for whoever goes through the nodes itself

    def root(self, file: File) -> BlobNode:
        """Return the root node; for a file of one chunk one that could be it. *file* isn't empty.

        Raises CorruptObject, as the next two do.
        """
        if not file.flags & FLAG_BLOB:
            return BlobNode(0, [Span(file.content, file.size)])
        root = self._node(file.content)
        if root.size != file.size:
            raise CorruptObject(
                f"the blob {file.content.hex()} is not of the size that its file says"
            )
        return root

    def child(self, parent: BlobNode, index: int) -> BlobNode:
        """Return a child of *parent*, which is above level 0."""
        span = parent.spans[index]
        node = self._node(span.content)
        if node.level != parent.level - 1 or node.size != span.length:
            raise CorruptObject("a blob node is not what its parent says")
        return node

    def chunk(self, oid: ObjectId, size: int) -> bytes:
        """Return a chunk of *size* bytes."""
        data = self._reader.get(oid)
        if len(data) != size:
            raise CorruptObject(f"the chunk {oid.hex()} is not of the size that its file says")
        return data

    def _parts(self, file: File, offset: int, length: int) -> Iterator[bytes]:
        while length:
            node, start = self.root(file), 0
            while node.level:
                index = node.find(offset - start)
                start += node.ends[index] - node.spans[index].length
                node = self.child(node, index)
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
        data = self.chunk(span.content, span.length)
        return data if take == len(data) else data[at : at + take]

    def _node(self, oid: ObjectId) -> BlobNode:
        node = self._nodes.get(oid)
        if node is None:
            node = decode_blob_node(self._reader.get(oid))
            self._nodes.put(oid, node)
        return node
