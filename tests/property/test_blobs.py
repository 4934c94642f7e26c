"""Contents of files: any list of chunks and holes, any range of it."""

from __future__ import annotations

import math
import random
import stat
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.blob import Span, decode_blob_node, encode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry, Extra
from vfs.repo.blobs import BlobBuilder, FileReader
from vfs.store.layout import Kind

MANY = 100_000


def blob(objects: MemoryObjects) -> BlobBuilder:
    return BlobBuilder(objects)  # type: ignore[arg-type]


def reader(objects: MemoryObjects) -> FileReader:
    return FileReader(objects)  # type: ignore[arg-type]


def entry_of(finished: tuple[ObjectId, int, int, int]) -> Entry:
    content, flags, size, holes = finished
    extra = Extra(holes=holes).encode()
    return Entry(b"f", stat.S_IFREG | 0o644, 0, 0, 0, size, content, flags, extra)


# A piece: bytes, or the length of a hole.
PIECES = st.lists(st.binary(min_size=1, max_size=9) | st.integers(1, 9), max_size=80)


def store(objects: MemoryObjects, pieces: list[bytes | int]) -> tuple[Entry, bytes]:
    builder, model = blob(objects), b""
    for piece in pieces:
        if isinstance(piece, int):
            builder.hole(piece)
            model += bytes(piece)
        else:
            (oid,) = objects.add_chunks([piece])
            builder.add(oid, len(piece))
            model += piece
    return entry_of(builder.finish()), model


@given(PIECES, st.data())
def test_any_range_reads_as_it_was_written(pieces: list[bytes | int], data: st.DataObject) -> None:
    objects = MemoryObjects()
    entry, model = store(objects, pieces)
    files = reader(objects)
    assert entry.size == len(model)
    assert b"".join(files.stream(entry)) == model
    for _ in range(5):
        offset = data.draw(st.integers(0, len(model) + 5))
        length = data.draw(st.integers(0, len(model) + 5))
        assert files.read(entry, offset, length) == model[offset : offset + length]
        assert b"".join(files.stream(entry, offset, length)) == model[offset : offset + length]


@given(PIECES)
def test_spans_are_the_pieces_with_holes_merged(pieces: list[bytes | int]) -> None:
    objects = MemoryObjects()
    entry, _ = store(objects, pieces)
    expected: list[Span] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            expected.append(Span(object_id(piece), len(piece)))
        elif expected and expected[-1].is_hole:
            expected[-1] = Span(NO_CONTENT, expected[-1].length + piece)
        else:
            expected.append(Span(NO_CONTENT, piece))
    assert list(reader(objects).spans(entry)) == expected
    holes = sum(piece for piece in pieces if isinstance(piece, int))
    assert Extra.decode(entry.extra).holes == holes


@pytest.mark.parametrize(
    ("pieces", "is_blob", "stored"),
    [
        ([], False, 0),
        ([b"one"], False, 1),
        ([5], True, 1),
        ([5, 5], True, 1),
        ([b"one", b"two"], True, 3),
        ([b"one", b"one"], True, 2),
        ([b"one", 5], True, 2),
        ([5, b"one"], True, 2),
    ],
)
def test_a_blob_is_made_only_where_one_is_needed(
    pieces: list[bytes | int], is_blob: bool, stored: int
) -> None:
    objects = MemoryObjects()
    entry, _ = store(objects, pieces)
    assert bool(entry.flags & FLAG_BLOB) == is_blob
    assert len(objects.added) == stored
    if not pieces:
        assert entry.content == NO_CONTENT
    elif not is_blob:
        assert entry.content == object_id(pieces[0])  # type: ignore[arg-type]


@cache
def many() -> tuple[MemoryObjects, Entry, list[bytes]]:
    """A file of 100,000 spans: chunks of different lengths, and some holes."""
    objects, generator = MemoryObjects(), random.Random(5)
    builder = blob(objects)
    pieces = []
    for number in range(MANY):
        if number % 50 == 7:
            pieces.append(bytes(generator.randint(1, 9)))
            builder.hole(len(pieces[-1]))
        else:
            pieces.append(b"%d," % number)
            (oid,) = objects.add_chunks([pieces[-1]])
            builder.add(oid, len(pieces[-1]))
    return objects, entry_of(builder.finish()), pieces


def test_a_large_file_reads_right() -> None:
    objects, entry, pieces = many()
    assert b"".join(reader(objects).stream(entry)) == b"".join(pieces)


def test_one_page_of_a_large_file_reads_few_nodes() -> None:
    objects, entry, pieces = many()
    levels = decode_blob_node(objects.get(entry.content)).level + 1
    assert levels <= math.ceil(math.log(MANY, 64)) + 1
    whole = b"".join(pieces)
    for offset in (0, 1, len(whole) // 2, len(whole) - 5):
        objects.reads = 0
        files = reader(objects)
        assert files.read(entry, offset, 5) == whole[offset : offset + 5]
        assert objects.reads <= 2 * levels + 5


def test_one_changed_chunk_of_a_large_file_stores_few_nodes() -> None:
    objects, entry, pieces = many()
    levels = decode_blob_node(objects.get(entry.content)).level + 1
    stored = len(objects.added)
    builder = blob(objects)
    for number, piece in enumerate(pieces):
        if number % 50 == 7:
            builder.hole(len(piece))
            continue
        data = b"changed," if number == MANY // 2 else piece
        (oid,) = objects.add_chunks([data])
        builder.add(oid, len(data))
    builder.finish()
    assert 1 < len(objects.added) - stored <= 1 + 2 * levels


def with_nodes(objects: MemoryObjects, size: int, *levels: list[Span]) -> Entry:
    """Return a file whose root is the last of *levels*; b"" stands for the node before it."""
    node = NO_CONTENT
    for level, spans in enumerate(levels):
        here = [
            Span(node if s.content == NO_CONTENT and level else s.content, s.length) for s in spans
        ]
        node = objects.add_object(Kind.BLOB, encode_blob_node(level, here))
    return entry_of((node, FLAG_BLOB, size, 0))


def test_lists_that_lie_are_corrupt() -> None:
    objects = MemoryObjects()
    (chunk,) = objects.add_chunks([b"12345"])
    below = Span(NO_CONTENT, 5)
    for entry in (
        with_nodes(objects, 6, [Span(chunk, 5)]),  # the entry says another size
        with_nodes(objects, 4, [Span(chunk, 4)]),  # the list says another size than the chunk
        with_nodes(objects, 6, [Span(chunk, 5)], [Span(NO_CONTENT, 6)]),  # than its child
        entry_of((chunk, 0, 4, 0)),
        entry_of((chunk, 0, 6, 0)),
        entry_of((chunk, FLAG_BLOB, 5, 0)),
    ):
        with pytest.raises(CorruptObject):
            reader(objects).read(entry, 0, 10)
    assert reader(objects).read(with_nodes(objects, 5, [Span(chunk, 5)], [below]), 1, 3) == b"234"
    skipped = encode_blob_node(2, [Span(with_nodes(objects, 5, [Span(chunk, 5)]).content, 5)])
    root = objects.add_object(Kind.BLOB, skipped)
    with pytest.raises(CorruptObject):
        reader(objects).read(entry_of((root, FLAG_BLOB, 5, 0)), 0, 1)


def test_a_chunk_that_is_gone_is_not_read_as_zeros() -> None:
    objects = MemoryObjects()
    entry, _ = store(objects, [b"one", b"two"])
    del objects.objects[object_id(b"two")]
    assert reader(objects).read(entry, 0, 3) == b"one"
    with pytest.raises(CorruptObject):
        reader(objects).read(entry, 0, 4)
