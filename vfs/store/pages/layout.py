"""The data file as LMDB lays it out: pages, the two meta pages, what they say of the trees.

Names in comments are those of LMDB's mdb.c. Integers are in the byte order of the machine.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

HEADER_BYTES: Final = 16  # PAGEHDRSZ
HEADER: Final = struct.Struct("=QHHHH")  # mp_pgno, mp_pad, mp_flags, mp_lower, mp_upper
OVERFLOW: Final = struct.Struct("=QHHI")  # mp_pgno, mp_pad, mp_flags, mp_pages
BRANCH_PAGE: Final = 0x01
LEAF_PAGE: Final = 0x02
OVERFLOW_PAGE: Final = 0x04
_META_PAGE: Final = 0x08

FIRST_PAGE: Final = 2  # behind the metas
_NO_PAGE: Final = (1 << 64) - 1  # P_INVALID: the root of an empty tree
_DEPTH_MAX: Final = 32  # CURSOR_STACK
_INTEGER_KEYS: Final = 0x08
_PAGE_BYTES: Final = tuple(1 << bits for bits in range(9, 16))

_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_TREE: Final = struct.Struct("=IHHQQQQQ")  # MDB_db
TREE_BYTES: Final = _TREE.size
_META_HEAD: Final = struct.Struct("=IIQQ")  # mm_magic, mm_version, mm_address, mm_mapsize
_META_TAIL: Final = struct.Struct("=QQ")  # mm_last_pg, mm_txnid
_META_BYTES: Final = HEADER_BYTES + _META_HEAD.size + 2 * _TREE.size + _META_TAIL.size


class DamagedPage(Exception):
    """A page, or what it says, can't be LMDB's. `str(error)` says what is wrong with it."""


class Tree(NamedTuple):
    """A search tree (MDB_db): where it begins, and what LMDB counted in it."""

    pad: int  # of the list of free pages the size of pages; else 0
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, data: bytes, at: int = 0) -> Tree:
        """Return the tree whose record begins at *at*. Raises DamagedPage."""
        tree = cls(*_TREE.unpack_from(data, at))
        if tree.depth > _DEPTH_MAX:
            raise DamagedPage(f"a tree of {tree.depth} levels")
        if (tree.depth == 0) != (tree.root == _NO_PAGE):
            raise DamagedPage("a tree without a root, and not empty, or the other way round")
        return tree

    @property
    def is_plain(self) -> bool:
        """Say whether it is of the only kind that a store has: without any of LMDB's options."""
        return not self.pad and not self.flags


class Snapshot(NamedTuple):
    """What one meta page says: the state that one transaction committed."""

    txnid: int
    page_bytes: int
    last_page: int
    free: Tree
    main: Tree

    @classmethod
    def unpack(cls, data: bytes, number: int) -> Snapshot:
        """Return what the meta page *number*, 0 or 1, says. Raises DamagedPage."""
        if len(data) != _META_BYTES:
            raise DamagedPage(f"the file ends in meta page {number}")
        pgno, _, flags, _, _ = HEADER.unpack_from(data)
        magic, version, _, _ = _META_HEAD.unpack_from(data, HEADER_BYTES)
        at = HEADER_BYTES + _META_HEAD.size
        if magic != _MAGIC or flags != _META_PAGE or pgno != number:
            raise DamagedPage(f"page {number} is no meta page of LMDB")
        if version != _VERSION:
            raise DamagedPage(f"meta page {number} is of LMDB's format {version}, not {_VERSION}")
        last_page, txnid = _META_TAIL.unpack_from(data, at + 2 * _TREE.size)
        try:
            free, main = Tree.unpack(data, at), Tree.unpack(data, at + _TREE.size)
        except DamagedPage as error:
            raise DamagedPage(f"meta page {number}: {error}") from error
        page_bytes = free.pad  # mm_psize
        if page_bytes not in _PAGE_BYTES or last_page < FIRST_PAGE - 1:
            raise DamagedPage(f"meta page {number} says impossible things")
        if free.flags != _INTEGER_KEYS or not main.is_plain:
            raise DamagedPage(f"meta page {number} has flags that no store has")
        if any(t.depth and not FIRST_PAGE <= t.root <= last_page for t in (free, main)):
            raise DamagedPage(f"meta page {number}: a root is not within the file")
        return cls(txnid, page_bytes, last_page, free, main)


class PageFile:
    """The data file of a store, read page by page. For one thread."""

    def __init__(self, fd: int) -> None:
        """*fd*: of data.mdb; whoever opened it closes it."""
        self.fd = fd
        self.page_bytes = self.metas()[0].page_bytes

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, write: bool = False) -> Iterator[Self]:
        """Open the data file of the store in *path*. Raises OSError, DamagedPage."""
        fd = os.open(path / "data.mdb", (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            yield cls(fd)
        finally:
            os.close(fd)

    def metas(self) -> tuple[Snapshot, Snapshot]:
        """Return what both meta pages say, the newer first. Raises DamagedPage.

        As they are at one moment: somebody may write one, and half of that be read.
        """
        before = None
        while before != (now := self._read_metas()):
            before = now
        first, second = Snapshot.unpack(now[0], 0), Snapshot.unpack(now[1], 1)
        if second.page_bytes != first.page_bytes:
            raise DamagedPage("the meta pages differ in the size of pages")
        # The transaction N writes meta page N % 2; in a new file both are of none.
        if any(
            meta.txnid and meta.txnid & 1 != number for number, meta in enumerate((first, second))
        ):
            raise DamagedPage("a meta page is of a transaction that does not write it")
        if abs(first.txnid - second.txnid) != (first.txnid > 0 or second.txnid > 0):
            raise DamagedPage("the meta pages' transactions do not follow each other")
        return (second, first) if first.txnid < second.txnid else (first, second)

    def _read_metas(self) -> tuple[bytes, bytes]:
        first = self.read(0, _META_BYTES)
        page_bytes = Snapshot.unpack(first, 0).page_bytes
        return first, self.read(page_bytes, _META_BYTES)

    def snapshot(self, txnid: int) -> Snapshot | None:
        """Return the state that the transaction *txnid* committed. Raises DamagedPage.

        None where two more have been committed since: their meta pages are written in turns.
        """
        return next((meta for meta in self.metas() if meta.txnid == txnid), None)

    def read(self, at: int, length: int) -> bytes:
        """Return bytes of the file; fewer only where it ends. Raises DamagedPage."""
        try:
            return os.pread(self.fd, length, at)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise DamagedPage(f"the disk can't read byte {at} of the data file") from error

    def page(self, number: int) -> bytes:
        """Return a page. Raises DamagedPage."""
        data = self.read(number * self.page_bytes, self.page_bytes)
        if len(data) != self.page_bytes:
            raise DamagedPage("behind the end of the file")
        return data

    def pages(self) -> int:
        """Return how many whole pages the file has."""
        return os.fstat(self.fd).st_size // self.page_bytes
