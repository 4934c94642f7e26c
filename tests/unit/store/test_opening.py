"""Opening what is no store, or a damaged one: one clear line, never a dead interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from tests.support.stores import ROOT, flip_byte
from vfs.errors import AlreadyExists, StoreError
from vfs.store.identity import FORMAT
from vfs.store.store import Store
from vfs.store.tables import TABLES

OPEN = """
import sys
from pathlib import Path
from vfs.errors import StoreError, CorruptObject
from vfs.store.layout import Kind
from vfs.store.store import Store
try:
    with Store.open(Path(sys.argv[1])) as store:
        reader = store.reader()
        store.count_objects(), store.refs.all(), store.refs.data_sets()
        for number in range(500):
            reader.get(bytes.fromhex(sys.argv[2]))
        with store.ingest() as ingest:
            ingest.add_chunks([b"more" * 1000])
        print("fine")
except (StoreError, CorruptObject) as error:
    print(f"{type(error).__name__}: {error} ({error.hint})")
"""


def use(path: Path, oid: bytes = bytes(32)) -> str:
    """Open a store in a process of its own, which must survive, and use it; say what happened."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, path, oid.hex()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done.stdout.strip()


def filled(path: Path) -> bytes:
    """Make a store in *path* with a few MB in it; return an id."""
    with Store.create(path) as store:
        store.refs.add_data_set("data", 1)
        ids = []
        for _ in range(3):
            with store.ingest() as ingest:
                ids = ingest.add_chunks(
                    [os.urandom(100_000) for _ in range(5)] + [os.urandom(100) for _ in range(1000)]
                )
    return ids[0]


def lmdb_without_tables(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=4) as env, env.begin(write=True) as txn:
        txn.put(b"somebody", b"else's")


def lmdb_with_a_meta_table(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=4) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"format", b"another format", db=meta)


def lmdb_with_our_tables(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=len(TABLES)) as env:
        for name in TABLES:
            env.open_db(name.encode())


def text_file(path: Path) -> None:
    (path / "data.mdb").write_bytes(b"no LMDB at all\n" * 2000)


def empty_file(path: Path) -> None:
    (path / "data.mdb").touch()


def directory(path: Path) -> None:
    (path / "data.mdb").mkdir()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no store at"),
        (directory, "there is no store at"),
        (text_file, "is damaged, or is no vfs store"),
        (empty_file, "there is no store at"),
        (lmdb_without_tables, "no vfs store"),
        (lmdb_with_a_meta_table, "no vfs store"),
        (lmdb_with_our_tables, "no vfs store"),
    ],
)
def test_what_is_no_store(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(tmp_path)
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(tmp_path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store") as caught:
        Store.open(tmp_path / "missing")
    assert "init" in caught.value.hint


def test_a_path_that_can_not_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be read"):
        Store.open(tmp_path / ("x" * 300))
    with pytest.raises(StoreError, match="can't be made"):
        Store.create(tmp_path / ("x" * 300))


def set_format(path: Path, number: int, *, without: str = "") -> None:
    with lmdb.open(str(path), max_dbs=len(TABLES)) as env:
        meta = env.open_db(b"meta", create=False)
        table = env.open_db(without.encode(), create=False) if without else None
        with env.begin(write=True) as txn:
            txn.put(b"format", b"vfs store" + number.to_bytes(4, "little"), db=meta)
            if table is not None:
                txn.drop(table)


@pytest.mark.parametrize("missing_table", ["", "slots"])
def test_a_newer_format_is_refused(tmp_path: Path, missing_table: str) -> None:
    """Whatever tables it has: the number is looked at first."""
    path = tmp_path / "store"
    Store.create(path).close()
    set_format(path, FORMAT + 1, without=missing_table)
    with pytest.raises(StoreError, match=f"is of format {FORMAT + 1}; this vfs reads") as caught:
        Store.open(path)
    assert "install" in caught.value.hint


def test_a_store_without_identity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.create(path).close()
    with lmdb.open(str(path), max_dbs=len(TABLES)) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            txn.delete(b"secret", db=meta)
    with pytest.raises(StoreError, match="identity"):
        Store.open(path)


def test_a_store_keeps_its_identity(tmp_path: Path) -> None:
    with Store.create(tmp_path / "a") as store, Store.create(tmp_path / "b") as other:
        identity = store.uuid
        assert identity != other.uuid
    with Store.open(tmp_path / "a") as store:
        assert store.uuid == identity


def test_nothing_is_made_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(AlreadyExists):
            Store.create(path)
    (tmp_path / "empty").mkdir()
    Store.create(tmp_path / "empty").close()
    with pytest.raises(AlreadyExists):
        Store.create(tmp_path / "empty")


def test_nothing_is_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't be made"):
        Store.create(tmp_path / "file" / "store")


@pytest.mark.parametrize("left", [0.001, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_store_is_refused(tmp_path: Path, left: float) -> None:
    """LMDB would die of SIGBUS where the map has no file behind it."""
    oid = filled(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    os.truncate(data, int(data.stat().st_size * left))
    before = data.read_bytes()
    for _ in range(2):
        assert use(tmp_path / "store", oid).startswith("StoreError:")
    assert data.read_bytes() == before


@pytest.mark.parametrize("size", [1, 100, 4096, 8191, 8192, 8193, 12288, 16384])
def test_a_store_truncated_near_its_start_is_refused(tmp_path: Path, size: int) -> None:
    oid = filled(tmp_path / "store")
    os.truncate(tmp_path / "store" / "data.mdb", size)
    answer = use(tmp_path / "store", oid)
    assert answer.startswith("StoreError:")
    assert "restore it" in answer


def test_a_page_that_nobody_uses_may_be_missing(tmp_path: Path) -> None:
    """LMDB takes pages at the end for a transaction, frees them in it, and never writes them."""
    path = tmp_path / "store"
    oid = filled(path)
    with lmdb.open(str(path), max_dbs=len(TABLES) + 1, map_size=1 << 30) as env:
        extra = env.open_db(b"extra")
        with env.begin(write=True) as txn:
            txn.put(b"big", bytes(1 << 20), db=extra)  # at the end of the file
        with env.begin(write=True) as txn:
            txn.delete(b"big", db=extra)
        with env.begin(write=True) as txn:
            txn.drop(extra)
        pages = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    data = path / "data.mdb"
    os.truncate(data, pages - (1 << 20) + 50_000)
    assert use(path, oid) == "fine"
    assert data.stat().st_size >= pages


def test_a_flipped_byte_in_an_index_page_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / "store"
    oid = filled(path)
    data = path / "data.mdb"
    rows = [match.start() for match in re.finditer(re.escape(oid), data.read_bytes())]
    assert rows  # some may be in older versions of the page
    for row in rows:
        flip_byte(data, row + 32)  # the first byte of the location: the kind
    assert use(path, oid).startswith("CorruptObject:")


def test_a_store_that_lacks_some_of_the_overlays_tables_is_refused(tmp_path: Path) -> None:
    Store.create(tmp_path / "store").close()
    with lmdb.open(str(tmp_path / "store"), max_dbs=64) as env:
        table = env.open_db(b"overlay_links")
        with env.begin(write=True) as txn:
            txn.drop(table)
    for readonly in (True, False):
        with pytest.raises(StoreError, match="some of its tables are missing"):
            Store.open(tmp_path / "store", readonly=readonly)


def test_a_number_that_is_cut_short(tmp_path: Path) -> None:
    oid = filled(tmp_path / "store")
    with lmdb.open(str(tmp_path / "store"), max_dbs=64) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True) as txn:
            txn.put(b"\xff" * 3, b"", db=blocks)
    assert use(tmp_path / "store", oid).startswith("CorruptObject: a table of numbers is damaged")
