"""Contents after any row of edits: the bytes they should have, in the chunks an import makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.model import chunking
from vfs.repo import blobs
from vfs.repo import splice as splice_module
from vfs.repo.blobs import BlobBuilder, FileReader
from vfs.repo.splice import EMPTY, Content, Piece, splice

SIZE_MAX = 60_000
CHUNK_MAX = 1024


@pytest.fixture(autouse=True, scope="module")
def small_units() -> Iterator[None]:
    """Chunks of 256 bytes and nodes of 4 spans: deep trees from little data."""
    with (
        mock.patch.multiple(
            chunking, CHUNK_MIN_BYTES=64, CHUNK_AVG_BYTES=256, CHUNK_MAX_BYTES=CHUNK_MAX
        ),
        mock.patch.multiple(blobs._BlobShape, min_items=2, max_items=8),
        mock.patch.object(blobs, "_BOUNDARY", 3),
        mock.patch.multiple(
            splice_module, _WINDOW_BYTES=4096, _BATCH_BYTES=1500, _IN_FLIGHT_BYTES=6000
        ),
    ):
        yield


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


class Unflushed(MemoryObjects):
    """What was added can be read from the next flush on."""

    def __init__(self) -> None:
        super().__init__()
        self.readable: set[ObjectId] = set()

    def flush(self) -> None:
        self.readable = set(self.objects)

    def get(self, oid: ObjectId) -> bytes:
        if oid not in self.readable:
            raise CorruptObject("not flushed")
        return super().get(oid)


class Model:
    """A file as bytes, and which of them are data."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.is_data = bytearray()

    def edit(self, visible: int, pieces: list[Piece], size: int) -> None:
        for row in (self.bytes, self.is_data):
            del row[min(visible, size) :]
            row.extend(bytes(size - len(row)))
        for offset, data in pieces:
            self.bytes[offset : offset + len(data)] = data
            self.is_data[offset : offset + len(data)] = b"\1" * len(data)

    def import_(self) -> Content:
        """Return the content that an import of the same bytes and holes makes."""
        objects = MemoryObjects()
        builder = BlobBuilder(objects)  # type: ignore[arg-type]
        at = 0
        for is_data, group in groupby(self.is_data):
            length = len(list(group))
            if not is_data:
                builder.hole(length)
                at += length
                continue
            for chunk in chunking.cut(self.bytes[at : at + length], final=True):
                (oid,) = objects.add_chunks([self.bytes[at : at + chunk]])
                builder.add(oid, chunk)
                at += chunk
        return builder.finish()


def new_bytes(length: int, kind: int, seed: int) -> bytes:
    if kind == 0:
        return random.Random(seed).randbytes(length)
    if kind == 1:
        return bytes(length)
    pattern = random.Random(seed).randbytes(7 + seed % 2000)
    return (pattern * (length // len(pattern) + 1))[:length]


LENGTHS = st.one_of(st.integers(0, 3), st.integers(0, 2000), st.integers(0, SIZE_MAX // 2))


@st.composite
def edits(draw: st.DrawFn, old_size: int, cuts: list[int]) -> tuple[int, list[Piece], int]:
    """Draw what is visible, pieces, and the size; many of them at the ends of old chunks."""
    places = st.integers(0, SIZE_MAX) | st.sampled_from([0, old_size, *cuts])
    visible = draw(st.just(old_size) | places.filter(lambda place: place <= old_size))
    pieces: list[Piece] = []
    end = 0
    for start in sorted(draw(st.lists(places, max_size=4))):
        offset = max(start, end)
        kind, seed = draw(st.integers(0, 2)), draw(st.integers(0, 5))
        pieces.append(Piece(offset, new_bytes(draw(LENGTHS), kind, seed)))
        end = offset + len(pieces[-1].data)
    size = max(end, draw(st.just(visible) | places))
    return visible, pieces, size


def draw_edit(data: st.DataObject, files: FileReader, old: Content) -> tuple[int, list[Piece], int]:
    cuts = [at + span.length for at, span in files.spans_within(old, 0, old.size)]
    return data.draw(edits(old.size, cuts))


def lazily(pieces: list[Piece]) -> Iterator[Piece]:
    """Yield each piece in memory that is used again for the next one."""
    for offset, data in pieces:
        buffer = bytearray(data)
        yield Piece(offset, memoryview(buffer))
        buffer[:] = b"\xaa" * len(buffer)


@given(data=st.data(), count=st.integers(1, 5), in_pool=st.booleans())
def test_edits_give_what_an_import_would(
    pool: ThreadPoolExecutor, data: st.DataObject, count: int, in_pool: bool
) -> None:
    objects, model, content = Unflushed(), Model(), EMPTY
    files = FileReader(objects)  # type: ignore[arg-type]
    for _ in range(count):
        visible, pieces, size = draw_edit(data, files, content)
        content = splice(
            files,
            objects,  # type: ignore[arg-type]
            content,
            visible,
            lazily(pieces),
            size,
            pool=pool if in_pool else None,
        )
        objects.flush()
        model.edit(visible, pieces, size)
        assert b"".join(files.stream(content)) == model.bytes
        assert content == model.import_()


@given(data=st.data(), count=st.integers(1, 5))
def test_cuts_that_are_made_to_stop_lose_nothing(data: st.DataObject, count: int) -> None:
    objects, model, content = Unflushed(), Model(), EMPTY
    files = FileReader(objects)  # type: ignore[arg-type]
    with mock.patch.object(splice_module, "RESYNC_BYTES", 300):
        for _ in range(count):
            visible, pieces, size = draw_edit(data, files, content)
            content = splice(files, objects, content, visible, pieces, size)  # type: ignore[arg-type]
            objects.flush()
            model.edit(visible, pieces, size)
            assert b"".join(files.stream(content)) == model.bytes
            assert (content.size, content.holes) == (size, model.is_data.count(0))
            assert all(s.is_hole or s.length <= CHUNK_MAX for s in files.spans(content))


@given(data=st.data())
def test_spans_within_a_range_are_those_that_have_bytes_in_it(data: st.DataObject) -> None:
    objects = MemoryObjects()
    files = FileReader(objects)  # type: ignore[arg-type]
    visible, pieces, size = draw_edit(data, files, EMPTY)
    content = splice(files, objects, EMPTY, visible, pieces, size)  # type: ignore[arg-type]
    start, end = data.draw(st.integers(0, size + 5)), data.draw(st.integers(0, size + 5))
    everything = list(files.spans_within(content, 0, size))
    assert [span for _, span in everything] == list(files.spans(content))
    assert list(files.spans_within(content, start, end)) == [
        (at, span)
        for at, span in everything
        if start < end and at < end and start < at + span.length
    ]
