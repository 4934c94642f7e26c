"""Walking all trees of one snapshot, page by page: each page used once, or free, and well-formed.

Whoever walks holds a read transaction of that snapshot, so that no writer uses its pages anew.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Container
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

from vfs.store.pages.layout import (
    BRANCH_PAGE,
    FIRST_PAGE,
    HEADER,
    HEADER_BYTES,
    LEAF_PAGE,
    OVERFLOW,
    OVERFLOW_PAGE,
    TREE_BYTES,
    DamagedPage,
    PageFile,
    Snapshot,
    Tree,
)

_NODE: Final = struct.Struct("=HHHH")  # mn_lo, mn_hi, mn_flags, mn_ksize
_CHILD: Final = struct.Struct("=IHH")  # the same of a branch: 48 bits of page number, mn_ksize
_NUMBER: Final = struct.Struct("=Q")
_OVERFLOWS: Final = 0x01  # F_BIGDATA
_SUBTREE: Final = 0x02  # F_SUBDATA
_KEY_MAX: Final = 511
_PROGRESS_PAGES: Final = 4096
_SMALL_PAGES: Final = 32
_FREE_LIST: Final = "the list of free pages"

_Key: TypeAlias = Any  # bytes, or a number
OnDamage = Callable[[str], None]
OnProgress = Callable[[int, int], None]
"""Gets how many pages were walked, and how many there are."""


class Page(NamedTuple):
    """A live page, or a value on pages of its own, for who wants to know where nothing is."""

    number: int
    gaps: list[tuple[int, int]]  # where no byte counts: from and to, in bytes from its start


class _Node(NamedTuple):
    key: bytes
    flags: int
    size: int  # of the value, in bytes
    at: int  # of the value in the page
    end: int


_OnEntry: TypeAlias = Callable[[_Node, bytes], None]


class _Place(NamedTuple):
    """A page of a tree, and what may be in it."""

    number: int
    levels: int  # of the tree from here on: 1 for a leaf
    low: _Key | None  # the least key that may be there
    high: _Key | None  # the least that may not


class _Where:
    """A tree that is walked, with what was found in it, to be compared with what LMDB counted."""

    branch_pages = leaf_pages = overflow_pages = entries = 0
    is_whole = True
    """Nothing damaged was left out."""

    def __init__(self, name: str, entry_flags: int, on_entry: _OnEntry | None) -> None:
        self.name = name
        self.entry_flags = entry_flags
        self.on_entry = on_entry

    def key(self, key: bytes) -> _Key:
        """Return a key as it is compared."""
        return key


class _Numbers(_Where):
    """A tree whose keys are numbers, in the byte order of the machine."""

    def key(self, key: bytes) -> _Key:
        """Return a key as it is compared. Raises DamagedPage."""
        if len(key) != _NUMBER.size:
            raise DamagedPage(f"a key of {len(key)} bytes")
        return int.from_bytes(key, sys.byteorder)


class Walk:
    """One walk. Memory: a byte for each page of the file, 25 MB for a store of 100 GB."""

    def __init__(
        self,
        file: PageFile,
        snapshot: Snapshot,
        *,
        on_damage: OnDamage,
        on_page: Callable[[Page], None] | None = None,
        on_progress: OnProgress | None = None,
        same: bytearray | None = None,
    ) -> None:
        """*same*: pages, by a 1 each, below which nothing needs to be looked at."""
        self._file = file
        self._snapshot = snapshot
        self._on_damage = on_damage
        self._on_page = on_page
        self._on_progress = on_progress
        self._same = same
        # A file may lack its last pages where they are free, but what a damaged meta page says
        # must not decide how much memory is taken.
        self._pages = min(snapshot.last_page + 1, file.pages())
        self.live = bytearray(self._pages)
        """A 1 for each page that a tree uses."""
        self.damages = 0
        self._free = bytearray(self._pages)
        self._free_behind = 0  # free pages behind the end of the file
        self._walked = 0

    def run(self) -> None:
        """Walk everything, and tell all damage."""
        self._tree(_Numbers(_FREE_LIST, 0, self._free_record), self._snapshot.free)
        for name, tree in self._tables():
            self._table(name, tree)
        if not self.damages and self._same is None:
            self._check_all_used()

    def run_small(self, names: Container[str]) -> None:
        """Walk the list of tables, and those of *names* that have few pages."""
        for name, tree in self._tables():
            if name in names and tree.leaf_pages <= _SMALL_PAGES:
                self._table(name, tree)

    def free_records(self) -> list[tuple[int, array[int]]]:
        """Return transactions that freed pages, and which: they descend. Raises DamagedPage."""
        found: list[tuple[int, array[int]]] = []

        def record(node: _Node, page: bytes) -> None:
            found.append(self._free_pages(node, page))

        self._tree(_Numbers(_FREE_LIST, 0, record), self._snapshot.free)
        if self.damages:
            raise DamagedPage(f"{_FREE_LIST} is damaged")
        return found

    # ---- trees

    def _tables(self) -> list[tuple[str, Tree]]:
        found: list[tuple[str, Tree]] = []

        def entry(node: _Node, page: bytes) -> None:
            found.append(_named_tree(node, page))

        self._tree(_Where("the list of tables", _SUBTREE, entry), self._snapshot.main)
        return found

    def _table(self, name: str, tree: Tree) -> None:
        self._tree(_Where(f"the table '{name}'", 0, None), tree)

    def _tree(self, where: _Where, tree: Tree) -> None:
        if tree.depth:
            self._descend(where, _Place(tree.root, tree.depth, None, None))
        if not where.is_whole or self._same is not None:
            return
        for field in ("branch_pages", "leaf_pages", "overflow_pages", "entries"):
            said, there = getattr(tree, field), getattr(where, field)
            if said != there:
                what = field.replace("_", " ")
                self._damage(where.name, None, f"{said} {what} are counted, {there} are there")

    def _descend(self, where: _Where, place: _Place) -> None:
        """Walk a page and what is below it."""
        if self._is_same(place.number):
            return
        try:
            self._claim(place.number, 1)
            children = self._page(where, place, self._file.page(place.number))
        except DamagedPage as error:
            self._damage(where.name, place.number, str(error))
            where.is_whole = False
            return
        for child in children:
            self._descend(where, child)

    def _page(self, where: _Where, place: _Place, page: bytes) -> list[_Place]:
        """Check a page; return its children. Raises DamagedPage."""
        pgno, _, flags, lower, upper = HEADER.unpack_from(page)
        if pgno != place.number:
            raise DamagedPage(f"it says that it is page {pgno}")
        if flags != (LEAF_PAGE if place.levels == 1 else BRANCH_PAGE):
            raise DamagedPage(f"its kind is {flags:#x}, on level {place.levels} from below")
        if not HEADER_BYTES < lower <= upper <= len(page) or lower & 1:
            raise DamagedPage("its bounds are wrong")
        pointers = struct.unpack_from(f"={(lower - HEADER_BYTES) // 2}H", page, HEADER_BYTES)
        if min(pointers) != upper or max(pointers) > len(page) - _NODE.size:
            raise DamagedPage("an entry is not within it")
        if place.levels == 1:
            gaps = self._leaf(where, place, page, pointers)
            children: list[_Place] = []
        else:
            children, gaps = _branch(where, place, page, pointers)
            where.branch_pages += 1
        if self._on_page is not None:
            self._on_page(Page(place.number, [(lower, upper), *gaps]))
        return children

    def _leaf(
        self, where: _Where, place: _Place, page: bytes, pointers: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        """Check a leaf; return the bytes between its entries. Raises DamagedPage."""
        keys, nodes = [], []
        for at in pointers:
            low, high, flags, length = _NODE.unpack_from(page, at)
            size, value = low | high << 16, at + _NODE.size + length
            end = value + (_NUMBER.size if flags & _OVERFLOWS else size)
            if end > len(page) or not 0 < length <= _KEY_MAX:
                raise DamagedPage("an entry is longer than it can be")
            if flags & ~_OVERFLOWS != where.entry_flags:
                raise DamagedPage(f"an entry has the flags {flags:#x}")
            key = page[at + _NODE.size : value]
            keys.append(where.key(key))
            nodes.append(_Node(key, flags, size, value, end))
        _check_order(keys, place)
        gaps = _gaps(page, [(at, node.end) for at, node in zip(pointers, nodes, strict=True)])
        for node in nodes:
            if node.flags & _OVERFLOWS:
                where.overflow_pages += self._overflow(node, page)
            if where.on_entry is not None:
                where.on_entry(node, page)
        where.leaf_pages += 1
        where.entries += len(nodes)
        return gaps

    def _overflow(self, node: _Node, page: bytes) -> int:
        """Check the pages that hold a value alone; return how many there are."""
        (number,) = _NUMBER.unpack_from(page, node.at)
        if self._is_same(number):
            return 0
        if not FIRST_PAGE <= number < self._pages:
            raise DamagedPage(f"a value is on page {number}, which is not within the file")
        head = self._file.read(number * self._file.page_bytes, HEADER_BYTES)
        pgno, _, flags, count = OVERFLOW.unpack(head)
        end = HEADER_BYTES + node.size
        if pgno != number or flags != OVERFLOW_PAGE:
            raise DamagedPage(f"a value is on page {number}, which is not for one")
        if count * self._file.page_bytes < end:
            raise DamagedPage(f"a value of {node.size} bytes is on {count} pages")
        self._claim(number, count)
        if self._on_page is not None:
            self._on_page(Page(number, [(end, count * self._file.page_bytes)]))
        return int(count)

    def _claim(self, first: int, count: int) -> None:
        end = first + count
        if not FIRST_PAGE <= first < end <= self._pages:
            raise DamagedPage("it is not within the file")
        if self.live.find(1, first, end) >= 0:
            raise DamagedPage("it is used twice")
        self.live[first:end] = b"\1" * count
        self._walked += count
        if self._on_progress is not None and self._walked % _PROGRESS_PAGES < count:
            self._on_progress(self._walked, self._pages)

    def _is_same(self, number: int) -> bool:
        return self._same is not None and number < len(self._same) and bool(self._same[number])

    # ---- free pages

    def _free_pages(self, node: _Node, page: bytes) -> tuple[int, array[int]]:
        """Return a transaction and the pages it freed, which descend. Raises DamagedPage."""
        value, at = page[node.at : node.end], node.at
        (number,) = _NUMBER.unpack_from(page)
        if node.flags & _OVERFLOWS:
            (number,) = _NUMBER.unpack(value)
            at = HEADER_BYTES
            value = self._file.read(number * self._file.page_bytes + at, node.size)
        numbers = array("Q", value[: len(value) // _NUMBER.size * _NUMBER.size])
        if not numbers or numbers[0] >= len(numbers):
            raise DamagedPage("a record of free pages is too short")
        pages = numbers[1 : numbers[0] + 1]
        if pages and not FIRST_PAGE <= pages[-1] <= pages[0] <= self._snapshot.last_page:
            raise DamagedPage("a free page is not within the file")
        if pages.tolist() != sorted(pages, reverse=True):
            raise DamagedPage("free pages are not in their order")
        if self._on_page is not None:  # a record is longer than its list where less was left
            spare = (at + (len(pages) + 1) * _NUMBER.size, at + len(value))
            self._on_page(Page(number, [spare]))
        txnid = int.from_bytes(node.key, sys.byteorder)
        if not 0 < txnid <= self._snapshot.txnid:
            raise DamagedPage(f"pages were freed by the transaction {txnid}, which was not yet")
        return txnid, pages

    def _free_record(self, node: _Node, page: bytes) -> None:
        for number in self._free_pages(node, page)[1]:
            if number >= self._pages:
                self._free_behind += 1
            elif self._free[number]:
                raise DamagedPage(f"page {number} is in it twice")
            else:
                self._free[number] = 1

    def _check_all_used(self) -> None:
        """Tell of pages that are both used and free, or neither."""
        both = int.from_bytes(self.live, "little") & int.from_bytes(self._free, "little")
        if both:
            self._damage(_FREE_LIST, None, "pages that are used are in it")
        used = self.live.count(1) + self._free.count(1) + self._free_behind + FIRST_PAGE
        if not both and used != self._snapshot.last_page + 1:
            lost = self._snapshot.last_page + 1 - used
            self._damage(_FREE_LIST, None, f"{lost} pages are in no tree, and not in it")

    def _damage(self, tree: str, number: int | None, what: str) -> None:
        self.damages += 1
        page = "" if number is None else f"page {number}: "
        self._on_damage(f"{tree} is damaged: {page}{what}")


def _branch(
    where: _Where, place: _Place, page: bytes, pointers: tuple[int, ...]
) -> tuple[list[_Place], list[tuple[int, int]]]:
    """Return the children of a branch, and the bytes between its entries. Raises DamagedPage."""
    numbers: list[int] = []
    keys, spans = [], []
    for at in pointers:
        low, high, length = _CHILD.unpack_from(page, at)
        start = at + _CHILD.size
        if start + length > len(page):
            raise DamagedPage("an entry is longer than it can be")
        if numbers:  # the first key counts for nothing: all that is less than the second goes there
            keys.append(where.key(page[start : start + length]))
        numbers.append(low | high << 32)
        spans.append((at, start + length))
    _check_order(keys, place)
    bounds = pairwise([place.low, *keys, place.high])
    levels = place.levels - 1
    children = [_Place(number, levels, *ends) for number, ends in zip(numbers, bounds, strict=True)]
    return children, _gaps(page, spans)


def _check_order(keys: list[_Key], place: _Place) -> None:
    if any(key >= after for key, after in pairwise(keys)):
        raise DamagedPage("its keys do not ascend")
    if keys and (
        (place.low is not None and keys[0] < place.low)
        or (place.high is not None and keys[-1] >= place.high)
    ):
        raise DamagedPage("its keys belong elsewhere")


def _gaps(page: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the bytes between entries, which lie one behind the other. Raises DamagedPage.

    Each begins at an even byte, so one that ends at an odd one has a byte behind it.
    """
    spans.sort()
    at, gaps = spans[0][0], []
    for start, end in (*spans, (len(page), len(page))):
        if start != at:
            raise DamagedPage("its entries overlap, or there is room between them")
        at = end + (end & 1)
        if end & 1:
            gaps.append((end, at))
    return gaps


def _named_tree(node: _Node, page: bytes) -> tuple[str, Tree]:
    """Return a table's name and tree. Raises DamagedPage."""
    name = node.key.decode("utf-8", "replace")
    if node.size != TREE_BYTES or node.flags & _OVERFLOWS:
        raise DamagedPage(f"the record of the table '{name}' is no tree")
    tree = Tree.unpack(page, node.at)
    if not tree.is_plain:
        raise DamagedPage(f"the record of the table '{name}' has flags that no table has")
    return name, tree
