"""Inode numbers: from an entry to its number, and back to the entry.

A number is 62 bits of a keyed BLAKE3 of the entry without its name, so the same content has the
same number in every version, after every remount and in every process, and nobody who can add
files, but can't read the store's secret, can aim at one. Chance can still give two identities
one number (for 10^6 files with a probability of 10^-7): the second then gets another, and the
`collisions` table says so. Rows are written in the transaction that stores the leaf.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.errors import CorruptObject
from vfs.ids import Number, ObjectId
from vfs.model.node import Leaf, decode_node
from vfs.store.layout import (
    NumberRow,
    is_condemned,
    key_number,
    number_key,
    pack_number_row,
    unpack_number_row,
)

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

RESERVED: Final = 1024
"""Numbers below this are never an entry's: 1 is the root of a mount."""

_BITS: Final = 62
_DIGEST_BYTES: Final = 16


class Numbering:
    """The numbering of one store. Thread-safe."""

    def __init__(self, env: Environment, secret: bytes) -> None:
        self._env = env
        self._secret = secret
        self._collided: dict[bytes, Number] = {}
        self.refresh()

    def refresh(self) -> None:
        """Learn of the collisions there are; needed only before entries stored since are shown."""
        with self._env.read() as txn:
            table = self._env.tables["collisions"]
            if self._collided or txn.stat(table)["entries"]:
                self._collided = {
                    bytes(key): Number(key_number(value)) for key, value in txn.cursor(table)
                }

    def number(self, identity: bytes) -> Number:
        """Return the inode number of an entry (see `vfs.model.node.identity`)."""
        digest = self.digest(identity)
        if self._collided and digest in self._collided:
            return self._collided[digest]
        return _own_number(digest)

    def row_of(self, identity: bytes) -> tuple[Number, int]:
        """Return the inode number of an entry, and the check that its row has to hold."""
        digest = self.digest(identity)
        number = self._collided.get(digest) if self._collided else None
        check = int.from_bytes(digest[8:12], "little")
        return _own_number(digest) if number is None else number, check

    def digest(self, identity: bytes) -> bytes:
        """Return what an entry's number is made of: its key in the table `collisions`."""
        return blake3(identity, key=self._secret).digest(_DIGEST_BYTES)

    def candidates(self, identity: bytes) -> Iterator[Number]:
        """Yield the numbers of which an entry gets the first that is free, without an end."""
        salted = self.digest(identity)
        while True:
            number = _own_number(salted)
            if number >= RESERVED:
                yield number
            salted = blake3(salted, key=self._secret).digest(_DIGEST_BYTES)

    def locate(self, number: Number) -> tuple[ObjectId, int] | None:
        """Return the leaf and the index in it of an entry with *number*; None for a wrong one."""
        with self._env.read() as txn:
            value = txn.get(number_key(number), db=self._env.tables["numbers"])
            if value is None:
                return None
            row = unpack_number_row(value)
            leaf = txn.get(number_key(row.leaf), db=self._env.tables["leaves"])
            if leaf is None or len(leaf) != 32:
                raise CorruptObject("the table of tree leaves is damaged")
            return ObjectId(bytes(leaf)), row.at

    def leaf_of(self, number: Number) -> int | None:
        """Return the number of the leaf that *number* was given out with; None for a wrong one."""
        with self._env.read() as txn:
            value = txn.get(number_key(number), db=self._env.tables["numbers"])
            return None if value is None else unpack_number_row(value).leaf

    def leaves_of(self, leaf_id: ObjectId, leaf: Leaf) -> tuple[int | None, set[int]]:
        """Return the number of a leaf, and the other leaves that its entries were given out with.

        The number is None where no entry has its inode number from this leaf.
        """
        tables = self._env.tables
        owners = set()
        own = None
        with self._env.read() as txn:
            for index in range(len(leaf)):
                if stat.S_ISDIR(leaf.mode(index)):
                    continue
                number = self.number(leaf.identity(index))
                value = txn.get(number_key(number), db=tables["numbers"])
                if value is not None:
                    owners.add(unpack_number_row(value).leaf)
            for owner in owners:
                if bytes(txn.get(number_key(owner), db=tables["leaves"]) or b"") == leaf_id:
                    own = owner
        return own, owners - {own}

    def count(self) -> int:
        """Return how many numbers are given out."""
        with self._env.read() as txn:
            entries: int = txn.stat(self._env.tables["numbers"])["entries"]
            return entries

    def register(
        self,
        txn: Txn,
        leaf_id: ObjectId,
        data: bytes,
        *,
        distrust: bool = False,
    ) -> None:
        """Enter the files of a new leaf, as part of *txn*.

        With *distrust* a row that leads to a leaf which is about to be removed does not count.
        """
        leaf = decode_node(data)
        assert isinstance(leaf, Leaf)
        tables = self._env.tables
        leaf_number: int | None = None
        for index in range(len(leaf)):
            if stat.S_ISDIR(leaf.mode(index)):
                continue  # a directory's node is its position (vfs.fs.nodes)
            digest = self.digest(leaf.identity(index))
            number = _own_number(digest)
            check = int.from_bytes(digest[8:12], "little")
            found = txn.get(number_key(number), db=tables["numbers"])
            if (found is not None and unpack_number_row(found).check != check) or (
                number < RESERVED
            ):
                other = txn.get(digest, db=tables["collisions"])
                number = self._free_number(txn, digest) if other is None else _number(other)
                found = txn.get(number_key(number), db=tables["numbers"])
            if found is not None and not (
                distrust and self.is_leaf_gone(txn, unpack_number_row(found).leaf)
            ):
                continue
            if leaf_number is None:
                leaf_number = next_number(txn, tables["leaves"])
                txn.put(number_key(leaf_number), leaf_id, db=tables["leaves"], append=True)
            row = pack_number_row(NumberRow(check, leaf_number, index))
            txn.put(number_key(number), row, db=tables["numbers"])

    def is_leaf_gone(self, txn: Txn, number: int) -> bool:
        """Say whether a leaf is gone, or about to be removed."""
        oid = txn.get(number_key(number), db=self._env.tables["leaves"])
        row = txn.get(oid, db=self._env.tables["objects"]) if oid else None
        return row is None or is_condemned(row)

    def _free_number(self, txn: Txn, digest: bytes) -> Number:
        salted = digest
        while True:
            salted = blake3(salted, key=self._secret).digest(_DIGEST_BYTES)
            number = _own_number(salted)
            taken = txn.get(number_key(number), db=self._env.tables["numbers"])
            if number >= RESERVED and taken is None:
                break
        txn.put(digest, number_key(number), db=self._env.tables["collisions"])
        return number


def _number(value: memoryview) -> Number:
    return Number(key_number(value))


def _own_number(digest: bytes) -> Number:
    return Number(int.from_bytes(digest[:8], "little") >> (64 - _BITS))


def next_number(txn: Txn, table: object) -> int:
    """Return the number after the last key of a numbered table, 1 for an empty one."""
    with txn.cursor(table) as cursor:  # type: ignore[arg-type]
        return key_number(cursor.key()) + 1 if cursor.last() else 1
