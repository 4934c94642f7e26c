"""Splicing: what is read and what is stored for a change, and that an import gives the same."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.stores import MemoryObjects
from vfs.errors import StoreFull
from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.blob import Span, decode_blob_node
from vfs.model.chunking import CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, cut
from vfs.model.entry import FLAG_BLOB, Extra
from vfs.model.names import parse_target
from vfs.repo.blobs import BlobBuilder, FileReader
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository
from vfs.repo.splice import EMPTY, RESYNC_BYTES, SMALL_BYTES, Content, Piece, add_small, splice
from vfs.store.layout import Kind

MB = 1 << 20
GB = 1 << 30


class Objects(MemoryObjects):
    """Counts what is read and added by its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[ObjectId, Kind] = {}
        self.read: list[ObjectId] = []

    def add_chunks(
        self, chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None = None
    ) -> list[ObjectId]:
        assert runs is None or sum(runs) == len(chunks)
        return super().add_chunks(chunks)

    def add_object(self, kind: Kind, data: bytes) -> ObjectId:
        oid = super().add_object(kind, data)
        self.kinds[oid] = kind
        return oid

    def get(self, oid: ObjectId) -> bytes:
        self.read.append(oid)
        return super().get(oid)

    def forget(self) -> None:
        self.read.clear()
        self.added.clear()

    def count(self, oids: list[ObjectId]) -> tuple[int, int]:
        """Return how many are chunks and nodes."""
        chunks = sum(self.kinds[oid] is Kind.CHUNK for oid in oids)
        return chunks, len(oids) - chunks


class Lab:
    """One content, and what it should hold."""

    def __init__(self, objects: Objects | None = None, content: Content = EMPTY) -> None:
        self.objects = objects or Objects()
        self.content = content

    @property
    def files(self) -> FileReader:
        return FileReader(self.objects)  # type: ignore[arg-type]

    def edit(
        self,
        *pieces: tuple[int, bytes],
        size: int | None = None,
        visible: int | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> Content:
        """Splice; the size grows as far as the pieces go unless one is given."""
        old = self.content
        if size is None:
            size = max([old.size, *(offset + len(data) for offset, data in pieces)])
        self.objects.forget()
        self.content = splice(
            self.files,
            self.objects,  # type: ignore[arg-type]
            old,
            old.size if visible is None else visible,
            (Piece(*piece) for piece in pieces),
            size,
            pool=pool,
        )
        return self.content

    def bytes(self) -> bytes:
        return b"".join(self.files.stream(self.content))

    def spans(self) -> list[Span]:
        return list(self.files.spans(self.content))

    def lengths(self) -> list[int]:
        """The lengths of chunks, and of holes below zero."""
        return [-span.length if span.is_hole else span.length for span in self.spans()]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def whole(data: bytes) -> Lab:
    lab = Lab()
    lab.edit((0, data))
    return lab


# ---------------------------------------------------------------------------- simple contents


@pytest.mark.parametrize(
    "size",
    [1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, CHUNK_MAX_BYTES, 5 * MB + 7],
)
def test_a_new_file_is_cut_as_one(size: int) -> None:
    data = noise(size)
    lab = whole(data)
    assert lab.bytes() == data
    assert lab.lengths() == cut(data, final=True)
    assert lab.content.flags == (FLAG_BLOB if len(lab.spans()) > 1 else 0)
    assert (lab.content.size, lab.content.holes) == (size, 0)


def test_nothing_is_empty() -> None:
    lab = Lab()
    assert lab.edit() == EMPTY
    assert lab.edit((0, b"")) == EMPTY
    lab.edit((0, b"some"))
    assert lab.edit(size=0) == EMPTY
    assert EMPTY.content == NO_CONTENT
    assert lab.objects.added == []


def test_pieces_come_in_any_sizes() -> None:
    data = noise(6 * MB)
    lab, other = Lab(), whole(data)
    starts = sorted({0, *random.Random(2).sample(range(len(data)), 500)})
    lab.edit(*((a, data[a:b]) for a, b in zip(starts, [*starts[1:], len(data)], strict=True)))
    assert lab.content == other.content


def test_a_file_that_grows_is_cut_as_if_written_at_once() -> None:
    data = noise(3 * MB)
    lab = Lab()
    steps = [5, 20_000, 20_000, 100_000, MB, 1, 1, MB]
    for step in steps:
        at = lab.content.size
        lab.edit((at, data[at : at + step]))
    assert lab.content == whole(data[: sum(steps)]).content


@pytest.mark.parametrize("size", [1, 100_000, 2 * MB])
def test_a_piece_in_the_middle(size: int) -> None:
    data, new = bytearray(noise(4 * MB)), noise(size, 7)
    lab = whole(bytes(data))
    lab.edit((MB + 5, new))
    data[MB + 5 : MB + 5 + size] = new
    assert lab.bytes() == data
    assert lab.content == whole(bytes(data)).content


def test_what_is_not_changed_is_the_same_object_and_not_read() -> None:
    lab = whole(noise(4 * MB))
    before = lab.content
    assert lab.edit() == before
    assert lab.objects.added == []
    assert lab.objects.count(lab.objects.read) == (0, 1)


def test_writing_the_same_bytes_again_gives_the_same_object() -> None:
    data = noise(4 * MB)
    lab = whole(data)
    before = lab.content
    assert lab.edit((MB, data[MB : 2 * MB])) == before


@pytest.mark.parametrize("piece", [(3, b"abc"), (9, b"ab"), (0, b"0123456789a")])
def test_pieces_out_of_order_or_behind_the_end_are_refused(piece: tuple[int, bytes]) -> None:
    with pytest.raises(ValueError, match="a piece of"):
        Lab().edit((0, b"01234"), piece, size=10)


# ----------------------------------------------------------------------- truncating and holes


def test_truncating() -> None:
    data = noise(3 * MB)
    boundary = sum(cut(data, final=True)[:7])
    for size in (2 * MB, boundary, boundary + 1, boundary - 1, 10, 0):
        lab = whole(data)
        lab.edit(size=size)
        assert lab.bytes() == data[:size]
        assert lab.content == whole(data[:size]).content


def test_truncating_at_a_cut_reads_no_chunk() -> None:
    lab = whole(noise(3 * MB))
    lab.edit(size=sum(lab.lengths()[:7]))
    assert lab.objects.count(lab.objects.read) == (0, 1)


def test_more_may_be_visible_than_there_is_to_be() -> None:
    lab = whole(noise(MB))
    lab.edit(size=100, visible=MB)
    assert lab.bytes() == noise(MB)[:100]


def test_what_was_truncated_away_comes_back_as_zeros() -> None:
    data = noise(MB)
    lab = whole(data)
    lab.edit(visible=500_000, size=900_000)
    assert lab.bytes() == data[:500_000] + bytes(400_000)
    assert lab.content.holes == 400_000
    assert lab.lengths()[-1] == -400_000


def test_extending_reads_no_chunk_and_the_hole_is_one() -> None:
    lab = whole(noise(MB))
    first = lab.lengths()
    lab.edit(size=2 * MB)
    assert lab.objects.count(lab.objects.read) == (0, 1)
    lab.edit(size=GB)
    assert lab.lengths() == [*first, MB - GB]
    assert lab.content.holes == GB - MB


def test_a_hole_only() -> None:
    lab = Lab()
    content = lab.edit(size=GB)
    assert (content.flags, content.size, content.holes) == (FLAG_BLOB, GB, GB)
    assert lab.lengths() == [-GB]


def test_a_piece_splits_a_hole() -> None:
    lab = Lab()
    lab.edit(size=GB)
    lab.edit((MB, b"here"))
    assert lab.lengths() == [-MB, 4, MB + 4 - GB]
    assert lab.content.holes == GB - 4


def test_a_hole_that_is_filled_joins_what_is_beside_it() -> None:
    data = noise(2 * MB)
    lab = Lab()
    lab.edit((0, data[:MB]), (MB + 70_000, data[MB + 70_000 :]))
    assert lab.content.holes == 70_000
    lab.edit((MB, data[MB : MB + 70_000]))
    assert lab.content == whole(data).content


def test_a_hole_that_begins_later_is_cut_right() -> None:
    data = noise(MB)
    lab = Lab()
    lab.edit((0, data[: MB // 2]), size=2 * MB)
    lab.edit((MB // 2, data[MB // 2 :]))
    assert lab.lengths() == [*cut(data, final=True), -MB]


def test_holes_below_kept_and_changed_bytes_are_counted() -> None:
    lab = Lab()
    lab.edit((10, b"a"), (20, b"b"), (30, b"c"), size=100)
    assert lab.content.holes == 97
    lab.edit((5, bytes(10)))  # over a hole, a byte, and half a hole
    assert lab.content.holes == 97 - 9
    lab.edit(visible=25, size=25)
    assert lab.lengths() == [-5, 10, -5, 1, -4]
    assert lab.content.holes == 14
    lab.edit(size=18)
    assert lab.content.holes == 8


def test_zeros_that_were_written_are_data() -> None:
    lab = whole(bytes(MB))
    assert lab.content.holes == 0
    assert lab.lengths() == [CHUNK_MAX_BYTES] * 4


# ------------------------------------------------------------------- large files: what it costs


@cache
def large(holes: int = 0) -> tuple[Objects, Content]:
    """A file of 10 GB, made of some chunks in random order. With *holes*, each 500th a hole.

    A chunk ends where its own bytes say, so any row of them is one that an import would cut.
    """
    objects, data, generator = Objects(), noise(24 * MB), random.Random(3)
    lengths = cut(data, final=True)[:-1]
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    chunks = [data[a : a + length] for a, length in zip(starts, lengths, strict=True)]
    spans = list(zip(objects.add_chunks(chunks), lengths, strict=True))
    builder = BlobBuilder(objects)  # type: ignore[arg-type]
    size = number = 0
    while size < 10 * GB:
        oid, length = generator.choice(spans)
        if holes and number % 500 == 499:
            builder.hole(holes)
            length = holes
        else:
            builder.add(oid, length)
        size += length
        number += 1
    return objects, builder.finish()


def levels(objects: Objects, content: Content) -> int:
    return decode_blob_node(objects.objects[content.content]).level + 1


def large_lab(holes: int = 0) -> Lab:
    return Lab(*large(holes))


@pytest.mark.parametrize("holes", [0, 12345])
@pytest.mark.parametrize("share", [0.0, 0.37, 0.93])
def test_one_byte_of_a_large_file_costs_one_way_down_and_few_chunks(
    holes: int, share: float
) -> None:
    lab = large_lab(holes)
    old = lab.content
    deep = levels(lab.objects, old)
    assert deep >= 3
    at = int(old.size * share)
    around = lab.files.read(old, at, 2)
    new = lab.edit((at, bytes([around[0] ^ 1])))
    chunks, nodes = lab.objects.count(lab.objects.read)
    assert chunks <= 3
    assert nodes <= (4 if holes else 2) * deep + 2
    chunks, nodes = lab.objects.count(lab.objects.added)
    assert chunks <= 3
    assert nodes <= 2 * deep
    assert (new.size, new.holes) == (old.size, old.holes)
    assert lab.files.read(new, at, 2) == bytes([around[0] ^ 1, around[1]])
    assert lab.edit((at, around[:1])) == old


def test_appending_to_a_large_file_costs_its_right_side() -> None:
    lab = large_lab()
    old, deep = lab.content, levels(*large())
    lab.edit((old.size, b"more"))
    assert lab.objects.count(lab.objects.read) == (1, deep)
    chunks, nodes = lab.objects.count(lab.objects.added)
    assert chunks <= 2
    assert nodes <= deep + 1
    assert lab.edit(size=old.size) == old


def test_truncating_and_extending_a_large_file_costs_one_way_down() -> None:
    for holes in (0, 12345):
        lab = large_lab(holes)
        old, deep = lab.content, levels(*large(holes))
        new = lab.edit(size=old.size - MB)
        assert lab.objects.count(lab.objects.read)[1] <= 4 * deep
        assert old.holes - new.holes in (0, holes)
        new = lab.edit(size=5 * GB)
        assert lab.objects.count(lab.objects.read)[0] <= 1
        assert new.holes == sum(-n for n in lab.lengths() if n < 0)
        lab.edit(size=20 * GB)
        assert lab.objects.count(lab.objects.read) == (0, deep)


def test_many_pieces_in_a_large_file_cost_what_each_costs() -> None:
    lab = large_lab()
    old, deep = lab.content, levels(*large())
    places = [old.size * number // 50 for number in range(50)]
    lab.edit(*((at, b"changed") for at in places))
    chunks, nodes = lab.objects.count(lab.objects.read)
    assert chunks <= 3 * len(places)
    assert nodes <= 2 * deep * len(places)
    assert all(lab.files.read(lab.content, at, 7) == b"changed" for at in places)


def test_pieces_in_one_chunk_read_it_once() -> None:
    lab = whole(noise(4 * MB))
    start = sum(lab.lengths()[:9])
    lab.edit(*((start + at, b"x") for at in range(0, 10_000, 1000)))
    assert lab.objects.count(lab.objects.read)[0] <= 3


def test_content_without_cuts_is_not_cut_again_to_its_end() -> None:
    lab = whole(bytes(64 * MB))
    model = bytearray(64 * MB)
    new = noise(200_000)  # has a cut
    assert len(cut(new + bytes(CHUNK_MAX_BYTES), final=True)) > 2
    lab.edit((5 * MB, new))
    model[5 * MB : 5 * MB + len(new)] = new
    assert lab.bytes() == model
    assert max(lab.lengths()) <= CHUNK_MAX_BYTES
    same = (64 * MB - 5 * MB - len(new) - RESYNC_BYTES) // CHUNK_MAX_BYTES - 2
    assert lab.lengths()[-same:] == [CHUNK_MAX_BYTES] * same
    assert lab.content != whole(bytes(model)).content  # the price, see vfs/repo/splice.py


# ------------------------------------------------------------------- a real store, and a pool


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def half_random(size: int, seed: int) -> bytes:
    block = noise(size // 2, seed)
    return block + b"some text, " * ((size - len(block)) // 11)


def test_an_import_makes_the_same_object(
    repo: Repository, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    data = half_random(20 * MB, 1)
    files: dict[str, list[tuple[int, bytes]]] = {
        "plain": [(0, data)],
        "small": [(0, b"small")],
        "empty": [],
        "sparse": [(MB, data[:MB]), (9 * MB, data[5 * MB :])],
        "end in a hole": [(0, data[:MB]), (4 * MB, b"")],
    }
    source = tmp_path / "source"
    source.mkdir()
    for name, pieces in files.items():
        with (source / name).open("wb") as file:
            for offset, piece in pieces:
                file.truncate(offset)
                file.seek(offset)
                file.write(piece)
    target = parse_target("data")
    commit = import_source(repo, source, target, ImportOptions(message="")).commit
    root = repo.commit(commit).root
    sparse = (source / "sparse").stat().st_blocks * 512 < 10 * MB + len(data) - 5 * MB
    with repo.store.ingest() as ingest:
        reader = FileReader(repo.reader)
        for name, pieces in files.items():
            if not sparse and name in ("sparse", "end in a hole"):
                continue  # the disk has no holes
            size = (source / name).stat().st_size
            made = splice(reader, ingest, EMPTY, 0, (Piece(*p) for p in pieces), size, pool=pool)
            entry = repo.entry_at(root, (name.encode(),))
            holes = Extra.decode(entry.extra).holes
            assert made == Content(entry.content, entry.flags, entry.size, holes)


def test_appends_in_a_store(repo: Repository, pool: ThreadPoolExecutor) -> None:
    data = half_random(10 * MB, 2)
    content = EMPTY
    reader = FileReader(repo.reader)
    with repo.store.ingest() as ingest:
        for at in range(0, len(data), 3 * MB):
            piece = data[at : at + 3 * MB]
            content = splice(
                reader, ingest, content, at, [Piece(at, piece)], at + len(piece), pool=pool
            )
            ingest.flush()
    assert b"".join(reader.stream(content)) == data
    assert content == whole(data).content


class Failing(Objects):
    """A disk that is full from the third call on, while one call is still under way."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.running = 0
        self.lock = threading.Lock()

    def add_chunks(self, *arguments: Any) -> list[ObjectId]:
        with self.lock:
            self.calls += 1
            self.running += 1
            if self.calls >= 3:
                self.running -= 1
                raise StoreFull("no room")
        try:
            return super().add_chunks(*arguments)
        finally:
            with self.lock:
                self.running -= 1


@pytest.mark.parametrize("in_pool", [False, True])
def test_an_error_comes_out_and_nothing_goes_on_behind_it(
    pool: ThreadPoolExecutor, in_pool: bool
) -> None:
    lab = Lab(Failing())
    with pytest.raises(StoreFull):
        lab.edit((0, noise(40 * MB)), pool=pool if in_pool else None)
    assert isinstance(lab.objects, Failing)
    assert lab.objects.running == 0
    calls = lab.objects.calls
    pool.shutdown()
    assert lab.objects.calls == calls


class Discarding(MemoryObjects):
    """Keeps nothing, so that only what splicing takes is measured."""

    def add_object(self, kind: Kind, data: bytes) -> ObjectId:
        return object_id(data)


@pytest.mark.parametrize("in_pool", [False, True])
def test_memory_stays_bounded(pool: ThreadPoolExecutor, in_pool: bool) -> None:
    piece = noise(MB)
    pieces = (Piece(number * MB, piece) for number in range(100))
    objects: Any = Discarding()
    tracemalloc.start()
    try:
        splice(
            FileReader(objects), objects, EMPTY, 0, pieces, 100 * MB, pool=pool if in_pool else None
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MB


def test_small_files_at_once() -> None:
    lab = Lab()
    datas = [b"one", b"", b"two", memoryview(noise(SMALL_BYTES))]
    contents = add_small(lab.objects, datas)  # type: ignore[arg-type]
    assert contents == [whole(bytes(data)).content for data in datas]
    assert add_small(lab.objects, []) == []  # type: ignore[arg-type]
    assert CHUNK_MIN_BYTES == SMALL_BYTES
