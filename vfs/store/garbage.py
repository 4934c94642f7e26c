"""Removing objects, and the rows that lead to them, in bounded transactions. Decides nothing.

Why nobody can come to need meanwhile what is removed: `vfs.store.writers`. The order is that of a
collection: `condemn`, then (when nobody is left who began before) `pardon`, then `remove`. A
process that dies at any point leaves objects that are condemned, or rows and blocks that nothing
leads to; the next collection begins anew and finds them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import Number, ObjectId
from vfs.model.node import Leaf, decode_node
from vfs.store.layout import (
    Kind,
    is_condemned,
    key_number,
    number_key,
    unpack_location,
    unpack_number_row,
    with_condemned,
)
from vfs.store.marks import LIVE, Marks
from vfs.store.reader import Reader
from vfs.store.writers import State

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn
    from vfs.store.numbers import Numbering
    from vfs.store.writers import Writers

ROWS_AT_ONCE: Final = 6_000
"""Rows that one transaction changes at most: each may dirty a page, which is kept in memory."""

_SCANNED_AT_ONCE: Final = 200_000
"""Rows that one transaction reads at most: while it lasts, no page that is freed is used again."""

_LEAVES_AT_ONCE: Final = 100

Wanted = Callable[["Txn", memoryview, memoryview], bool]
Change = Callable[["Txn", bytes, memoryview], None]


@dataclass(slots=True)
class Amount:
    """How many objects, and how large."""

    objects: int = 0
    bytes: int = 0  # before compression
    stored: int = 0  # after it; of what is compressed together, its share

    def add(self, row: memoryview) -> None:
        """Count the object of a row."""
        place = unpack_location(row)
        self.objects += 1
        self.bytes += place.size
        self.stored += place.stored * place.size // max(place.raw, 1)


class Garbage:
    """The objects of a store that are not marked. For one thread, in one process at a time."""

    def __init__(
        self, env: Environment, numbering: Numbering, writers: Writers, marks: Marks
    ) -> None:
        self._env = env
        self._numbering = numbering
        self._writers = writers
        self._marks = marks

    def count(self) -> Amount:
        """Return how much is not marked."""
        amount = Amount()
        for _ in self._batches("objects", partial(self._counts, amount)):
            pass
        return amount

    def _counts(self, amount: Amount, _: Txn, key: memoryview, row: memoryview) -> bool:
        if self._marks.is_garbage(bytes(key)):
            amount.add(row)
        return False

    # condemning

    def condemn(self) -> None:
        """Condemn what is not marked, and begin a new generation of writers."""
        state = self._writers.state()
        self._put_state(state._replace(has_condemned=True))
        self._change("objects", self._is_to_condemn, self._condemn)
        self._put_state(State(state.generation + 1, has_condemned=True))

    def _is_to_condemn(self, _: Txn, key: memoryview, row: memoryview) -> bool:
        return not is_condemned(row) and self._marks.is_garbage(bytes(key))

    def _condemn(self, txn: Txn, key: bytes, row: memoryview) -> None:
        txn.put(key, with_condemned(row, condemned=True), db=self._env.tables["objects"])

    def pardon(self) -> None:
        """Let stay what was marked since it was condemned."""
        self._change("objects", self._is_to_pardon, self._pardon)

    def _is_to_pardon(self, _: Txn, key: memoryview, row: memoryview) -> bool:
        return is_condemned(row) and self._marks.has(bytes(key), LIVE)

    def _pardon(self, txn: Txn, key: bytes, row: memoryview) -> None:
        txn.put(key, with_condemned(row, condemned=False), db=self._env.tables["objects"])

    def _put_state(self, state: State) -> None:
        self._env.write(lambda txn: self._writers.put_state(txn, state))

    # removing

    def remove(self) -> Amount:
        """Remove what is condemned, and its inode numbers; return how much that was.

        Blocks stay: see `vfs.store.repack`.
        """
        amount = Amount()
        orphans = self._orphans()
        if orphans:
            self._move_numbers(orphans)
            self._remove_numbers(orphans)
        self._change("leaves", self._is_leaf_to_go, self._remove_leaf)
        self._change("objects", _is_to_go, partial(self._remove_object, amount))
        self._put_state(self._writers.state()._replace(has_condemned=False))
        return amount

    def _remove_object(self, amount: Amount, txn: Txn, key: bytes, row: memoryview) -> None:
        if is_condemned(row):  # still: nobody stored it anew
            amount.add(row)
            txn.delete(key, db=self._env.tables["objects"])

    def _is_dead_leaf(self, txn: Txn, _: memoryview, oid: memoryview) -> bool:
        row = txn.get(oid, db=self._env.tables["objects"]) if oid else None
        return bool(oid) and (row is None or is_condemned(row))

    def _is_leaf_to_go(self, txn: Txn, key: memoryview, oid: memoryview) -> bool:
        return not oid or self._is_dead_leaf(txn, key, oid)

    def _remove_leaf(self, txn: Txn, key: bytes, _: memoryview) -> None:
        table = self._env.tables["leaves"]
        if not self._numbering.is_leaf_gone(txn, key_number(key)):
            return
        with txn.cursor(table) as cursor:
            if cursor.last() and bytes(cursor.key()) == key:
                txn.put(key, b"", db=table)  # or its number would come back
            else:
                txn.delete(key, db=table)

    # inode numbers

    def _orphans(self) -> array[int]:
        """Return the inode numbers that lead to leaves which go, ascending."""
        dead = bytearray()
        for keys in self._batches("leaves", self._is_dead_leaf):
            last = key_number(keys[-1])
            dead.extend(bytes(last + 1 - len(dead)))
            for key in keys:
                dead[key_number(key)] = 1
        orphans = array("Q")
        if dead:

            def leads_there(_: Txn, __: memoryview, row: memoryview) -> bool:
                leaf = unpack_number_row(row).leaf
                return leaf < len(dead) and bool(dead[leaf])

            for keys in self._batches("numbers", leads_there):
                orphans.extend(map(key_number, keys))
        return orphans

    def _move_numbers(self, orphans: array[int]) -> None:
        """Let numbers lead to leaves that stay, where these have the same entries."""
        found: list[tuple[ObjectId, bytes]] = []
        reader = Reader(self._env, cache_bytes=0)
        for keys in self._batches("objects", _is_lasting_tree):
            for key in keys:
                try:
                    data = reader.get(ObjectId(key))
                    node = decode_node(data)
                except CorruptObject:
                    continue  # no root leads there, or marking would have ended
                if isinstance(node, Leaf) and self._has_any(node, orphans):
                    found.append((ObjectId(key), data))
                if len(found) == _LEAVES_AT_ONCE:
                    self._register(found)
                    found = []
        self._register(found)

    def _has_any(self, leaf: Leaf, numbers: array[int]) -> bool:
        for index in range(len(leaf)):
            number = self._numbering.number(leaf.identity(index))
            at = bisect_left(numbers, number)
            if at < len(numbers) and numbers[at] == number:
                return True
        return False

    def _register(self, leaves: list[tuple[ObjectId, bytes]]) -> None:
        def change(txn: Txn) -> None:
            for oid, data in leaves:
                if txn.get(oid, db=self._env.tables["objects"]) is not None:
                    self._numbering.register(txn, oid, data, distrust=True)

        if leaves:
            self._env.write(change)

    def _remove_numbers(self, orphans: array[int]) -> None:
        for at in range(0, len(orphans), ROWS_AT_ONCE):
            some = orphans[at : at + ROWS_AT_ONCE]
            self._env.write(partial(self._remove_dead_numbers, some))
        self._change("collisions", self._is_dead_collision, self._remove_collision)
        self._numbering.refresh()

    def _remove_dead_numbers(self, numbers: array[int], txn: Txn) -> None:
        table = self._env.tables["numbers"]
        for number in numbers:
            key = number_key(Number(number))
            row = txn.get(key, db=table)
            if row and self._numbering.is_leaf_gone(txn, unpack_number_row(row).leaf):
                txn.delete(key, db=table)

    def _is_dead_collision(self, txn: Txn, _: memoryview, number: memoryview) -> bool:
        return txn.get(number, db=self._env.tables["numbers"]) is None

    def _remove_collision(self, txn: Txn, key: bytes, number: memoryview) -> None:
        if txn.get(number, db=self._env.tables["numbers"]) is None:
            txn.delete(key, db=self._env.tables["collisions"])

    # tables

    def _change(self, table: str, wanted: Wanted, change: Change) -> None:
        """Call *change*, in transactions of bounded size, for the rows that are *wanted*."""
        for keys in self._batches(table, wanted):
            self._env.write(partial(self._change_rows, table, keys, change))

    def _change_rows(self, table: str, keys: list[bytes], change: Change, txn: Txn) -> None:
        for key in keys:
            row = txn.get(key, db=self._env.tables[table])
            if row is not None:  # as another process may have it by now
                change(txn, key, row)

    def _batches(self, table: str, wanted: Wanted) -> Iterator[list[bytes]]:
        """Yield the keys of the rows that are *wanted*; other writers get their turn meanwhile."""
        start: bytes | None = b""
        while start is not None:
            keys, start = self._scan(table, start, wanted)
            if keys:
                yield keys

    def _scan(self, table: str, start: bytes, wanted: Wanted) -> tuple[list[bytes], bytes | None]:
        keys: list[bytes] = []
        with self._env.read() as txn, txn.cursor(self._env.tables[table]) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return keys, None
            for seen, (key, row) in enumerate(cursor.iternext()):
                if len(keys) == ROWS_AT_ONCE or seen == _SCANNED_AT_ONCE:
                    return keys, bytes(key)
                if wanted(txn, key, row):
                    keys.append(bytes(key))
        return keys, None


def _is_to_go(_: Txn, __: memoryview, row: memoryview) -> bool:
    return is_condemned(row)


def _is_lasting_tree(_: Txn, __: memoryview, row: memoryview) -> bool:
    return not is_condemned(row) and unpack_location(row).kind == Kind.TREE
