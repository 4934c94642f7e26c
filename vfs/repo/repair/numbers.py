"""The tables of inode numbers: made again from the tree leaves, whose entries they are of.

All of it follows from the leaves and the store's secret, but for which of two entries came first
where two share a number; the rows that are sound say so.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.node import Leaf, decode_node
from vfs.recent import Recent
from vfs.store.layout import (
    NUMBER_BYTES,
    Kind,
    NumberRow,
    key_number,
    number_key,
    pack_number_row,
    unpack_location,
    unpack_number_row,
)
from vfs.store.numbers import RESERVED
from vfs.store.store import RowChange

if TYPE_CHECKING:
    from vfs.store.held import HeldStore
    from vfs.store.store import Store

_LEAVES_KEPT: Final = 256


def repair_numbers(store: Store, *, dry_run: bool) -> list[str]:
    """Make the tables of inode numbers say what they should; say how many rows were wrong."""
    with store.held() as held:
        changes = _Numbers(held).changes()
        if not dry_run:
            store.mend(changes)
    counts = Counter(change.table for change in changes)
    return [
        f"the table '{table}' has {count:,} rows made again from the directories"
        for table, count in sorted(counts.items())
    ]


class _Numbers:
    """What has to change in the tables of one snapshot."""

    def __init__(self, held: HeldStore) -> None:
        self._held = held
        self._reader = held.reader()
        self._numbering = held.numbering
        self._after: dict[tuple[str, bytes], bytes | None] = {}
        self._bad_leaves: set[bytes] = set()
        self._leaf_numbers: dict[ObjectId, int] = {}
        self._next_leaf = held.last_number("leaves") + 1
        self._some_leaf: ObjectId | None = None
        self._leaves: Recent[ObjectId, Leaf] = Recent(_LEAVES_KEPT)

    def changes(self) -> list[RowChange]:
        """Return all changes, what others lead to first."""
        self._find_wrong_leaves()
        self._drop_wrong("numbers", self._is_number)
        self._drop_wrong("collisions", self._is_collision)
        for oid, leaf in self._tree_leaves():
            self._some_leaf = oid
            for index in range(len(leaf)):
                if not stat.S_ISDIR(leaf.mode(index)):
                    self._check_entry(oid, leaf, index)
        self._drop_leaves()
        order = {"leaves": 0, "numbers": 1, "collisions": 2}
        found = [
            RowChange(table, key, before, after)
            for (table, key), after in self._after.items()
            if (before := self._stored(table, key)) != after
        ]
        return sorted(found, key=lambda row: (row.after is None, order[row.table], row.key))

    # rows, as they will be

    def _stored(self, table: str, key: bytes) -> bytes | None:
        row = self._held.row(table, key)
        return None if row is None else bytes(row)

    def _row(self, table: str, key: bytes) -> bytes | None:
        if (table, key) in self._after:
            return self._after[table, key]
        if table == "leaves" and key in self._bad_leaves:
            return None
        return self._stored(table, key)

    def _drop_wrong(self, table: str, is_right: Callable[[bytes, bytes], bool]) -> None:
        for key, value in self._held.rows(table):
            if not is_right(key, bytes(value)):
                self._after[table, key] = None

    def _find_wrong_leaves(self) -> None:
        for key, value in self._held.rows("leaves"):
            if len(key) != 8 or len(value) != ID_BYTES or not self._is_tree(bytes(value)):
                self._bad_leaves.add(key)
            else:
                self._leaf_numbers.setdefault(ObjectId(bytes(value)), key_number(key))

    def _is_tree(self, oid: bytes) -> bool:
        row = self._held.row("objects", oid)
        try:
            return row is not None and unpack_location(row).kind == Kind.TREE
        except CorruptObject:
            return False

    def _is_number(self, key: bytes, value: bytes) -> bool:
        if len(key) != 8 or len(value) != NUMBER_BYTES:
            return False
        if key_number(key) < RESERVED or key_number(key) >> 62:
            return False
        leaf = unpack_number_row(memoryview(value)).leaf
        return self._row("leaves", number_key(leaf)) is not None

    def _is_collision(self, key: bytes, value: bytes) -> bool:
        if len(key) != 16 or len(value) != 8:
            return False
        row = self._row("numbers", value)
        check = int.from_bytes(key[8:12], "little")
        return row is not None and unpack_number_row(memoryview(row)).check == check

    def _drop_leaves(self) -> None:
        """Remove the rows that lead to no leaf, now that no number needs them."""
        for key in self._bad_leaves:
            is_last = len(key) == 8 and key_number(key) == self._next_leaf - 1
            if not is_last:
                self._after["leaves", key] = None
            elif self._some_leaf is not None:  # its number must not come back
                self._after["leaves", key] = self._some_leaf

    # entries

    def _tree_leaves(self) -> Iterator[tuple[ObjectId, Leaf]]:
        for key, value in self._held.rows("objects"):
            try:
                if unpack_location(value).kind == Kind.TREE and len(key) == ID_BYTES:
                    leaf = self._leaf(ObjectId(key))
                    if leaf is not None:
                        yield ObjectId(key), leaf
            except CorruptObject:
                continue  # told by the check

    def _leaf(self, oid: ObjectId) -> Leaf | None:
        leaf = self._leaves.get(oid)
        if leaf is None:
            try:
                node = decode_node(self._reader.get(oid))
            except CorruptObject:
                return None
            if not isinstance(node, Leaf):
                return None
            leaf = node
            self._leaves.put(oid, leaf)
        return leaf

    def _check_entry(self, oid: ObjectId, leaf: Leaf, index: int) -> None:
        """See to it that the number of an entry leads to it, or to its equal."""
        identity = leaf.identity(index)
        key = self._numbering.digest(identity)
        check = int.from_bytes(key[8:12], "little")
        collided = self._row("collisions", key)
        if collided is not None:
            self._claim(collided, identity, check, oid, index)
            return
        is_own = True
        for number in self._numbering.candidates(identity):
            row_key = number_key(number)
            if self._claim(row_key, identity, check, oid, index):
                if not is_own:
                    self._after["collisions", key] = row_key
                return
            is_own = False

    def _claim(self, key: bytes, identity: bytes, check: int, oid: ObjectId, index: int) -> bool:
        """Make a number's row lead to an entry; False where it is soundly another's."""
        row = self._row("numbers", key)
        if row is not None:
            there = self._identity_at(row)
            if there == identity:
                return True
            if there is not None and self._is_of(key, row, there):
                return False
        new = NumberRow(check, self._leaf_number(oid), index)
        self._after["numbers", key] = pack_number_row(new)
        return True

    def _identity_at(self, row: bytes) -> bytes | None:
        """Return the entry that a row of `numbers` leads to."""
        place = unpack_number_row(memoryview(row))
        oid = self._row("leaves", number_key(place.leaf))
        leaf = None if oid is None else self._leaf(ObjectId(oid))
        if leaf is None or place.at >= len(leaf):
            return None
        return leaf.identity(place.at)

    def _is_of(self, key: bytes, row: bytes, identity: bytes) -> bool:
        """Say whether a number is one that the entry with *identity* has."""
        digest = self._numbering.digest(identity)
        if unpack_number_row(memoryview(row)).check != int.from_bytes(digest[8:12], "little"):
            return False
        number = self._row("collisions", digest)
        return key == (number or number_key(next(self._numbering.candidates(identity))))

    def _leaf_number(self, oid: ObjectId) -> int:
        number = self._leaf_numbers.get(oid)
        if number is None:
            number = self._leaf_numbers[oid] = self._next_leaf
            self._next_leaf += 1
            self._after["leaves", number_key(number)] = oid
        return number
