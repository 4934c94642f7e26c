"""The reader of LMDB's pages: sound ones are sound, and each kind of damage is named."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest

from vfs.store.pages import DamagedPage, PageFile, Snapshot, Walk

PAGE = 4096
SIZES = (0, 1, 7, 500, 2000, 2040, 2100, 4080, 4081, 9000, 16368, 60000)


def check(path: Path) -> list[str]:
    """Return the damages in the newest state of a file."""
    found: list[str] = []
    with PageFile.open(path) as file:
        Walk(file, file.metas()[0], on_damage=found.append).run()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_what_lmdb_writes_is_sound(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    keys = [chance.randbytes(chance.choice((1, 2, 8, 33, 511))) for _ in range(300)]
    with lmdb.open(str(tmp_path), map_size=1 << 28, max_dbs=4, sync=False) as env:
        tables = [env.open_db(b"table %d" % number) for number in range(3)]
        readers = []
        for _ in range(15):
            txn = env.begin(write=True)
            for _ in range(chance.choice((1, 5, 200))):
                key, table = chance.choice(keys), chance.choice(tables)
                if chance.random() < 0.35:
                    txn.delete(key, db=table)
                else:
                    txn.put(key, chance.randbytes(chance.choice(SIZES)), db=table)
            if chance.random() < 0.1:
                txn.abort()
            else:
                txn.commit()
            readers.append(env.begin())
            if chance.random() < 0.8:
                readers.pop().abort()
            assert check(tmp_path) == []
        for reader in readers:
            reader.abort()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a file with a table of three levels, one of large values, and free pages."""
    with lmdb.open(str(tmp_path), map_size=1 << 28, max_dbs=4) as env:
        small, large = env.open_db(b"small"), env.open_db(b"large")
        with env.begin(write=True) as txn:
            for number in range(20_000):
                txn.put(b"%08d" % number, b"value", db=small)
            for number in range(50):
                txn.put(b"%08d" % number, bytes(9000), db=large)
        for number in range(3):
            with env.begin(write=True) as txn:
                txn.delete(b"%08d" % number, db=large)
    return tmp_path


def newest(path: Path) -> Snapshot:
    with PageFile.open(path) as file:
        return file.metas()[0]


def kinds(path: Path) -> dict[int, list[int]]:
    """Return the pages in use by their kind: 1 branches, 2 leaves, 4 large values."""
    found: dict[int, list[int]] = {}
    data = (path / "data.mdb").read_bytes()
    with PageFile.open(path) as file:
        walk = Walk(file, file.metas()[0], on_damage=print)
        walk.run()
    for number in range(2, len(walk.live)):
        pgno, _, flags = struct.unpack_from("=QHH", data, number * PAGE)
        if walk.live[number] and pgno == number and flags in (1, 2, 4):
            found.setdefault(flags, []).append(number)
    return found


def write(path: Path, page: int, at: int, data: bytes) -> None:
    with (path / "data.mdb").open("r+b") as file:
        file.seek(page * PAGE + at)
        file.write(data)


def read(path: Path, page: int) -> bytes:
    return (path / "data.mdb").read_bytes()[page * PAGE :][:PAGE]


def pointer(page: bytes, index: int) -> int:
    at: int = struct.unpack_from("=H", page, 16 + 2 * index)[0]
    return at


def zeros(path: Path) -> None:
    write(path, kinds(path)[2][0], 0, bytes(PAGE))


def another_kind(path: Path) -> None:
    write(path, kinds(path)[1][0], 10, b"\x02\x00")


def bounds(path: Path) -> None:
    write(path, kinds(path)[2][1], 12, b"\xff\xff")


def order(path: Path) -> None:
    page = kinds(path)[2][5]
    content = read(path, page)
    write(path, page, 16, content[18:20] + content[16:18])


def elsewhere(path: Path) -> None:
    page = kinds(path)[2][5]
    at = pointer(read(path, page), 0)
    write(path, page, at + 8, b"\x00")


def length(path: Path) -> None:
    page = kinds(path)[2][5]
    write(path, page, pointer(read(path, page), 3), b"\x09")


def circle(path: Path) -> None:
    root = next(page for page in kinds(path)[1] if len(read(path, page)) and page)
    at = pointer(read(path, root), 1)
    write(path, root, at, struct.pack("=I", root))


def behind_the_end(path: Path) -> None:
    page = kinds(path)[1][0]
    write(path, page, pointer(read(path, page), 1), b"\xff\xff\xff\x7f")


def value_is_short(path: Path) -> None:
    write(path, kinds(path)[4][0], 12, b"\x01\x00\x00\x00")


def value_is_long(path: Path) -> None:
    write(path, kinds(path)[4][0], 12, b"\x09\x00\x00\x00")


def free_list(path: Path) -> None:
    root = newest(path).free.root
    at = pointer(read(path, root), 0)
    write(path, root, at + 8 + 8 + 8, struct.pack("=Q", kinds(path)[4][1]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (zeros, "it says that it is page 0"),
        (another_kind, "its kind is 0x2"),
        (bounds, "its bounds are wrong"),
        (order, "its keys do not ascend"),
        (elsewhere, "its keys belong elsewhere"),
        (length, "entries overlap"),
        (circle, "it is used twice"),
        (behind_the_end, "it is not within the file"),
        (value_is_short, "a value of 9000 bytes is on 1 pages"),
        (value_is_long, "it is used twice"),
        (free_list, "the list of free pages is damaged"),
    ],
)
def test_damage_is_named(store: Path, damage: Callable[[Path], None], says: str) -> None:
    assert check(store) == []
    damage(store)
    assert any(says in message for message in check(store)), check(store)


@pytest.mark.parametrize("at", [16, 20, 18, 40, 44, 46, 80, 88, 92, 94, 128, 136, 144])
def test_meta_pages(store: Path, at: int) -> None:
    meta = newest(store).txnid & 1
    write(store, meta, at, bytes([read(store, meta)[at] ^ 0x40]))
    with suppress(DamagedPage):
        assert check(store)


def test_a_short_file(store: Path) -> None:
    with (store / "data.mdb").open("r+b") as file:
        file.truncate(40 * PAGE)
    assert any("not within the file" in message for message in check(store))
    with (store / "data.mdb").open("r+b") as file:
        file.truncate(4100)
    with pytest.raises(DamagedPage, match="ends in meta page 1"):
        check(store)
