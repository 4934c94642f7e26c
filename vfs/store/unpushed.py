"""Objects of a cache that its remote may not have: those made here, until a push confirmed them.

They are marked in the transaction that stores them, so a kill leaves at worst too many marked. What
is marked is never evicted (`vfs.store.evicting`). A mark may be doubted, as nothing seems to need
the object any more (`vfs.sync.releasing`): it holds, but nobody new may rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, ObjectId

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

TABLE: Final = "unpushed"
ROWS_AT_ONCE: Final = 5_000

SURE: Final = b""
DOUBTED: Final = b"\x01"


class Unpushed:
    """The marks of one store. Thread-safe. Stores that are no caches have none."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def has(self, oid: ObjectId) -> bool:
        """Say whether an object is marked."""
        if TABLE not in self._env.tables:
            return False
        with self._env.read() as txn:
            return self.has_in(txn, oid)

    def has_in(self, txn: Txn, oid: ObjectId) -> bool:
        """Say whether an object is marked, as *txn* sees it."""
        return txn.get(oid, db=self._env.tables[TABLE]) is not None

    def is_sure_in(self, txn: Txn, oid: ObjectId) -> bool:
        """Say whether an object has a mark that is not doubted, as *txn* sees it."""
        value = txn.get(oid, db=self._env.tables[TABLE])
        return value is not None and bytes(value) == SURE

    def mark_in(self, txn: Txn, oid: ObjectId) -> None:
        """Mark an object as part of *txn*; the mark is not doubted any more."""
        txn.put(oid, SURE, db=self._env.tables[TABLE])

    def change(self, ids: Iterable[ObjectId], old: bytes | None, new: bytes | None) -> int:
        """Make marks that are *old* (None: whatever they are) *new* (None: take them away).

        In bounded transactions. Returns how many there were.
        """
        table = self._env.tables[TABLE]

        def change(txn: Txn, some: Sequence[ObjectId]) -> int:
            changed = 0
            for oid in some:
                value = txn.get(oid, db=table)
                if value is None or (old is not None and bytes(value) != old):
                    continue
                changed += 1
                if new is None:
                    txn.delete(oid, db=table)
                else:
                    txn.put(oid, new, db=table)
            return changed

        rows = sorted(ids)  # so that rows that share a page come together
        return sum(
            self._env.write(partial(change, some=rows[at : at + ROWS_AT_ONCE]))
            for at in range(0, len(rows), ROWS_AT_ONCE)
        )

    def count(self) -> int:
        """Return how many objects are marked."""
        if TABLE not in self._env.tables:
            return 0
        with self._env.read() as txn:
            return int(txn.stat(self._env.tables[TABLE])["entries"])


def check_mark(key: bytes, value: memoryview) -> None:
    """Raise CorruptObject unless a row is a mark."""
    if len(key) != ID_BYTES or bytes(value) not in (SURE, DOUBTED):
        raise CorruptObject("a row that is no mark")
