"""A store as it was at one moment: every read, of whatever part of it, in one LMDB snapshot.

For who reads all of it while others write: a check must take nothing for damage that is only new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import lmdb

from vfs.errors import StoreError
from vfs.store.environment import Environment
from vfs.store.lmdberrors import translated
from vfs.store.store import Store

if TYPE_CHECKING:
    from vfs.store.environment import Txn


class _Held:
    """What `Environment.read` returns, of a transaction that goes on."""

    def __init__(self, env: Environment, txn: Txn, begin: Callable[[], Txn]) -> None:
        self._env = env
        self._txn = self._first = txn
        self._begin = begin

    def __enter__(self) -> Txn:
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, lmdb.Error):
            self._revive()
            with translated(self._env.path):
                raise error

    def end(self) -> None:
        """End what `_revive` has begun; the first transaction is its owner's."""
        if self._txn is not self._first:
            self._txn.abort()

    def _revive(self) -> None:
        """Begin the transaction anew: LMDB lets none go on that met a damaged page.

        Unless somebody has committed meanwhile: then it would be of another snapshot.
        """
        again = self._begin()
        if again.id() == self._first.id():
            self.end()
            self._txn = again
        else:
            again.abort()


class HeldEnvironment(Environment):
    """An environment in which every read is one and the same transaction. For one thread."""

    def __init__(self, env: Environment, txn: Txn) -> None:
        """*env*: it stays open for as long as this is used."""
        self.gate = env.gate
        self.path = env.path
        self.tables = env.tables
        self._env = env._env  # noqa: SLF001 - of the same class
        self._held = _Held(env, txn, lambda: self._env.begin(buffers=True))

    def read(self) -> _Held:  # type: ignore[override]  # it is used in the same way
        """Return the transaction, for a with statement."""
        return self._held

    def close(self) -> None:
        """End the reads; the environment is left to whoever opened it."""
        self._held.end()


class HeldStore(Store):
    """A store in which nothing changes. For one thread."""

    def count(self, table: str) -> int:
        """Return how many rows LMDB says that a table has."""
        if table not in self._env.tables:
            return 0
        with self._env.read() as txn:
            rows: int = txn.stat(self._env.tables[table])["entries"]
            return rows

    def row(self, table: str, key: bytes) -> memoryview | None:
        """Return a row, which points into the map, or None."""
        if table not in self._env.tables or not key:
            return None
        with self._env.read() as txn:
            return txn.get(key, db=self._env.tables[table])

    def keys(self, table: str) -> Iterator[memoryview]:
        """Yield all keys of a table, which point into the map."""
        with self._env.read() as txn, txn.cursor(self._env.tables[table]) as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def is_erased(self, oid: bytes) -> bool:
        """Say whether an object is missing because its bytes were erased on purpose."""
        return self.row("erased", oid) is not None

    def rows(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Yield the keys from *start* on, and their rows, which point into the map.

        Raises StoreError where the table is not what a table can be, instead of going on for ever.
        """
        last = None
        seen, entries = 0, self.count(table)
        if table not in self._env.tables:
            return
        with self._env.read() as txn, txn.cursor(self._env.tables[table]) as cursor:
            more = cursor.set_range(start) if start else cursor.first()
            while more:
                key = bytes(cursor.key())
                if (last is not None and key <= last) or seen == entries:
                    raise StoreError(f"the table '{table}' is damaged: its keys do not ascend")
                yield key, cursor.value()
                last = key
                seen += 1
                more = cursor.next()
        if not start and seen != entries:
            raise StoreError(f"the table '{table}' is damaged: {entries} rows, {seen} are there")

    def last_number(self, table: str) -> int:
        """Return the last key of a numbered table; 0 for an empty one."""
        with self._env.read() as txn, txn.cursor(self._env.tables[table]) as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.last() else 0

    def first_number(self, table: str) -> int:
        """Return the first key of a numbered table; 0 for an empty one."""
        with self._env.read() as txn, txn.cursor(self._env.tables[table]) as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.first() else 0
