"""One LMDB environment: its tables, transactions, and a map that grows by itself.

Locks: LMDB forbids resizing the map while this process has a transaction open, so each
transaction holds the gate shared and a resize holds it alone. Nothing that points into the map
may leave a transaction's block.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeAlias, TypeVar

import lmdb

from vfs.errors import StoreError
from vfs.store.gate import Gate
from vfs.store.lmdberrors import (
    MAX_READERS,
    MapFull,
    store_damaged,
    store_full,
    translate,
    translated,
    trusted,
)
from vfs.store.pages import PageFile, Snapshot, Walk
from vfs.store.tables import TABLES

T = TypeVar("T")
Txn: TypeAlias = "lmdb.Transaction[memoryview]"
Table: TypeAlias = "lmdb._Database"  # noqa: SLF001 - it has no other name

MAP_START_BYTES: Final = 64 << 30
"""Address space to begin with. It costs neither memory nor disk, and growing is rare this way."""

_LOCK_FILE_BYTES: Final = MAX_READERS * 64 + 4096  # a cache line for each reader, and the head
_MAX_TABLES: Final = 64  # those of a later vfs that works in the same store, too

RESERVED_BYTES: Final = 32 << 20
RESERVED_PART: Final = 50
"""Room that contents leave on the disk: so much, or this part of a small one."""


class Environment:
    """An open environment with the tables of a store. Thread-safe; not to be held over a fork."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        readonly: bool = False,
        map_bytes: int | None = None,
    ) -> None:
        """Open the environment in *path*.

        *readonly* never waits for a writer; otherwise making a table does.
        """
        self.gate = Gate()
        self.path = path
        self.readonly = readonly
        self.tables: dict[str, Table] = {}
        data_bytes = 0 if create else (path / "data.mdb").stat().st_size
        if data_bytes:
            with trusted(path), PageFile.open(path):
                pass  # LMDB takes what the meta pages say for true
        size = map_bytes or MAP_START_BYTES
        while size < data_bytes:
            size *= 2
        _reserve_lock_file(path)
        with translated(path):
            self._env = lmdb.open(
                str(path),
                map_size=size,
                max_dbs=_MAX_TABLES,
                max_readers=MAX_READERS,
                mode=0o600,
                create=create,
                readonly=readonly,
                readahead=False,  # vfs.store.readahead does it where it helps
                max_spare_txns=4,
            )
            try:
                self._env.reader_check()  # frees what killed readers still hold
                self._require_whole()
            except BaseException:
                self._env.close()
                raise

    def open_tables(
        self,
        names: Iterable[str] = TABLES,
        *,
        missing: Literal["refuse", "make", "leave"] = "refuse",
    ) -> None:
        """Open tables; no transaction may be open. *missing* says what to do without one.

        Raises StoreError.
        """
        absent = []
        for name in names:
            with translated(self.path):
                try:
                    self.tables[name] = self._open_table(name)
                except lmdb.NotFoundError:
                    if missing == "refuse":
                        raise
                    absent.append(name)
        if absent and missing == "make":
            self.tables |= self.write(
                lambda txn: {name: self._env.open_db(name.encode(), txn=txn) for name in absent}
            )

    def _open_table(self, name: str) -> Table:
        while True:
            try:
                return self._env.open_db(name.encode(), create=False)
            except lmdb.MapResizedError:  # by another process, since this one opened it
                self._env.set_mapsize(0)

    def _require_whole(self) -> None:
        """Raise StoreError when the data file has lost its end.

        Whoever read there would be killed (SIGBUS). LMDB itself leaves the last pages unwritten
        when a transaction took them and freed them again, so what a short file lacks may be needed
        by nobody. If so, the file gets the length it should have.
        """
        data, size = self.path / "data.mdb", self.page_bytes()
        if data.stat().st_size >= size:
            return
        damages: list[str] = []
        with self.pinned() as (file, snapshot):
            Walk(file, snapshot, on_damage=damages.append).run()
        if damages:
            raise StoreError(
                f"the store {self.path} is damaged: its data file has lost its end",
                hint="restore it from a backup; nothing was changed",
            )
        with data.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), size - 1, 1)  # never shrinks, as truncate could

    def require_sound(self, tables: Container[str]) -> None:
        """Raise StoreError when the list of tables, or one of *tables* that is small, is damaged.

        For what no hash tells of: LMDB takes a page that it finds in another's place for the right
        one. 0.2 ms.
        """
        damages: list[str] = []
        with self.pinned() as (file, snapshot):
            Walk(file, snapshot, on_damage=damages.append).run_small(tables)
        if damages:
            raise store_damaged(self.path, damages[0])

    @contextmanager
    def pinned(self, *, write: bool = False) -> Iterator[tuple[PageFile, Snapshot]]:
        """Hold the pages of the state that was committed last, to be read without LMDB.

        No writer uses any of them anew while this lasts. With *write* the file can be written to,
        and the thread may open other transactions. Raises
        StoreError where the meta pages are damaged.
        """
        with trusted(self.path), PageFile.open(self.path, write=write) as file:
            while True:
                with self.hold() if write else self.read() as txn:
                    snapshot = file.snapshot(txn.id())
                    if snapshot is not None:
                        yield file, snapshot
                        return

    def close(self) -> None:
        """Close; no transaction may be open."""
        self._env.close()

    def read(self) -> _ReadTransaction:
        """Open a read transaction: `with env.read() as txn`.

        What it returns points into the map: copy it before leaving the block.
        """
        return _ReadTransaction(self)

    def write(self, change: Callable[[Txn], T]) -> T:
        """Run *change* in a write transaction, durable on return; all of it or nothing.

        *change* runs again, from the start, when the map had to grow under it.
        Raises StoreFull when the disk is full.
        """
        while True:
            txn = self.begin(write=True)
            try:
                with translated(self.path), txn:
                    return change(txn)
            except MapFull:
                pass
            finally:
                self.gate.leave()
            self._grow()

    @contextmanager
    def hold(self) -> Iterator[Txn]:
        """Hold a read transaction while the same thread opens others, to read and to write.

        What this process, and others, write meanwhile must not exceed MAP_START_BYTES: the map
        can't grow under it. Whoever writes more gets Conflict.
        """
        size = there = self._env.info()["map_size"]
        while size < self.page_bytes() + MAP_START_BYTES:
            size *= 2
        if size > there:
            self._resize(size)
        txn = self.begin(write=False, hold=True)
        try:
            with translated(self.path):
                yield txn
        finally:
            txn.abort()
            self.gate.leave(hold=True)

    def begin(self, *, write: bool, hold: bool = False) -> Txn:
        """Open a transaction and hold the gate for it: `gate.leave()` when it has ended."""
        while True:
            self.gate.enter(hold=hold)
            try:
                return self._env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:  # by another process
                self.gate.leave(hold=hold)
                self._resize(0)
            except lmdb.Error as error:
                self.gate.leave(hold=hold)
                raise translate(error, self.path) from error
            except BaseException:
                self.gate.leave(hold=hold)
                raise

    def _grow(self) -> None:
        self._resize(self._env.info()["map_size"] * 2)

    def _resize(self, size: int) -> None:
        with self.gate.alone(), translated(self.path):
            if size == 0 or size > self._env.info()["map_size"]:
                self._env.set_mapsize(size)

    def is_blank(self) -> bool:
        """Say whether nothing is in it but empty tables of a store."""
        with translated(self.path), self._env.begin() as txn:
            names = {bytes(name).decode("ascii", "replace") for name, _ in txn.cursor()}
            return names <= set(TABLES) and all(
                not txn.stat(self._env.open_db(name.encode(), txn=txn, create=False))["entries"]
                for name in names
            )

    def require_room(self) -> None:
        """Raise StoreFull when the disk has little room left, which is kept for rows."""
        disk = os.statvfs(self.path)
        kept = min(RESERVED_BYTES, disk.f_blocks * disk.f_frsize // RESERVED_PART)
        if disk.f_bavail * disk.f_frsize < kept:
            raise store_full(self.path)

    def check_readers(self) -> int:
        """Free the slots of readers that were killed; return how many there were."""
        return self._env.reader_check()

    def copy_to(self, fd: int) -> None:
        """Write a data file with what is in use now, and no free pages, to an open file.

        It is one snapshot, whatever is written meanwhile. Raises StoreError.
        """
        with self.read():
            pass  # another process's resize is adopted
        self.gate.enter()
        try:
            with translated(self.path):
                self._env.copyfd(fd, compact=True)
        finally:
            self.gate.leave()

    def used_bytes(self) -> int:
        """Return what `copy_to` would write now, in bytes."""
        with self.read() as txn:
            stats = [self._env.stat(), *map(txn.stat, self.tables.values())]
        pages = sum(s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"] for s in stats)
        return (pages + 2) * int(stats[0]["psize"])  # two meta pages

    def readers(self) -> list[tuple[int, int]]:
        """Return the process and the transaction number of each read transaction there is."""
        lines = self._env.readers().splitlines()
        rows = [line.split() for line in lines]  # pid, thread, txnid; "-" where none is open
        return [(int(row[0]), int(row[2])) for row in rows if len(row) == 3 and row[2].isdigit()]

    def page_bytes(self) -> int:
        """Return the size of the pages in use, in bytes: what the data file has to hold."""
        info = self._env.info()
        return (info["last_pgno"] + 1) * self._env.stat()["psize"]


def _reserve_lock_file(path: Path) -> None:
    """Give LMDB's table of readers its room on disk: it is mapped, and a hole in it kills.

    Only before the environment is opened: closing the file gives up this process's locks on it.
    """
    try:
        fd = os.open(path / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # LMDB says what is wrong with it
    try:
        if os.fstat(fd).st_blocks * 512 < _LOCK_FILE_BYTES:
            os.posix_fallocate(fd, 0, _LOCK_FILE_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise store_full(path) from error
    finally:
        os.close(fd)


class _ReadTransaction:
    """A read transaction as a context manager.

    A class, as three nested generators would cost 4 us for each of the reads a small file takes.
    """

    __slots__ = ("_env", "_txn")

    def __init__(self, env: Environment) -> None:
        self._env = env

    def __enter__(self) -> Txn:
        self._txn = self._env.begin(write=False)
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._txn.abort()
        self._env.gate.leave()
        if isinstance(error, lmdb.Error):
            raise translate(error, self._env.path) from error
