"""Stores for tests: objects in memory, damage at a chosen place, work in other processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.store import readahead
from vfs.store.layout import Kind, Location, number_key, unpack_location
from vfs.store.store import Store

ROOT = Path(__file__).parents[2]


class MemoryObjects:
    """Ingest and Reader at once, in a dict. tests/contract/test_objects.py holds it to its word."""

    def __init__(self) -> None:
        self.objects: dict[ObjectId, bytes] = {}
        self.added: list[ObjectId] = []  # the new ones, in order
        self.reads = 0

    def add_chunks(
        self, chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None = None
    ) -> list[ObjectId]:
        return [self.add_object(Kind.CHUNK, bytes(chunk)) for chunk in chunks]

    def add_object(self, kind: Kind, data: bytes) -> ObjectId:
        oid = object_id(data)
        if oid not in self.objects:
            self.objects[oid] = data
            self.added.append(oid)
        return oid

    def flush(self) -> None:
        pass

    def get(self, oid: ObjectId) -> bytes:
        self.reads += 1
        try:
            return self.objects[oid]
        except KeyError:
            raise CorruptObject(f"the object {oid.hex()} is missing") from None

    def has(self, oid: ObjectId) -> bool:
        return oid in self.objects


def locate(store: Store, oid: ObjectId) -> Location:
    """Return where the index says that the object is."""
    with store._env.read() as txn:
        row = txn.get(oid, db=store._env.tables["objects"])
        assert row is not None
        return unpack_location(row)


def file_offset(store: Store, oid: ObjectId) -> int:
    """Return where in data.mdb the segment begins that holds the object.

    Not where its bytes are first found: a page that LMDB has freed may have them, too.
    """
    place = locate(store, oid)
    with store._env.read() as txn:
        block = txn.get(number_key(place.block), db=store._env.tables["blocks"])
        assert block is not None
        address = readahead._address(block)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, *_ = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address < end:
            return address - start + int(offset, 16) + place.at
    raise AssertionError("the block is in no map")


def flip_byte(path: Path, offset: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (old,) = file.read(1)
        file.seek(offset)
        file.write(bytes([old ^ 0x5A]))


def damage(store: Store, oid: ObjectId) -> None:
    """Change one byte of an object, or where it is compressed one in the middle of its segment.

    In what is compressed there are bits that change nothing: it is one that matters.
    """
    data, start, place = store.path / "data.mdb", file_offset(store, oid), locate(store, oid)
    if not place.compressed:
        flip_byte(data, start + place.offset + place.size // 2)
        return
    for at in range(place.stored // 2, place.stored):
        flip_byte(data, start + at)
        try:
            store.reader(cache_bytes=0).get(oid)
        except CorruptObject:
            return
        flip_byte(data, start + at)
    raise AssertionError("no byte of the object matters")


def start_child(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Start *source* in a Python of its own; `sys.argv[1:]` are *arguments*."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str], *, seconds: float = 60) -> str:
    """Wait for a child that must succeed; return what it printed."""
    out, err = child.communicate(timeout=seconds)
    assert child.returncode == 0, f"exit code {child.returncode}: {err}"
    return out


def run_child(source: str, *arguments: object) -> str:
    """Run *source* in a Python of its own; return what it printed."""
    return finish(start_child(source, *arguments))


@contextmanager
def children(
    source: str, rows: Sequence[Sequence[object]]
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start one child a row; none is left behind."""
    started = [start_child(source, *row) for row in rows]
    try:
        yield started
    finally:
        for child in started:
            child.kill()
            child.communicate()
