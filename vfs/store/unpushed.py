"""Objects of a cache that its remote may not have: those made here, until a push confirmed them.

They are marked in the transaction that stores them, so a kill leaves at worst too many marked. What
is marked is never evicted (`vfs.store.evicting`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.store.environment import Environment, Txn

TABLE: Final = "unpushed"


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

    def mark_in(self, txn: Txn, oid: ObjectId) -> None:
        """Mark an object as part of *txn*."""
        txn.put(oid, b"", db=self._env.tables[TABLE])

    def forget(self, ids: Iterable[ObjectId]) -> None:
        """Take marks away, in one transaction: keep them few."""
        some = list(ids)

        def change(txn: Txn) -> None:
            for oid in some:
                txn.delete(oid, db=self._env.tables[TABLE])

        self._env.write(change)

    def count(self) -> int:
        """Return how many objects are marked."""
        if TABLE not in self._env.tables:
            return 0
        with self._env.read() as txn:
            return int(txn.stat(self._env.tables[TABLE])["entries"])
