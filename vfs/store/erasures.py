"""Erased contents: their tombstones, and the one erase that may be under way.

An erase goes through these steps, each of them transactions of its own:

1. `begin` writes the line "erase.begin" of the audit record, and to `meta` that it is not ended.
2. `mark` takes the objects out of the index and puts tombstones, which keep where the bytes lie.
   From here on they can't be read, and nobody stores anything that refers to them.
3. `vfs.store.rewriting` overwrites the bytes; the tombstones forget where they were.
4. `end` writes the line "erase.end".

Killed anywhere, it is finished by going through them again. Whoever stores objects notes the
number of marks before (`generation_in`), and refers to what it stored only if it is the same then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from vfs.clock import iso
from vfs.errors import Conflict, CorruptObject, Erased, ErasedMeanwhile
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.auditline import AuditLine
from vfs.store.layout import Location, key_number, number_key, unpack_location
from vfs.store.numbers import next_number

if TYPE_CHECKING:
    from vfs.model.canonical import JSON
    from vfs.store.audit import AuditLog
    from vfs.store.environment import Environment, Table, Txn

BEGIN: Final = "erase.begin"
END: Final = "erase.end"
LEARN: Final = "erase.learn"  # what came from a remote lacks what was erased there
ALLOW: Final = "erase.allow"  # what was erased was stored again

MARKED_AT_ONCE: Final = 2_000
"""Rows that one transaction moves; each may dirty two pages, which LMDB keeps in memory."""

GENERATION_KEY: Final = b"erasures"
UNFINISHED_KEY: Final = b"erasing"
_KEY_BYTES: Final = 8

Tables = Mapping[str, "Table"]


class Erasure(NamedTuple):
    """Why the bytes of an object are gone."""

    number: int  # of the line of the audit record
    time_ns: int
    who: str
    reason: str

    def __str__(self) -> str:
        return f"erased on {iso(self.time_ns)[:10]}: {self.reason}"


class Moment(NamedTuple):
    """All that can come to refer to an object: as long as it is equal, nothing has."""

    slot: int  # the last one
    overlays: bytes  # a hash of their headers


def moment_in(txn: Txn, tables: Tables) -> Moment:
    """Return what *txn* sees."""
    hasher = blake3()
    if "overlays" in tables:
        with txn.cursor(tables["overlays"]) as cursor:
            for key, value in cursor:
                hasher.update(bytes(key))
                hasher.update(bytes(value))
    return Moment(next_number(txn, tables["slots"]) - 1, hasher.digest())


def generation_in(txn: Txn, tables: Tables) -> int:
    """Return how many transactions have put tombstones."""
    value = txn.get(GENERATION_KEY, db=tables["meta"])
    return 0 if value is None else key_number(value)


def require_generation(txn: Txn, tables: Tables, generation: int) -> None:
    """Raise ErasedMeanwhile when tombstones were put since there were *generation* of them."""
    if generation_in(txn, tables) != generation:
        raise ErasedMeanwhile(
            "contents were erased from the store meanwhile", hint="do the same again"
        )


def require_finished(txn: Txn, tables: Tables) -> None:
    """Raise Conflict while an erase is not finished."""
    if txn.get(UNFINISHED_KEY, db=tables["meta"]) is not None:
        raise Conflict("an erase is not finished", hint="finish it with: vfs erase --resume")


def erasure_in(txn: Txn, tables: Tables, oid: ObjectId) -> Erasure | None:
    """Return why an object is gone; None for one that was not erased."""
    table = tables.get("erased")
    value = None if table is None else txn.get(oid, db=table)
    if value is None:
        return None
    number = tombstone_number(value)
    row = txn.get(number_key(number), db=tables["audit"])
    if row is None:
        raise CorruptObject(f"the audit record has lost line {number}, of what was erased")
    line = AuditLine.decode(bytes(row))
    return Erasure(number, line.time_ns, line.who, str(line.facts.get("reason", "")))


def absent(txn: Txn, tables: Tables, oid: ObjectId) -> CorruptObject:
    """Return the error for an object that the index has not: erased, or missing."""
    erasure = erasure_in(txn, tables, oid)
    if erasure is None:
        return CorruptObject(f"the object {oid.hex()} is missing")
    return Erased(f"the content was {erasure}")


class Erasures:
    """What was erased from one store. Thread-safe."""

    def __init__(self, env: Environment, audit: AuditLog) -> None:
        self._env = env
        self._t = env.tables
        self._audit = audit

    def reason(self, oid: ObjectId) -> Erasure | None:
        """Return why an object is gone; None for one that was not erased."""
        with self._env.read() as txn:
            return erasure_in(txn, self._t, oid)

    def moment(self) -> Moment:
        """Return what may refer to objects now."""
        with self._env.read() as txn:
            return moment_in(txn, self._t)

    def unfinished(self) -> tuple[int, AuditLine] | None:
        """Return the line with which an erase began that has not ended, and its number."""
        with self._env.read() as txn:
            value = txn.get(UNFINISHED_KEY, db=self._t["meta"])
            number = 0 if value is None else key_number(value)
        line = self._audit.line(number) if number else None
        return None if line is None else (number, line)

    def begin(self, facts: Mapping[str, JSON], *, time_ns: int, who: str) -> int:
        """Begin an erase; return the number of its line. Raises Conflict while one is under way."""

        def change(txn: Txn) -> int:
            meta = self._t["meta"]
            require_finished(txn, self._t)
            number = self._audit.append_in(txn, BEGIN, facts, time_ns=time_ns, who=who)
            txn.put(UNFINISHED_KEY, number_key(number), db=meta)
            return number

        return self._env.write(change)

    def mark(self, number: int, ids: Sequence[ObjectId], moment: Moment) -> None:
        """Put tombstones for *ids*, by the line *number*; those that have one keep it.

        Raises Conflict as soon as anything may refer to them that did not at *moment*.
        """
        for at in range(0, len(ids), MARKED_AT_ONCE):
            some = sorted(ids[at : at + MARKED_AT_ONCE])
            self._env.write(lambda txn, some=some: self._mark(txn, number, some, moment))  # type: ignore[misc]

    def _mark(self, txn: Txn, number: int, ids: Sequence[ObjectId], moment: Moment) -> None:
        if moment_in(txn, self._t) != moment:
            raise Conflict("a version or a branch came meanwhile", hint="try again")
        for oid in ids:
            row = txn.get(oid, db=self._t["objects"])
            value = number_key(number) + (b"" if row is None else bytes(row))
            if txn.put(oid, value, overwrite=False, db=self._t["erased"]):
                txn.delete(oid, db=self._t["objects"])
        generation = number_key(generation_in(txn, self._t) + 1)
        txn.put(GENERATION_KEY, generation, db=self._t["meta"])

    def learn(self, reason: str, ids: Sequence[ObjectId], *, time_ns: int, who: str) -> None:
        """Put tombstones for objects that were erased elsewhere; those that are here stay."""

        def change(txn: Txn, number: int, some: Sequence[ObjectId]) -> None:
            for oid in some:
                if txn.get(oid, db=self._t["objects"]) is None:
                    txn.put(oid, number_key(number), overwrite=False, db=self._t["erased"])
            generation = number_key(generation_in(txn, self._t) + 1)
            txn.put(GENERATION_KEY, generation, db=self._t["meta"])

        facts: dict[str, JSON] = {"objects": len(ids), "reason": reason}
        number = self._env.write(
            lambda txn: self._audit.append_in(txn, LEARN, facts, time_ns=time_ns, who=who)
        )
        for at in range(0, len(ids), MARKED_AT_ONCE):
            some = sorted(ids[at : at + MARKED_AT_ONCE])
            self._env.write(lambda txn, some=some: change(txn, number, some))  # type: ignore[misc]

    def pending(self, limit: int) -> dict[ObjectId, Location]:
        """Return at most *limit* erased objects whose bytes are still there, and where."""
        found: dict[ObjectId, Location] = {}
        with self._env.read() as txn:
            for key, value in self._rows(txn):
                if is_pending(value):
                    found[ObjectId(bytes(key))] = unpack_location(value[_KEY_BYTES:])
                    if len(found) >= limit:
                        break
        return found

    def all(self) -> dict[int, list[ObjectId]]:
        """Return what was erased, by the line of the audit record that says why."""
        found: dict[int, list[ObjectId]] = {}
        with self._env.read() as txn:
            for key, value in self._rows(txn):
                found.setdefault(tombstone_number(value), []).append(ObjectId(bytes(key)))
        return found

    def _rows(self, txn: Txn) -> Iterator[tuple[memoryview, memoryview]]:
        if "erased" in self._t:
            with txn.cursor(self._t["erased"]) as cursor:
                yield from cursor

    def settle_in(self, txn: Txn, ids: Sequence[ObjectId]) -> None:
        """Note that the bytes of erased objects are overwritten, as part of *txn*."""
        for oid in ids:
            value = txn.get(oid, db=self._t["erased"])
            if value is not None and is_pending(value):
                txn.put(oid, bytes(value[:_KEY_BYTES]), db=self._t["erased"])

    def end(self, number: int, facts: Mapping[str, JSON], *, time_ns: int, who: str) -> None:
        """Note that the erase that the line *number* began is done, unless that is noted."""

        def change(txn: Txn) -> None:
            value = txn.get(UNFINISHED_KEY, db=self._t["meta"])
            if value is not None and key_number(value) == number:
                self._audit.append_in(txn, END, facts, time_ns=time_ns, who=who)
                txn.delete(UNFINISHED_KEY, db=self._t["meta"])

        self._env.write(change)


def tombstone_number(value: memoryview) -> int:
    """Return the line of the audit record that a row of `erased` names."""
    return key_number(value[:_KEY_BYTES])


def is_pending(value: memoryview) -> bool:
    """Say whether the bytes of an erased object are still there, by its row in `erased`."""
    return len(value) > _KEY_BYTES


def tombstone_problem(key: bytes, value: memoryview) -> str:
    """Return what is wrong with a row of `erased` by itself, "" for nothing."""
    if len(key) != ID_BYTES or len(value) < _KEY_BYTES:
        return "a row of a wrong length"
    if is_pending(value):
        try:
            unpack_location(value[_KEY_BYTES:])
        except CorruptObject:
            return f"it is not known where the bytes of {key.hex()} lie"
    return ""
