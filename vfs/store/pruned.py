"""Versions whose content a rule of retention let go: when, and which rule. Their commits stay."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.clock import iso
from vfs.errors import CorruptObject, NotFound
from vfs.ids import ObjectId

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

ROWS_AT_ONCE: Final = 2_000

_HEAD: Final = struct.Struct("<qH")
_REASON_MAX_BYTES: Final = 1000


class Pruned(NamedTuple):
    """Since when, and why, the content of a version is gone."""

    time_ns: int
    reason: str


class PrunedTable:
    """The pruned versions of one store. Thread-safe."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def get(self, commit: ObjectId) -> Pruned | None:
        """Return what is known of a pruned version; None for one that is whole."""
        table = self._env.tables.get("pruned")
        if table is None:
            return None
        with self._env.read() as txn:
            value = txn.get(commit, db=table)
            return None if value is None else unpack_pruned(value)

    def require_whole(self, commit: ObjectId) -> None:
        """Raise NotFound when the content of a version was removed."""
        pruned = self.get(commit)
        if pruned is not None:
            raise NotFound(
                f"the content of the version {commit.hex()[:12]} was removed"
                f" {iso(pruned.time_ns)}: {pruned.reason}",
                hint="its author, time and message are there: vfs log",
            )

    def all(self) -> Iterator[ObjectId]:
        """Yield the pruned versions, in one transaction."""
        table = self._env.tables.get("pruned")
        if table is not None:
            with self._env.read() as txn, txn.cursor(table) as cursor:
                for key in cursor.iternext(keys=True, values=False):
                    yield ObjectId(bytes(key))

    def put(self, txn: Txn, commit: ObjectId, pruned: Pruned | None) -> None:
        """Set, or with None remove, the row of a version as part of *txn*."""
        table = self._env.tables["pruned"]
        if pruned is None:
            txn.delete(commit, db=table)
        else:
            txn.put(commit, pack_pruned(pruned), db=table)

    def put_all(self, rows: Sequence[tuple[ObjectId, Pruned | None]]) -> None:
        """Set or remove rows, as `put` does, in transactions of a bounded size."""

        def change(txn: Txn, some: Sequence[tuple[ObjectId, Pruned | None]]) -> None:
            for commit, pruned in some:
                self.put(txn, commit, pruned)

        for at in range(0, len(rows), ROWS_AT_ONCE):
            self._env.write(partial(change, some=rows[at : at + ROWS_AT_ONCE]))


def pack_pruned(pruned: Pruned) -> bytes:
    """Return the value of a row."""
    reason = pruned.reason.encode()[:_REASON_MAX_BYTES]
    return _HEAD.pack(pruned.time_ns, len(reason)) + reason


def unpack_pruned(value: memoryview | bytes) -> Pruned:
    """Return what a row says. Raises CorruptObject."""
    raw = bytes(value)
    if len(raw) < _HEAD.size or len(raw) != _HEAD.size + _HEAD.unpack_from(raw)[1]:
        raise CorruptObject("the table of pruned versions is damaged")
    return Pruned(_HEAD.unpack_from(raw)[0], raw[_HEAD.size :].decode(errors="replace"))
