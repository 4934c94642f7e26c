"""Which commit brought the tree leaves of a store: runs of leaf numbers, by their last one.

A run is written in the transaction that makes its commit visible, so the first commit that has a
leaf is the one that it is noted with. Leaves that no commit had yet, as those of an import that
was killed, are in no run until one has them. Where it has some of a leaf's entries in another
leaf, the leaf is noted with no commit: its entries may come from several.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.store.layout import key_number, number_key

if TYPE_CHECKING:
    import lmdb

    from vfs.store.environment import Environment, Table, Txn

Run = tuple[int, int]
"""The first and the last number of a run of leaves."""


class Brought(NamedTuple):
    """What a commit brings that its first parent has not."""

    whole: tuple[Run, ...] = ()  # leaves that it has
    parts: tuple[Run, ...] = ()  # leaves that it may only have some entries of


NOTHING: Final = Brought()
SEVERAL: Final = NO_CONTENT
_ROW: Final = struct.Struct(">Q32s")


class Births:
    """The runs of a store. Stores of the first release have none."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def commit_of(self, leaf: int) -> ObjectId | None:
        """Return the commit that brought the leaf of a number.

        None where no commit did, SEVERAL where the entries are from several. Raises CorruptObject.
        """
        table = self._env.tables.get("births")
        if table is None:
            return None
        with self._env.read() as txn, txn.cursor(table) as cursor:
            if not cursor.set_range(number_key(leaf)):
                return None
            first, commit = unpack_birth(cursor.value())
            return commit if first <= leaf else None


def claim(txn: Txn, tables: Mapping[str, Table], commit: ObjectId, brought: Brought) -> None:
    """Note, as part of *txn*, that *commit* brought what nobody has brought yet."""
    table = tables["births"]
    for runs, who in ((brought.whole, commit), (brought.parts, SEVERAL)):
        with txn.cursor(table) as cursor:
            gaps = [gap for first, last in runs for gap in _gaps(cursor, first, last)]
        for first, last in gaps:
            txn.put(number_key(last), _ROW.pack(first, who), db=table)


def _gaps(cursor: lmdb.Cursor[memoryview], first: int, last: int) -> list[Run]:
    """Return what of a run is in no row."""
    gaps = []
    more = cursor.set_range(number_key(first))
    while more and first <= last:
        start, _ = unpack_birth(cursor.value())
        if start > last:
            break
        if first < start:
            gaps.append((first, start - 1))
        first = key_number(cursor.key()) + 1
        more = cursor.next()
    if first <= last:
        gaps.append((first, last))
    return gaps


def unpack_birth(value: memoryview) -> tuple[int, ObjectId]:
    """Return the first leaf of a row's run, and the commit. Raises CorruptObject."""
    if len(value) != _ROW.size:
        raise CorruptObject("the table of births is damaged")
    first, commit = _ROW.unpack(value)
    return first, ObjectId(commit)
