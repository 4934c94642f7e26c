"""References, their log, and the slots of the roots that the hub shows.

Each update of a reference, and each commit, takes a slot: a number that is never used again. It
is what a root's directories are numbered by, so a branch that moves gets new directories while
the old ones stay what they were for whoever is in them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from vfs.errors import AlreadyExists, Conflict, CorruptObject, NotFound, StoreError
from vfs.ids import ObjectId
from vfs.store.audit import AuditLog
from vfs.store.births import NOTHING, Brought, claim
from vfs.store.erasures import require_generation
from vfs.store.layout import SLOT_MAX, Slot, key_number, number_key, pack_slot, ref_key, unpack_slot
from vfs.store.numbers import next_number
from vfs.store.overlayrows import find_header
from vfs.store.refrows import (
    Ref,
    RefKind,
    RefUpdate,
    pack_ref,
    pack_update,
    unpack_ref,
    unpack_update,
)

if TYPE_CHECKING:
    from vfs.model.canonical import JSON
    from vfs.model.overlay import OverlayHeader
    from vfs.store.environment import Environment, Txn

WHY_MAX: Final = 1000  # characters of it that go into the audit record, which is kept for ever
_TIME: Final = struct.Struct("<q")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefChange:
    """Where a reference is to point, if it now points to `expected` (None: is not there yet)."""

    data_set: str
    name: str
    kind: RefKind
    new: ObjectId
    expected: ObjectId | None = None
    force: bool = False  # whatever it points to now
    overlay: int | None = None  # the branch's overlay, if its changes are what moves it
    brought: Brought = NOTHING  # of what `new` is the first commit
    generation: int | None = None  # of the ingest that stored what `new` leads to


class RefTable:
    """The references of a store. Each change is one transaction, given or its own.

    What changes is told to the audit record in the same transaction.
    """

    def __init__(self, env: Environment, audit: AuditLog) -> None:
        self._env = env
        self._t = env.tables
        self._audit = audit

    # data sets

    def add_data_set(self, name: str, time_ns: int, who: str = "") -> None:
        """Make a data set. Raises AlreadyExists."""

        def change(txn: Txn) -> None:
            value = _TIME.pack(time_ns)
            if not txn.put(name.encode(), value, overwrite=False, db=self._t["data_sets"]):
                raise AlreadyExists(f"there is a data set '{name}' already")
            facts = {"data_set": name}
            self._audit.append_in(txn, "data_set.make", facts, time_ns=time_ns, who=who)

        self._env.write(change)

    def data_sets(self) -> list[str]:
        """Return the names of the data sets, sorted."""
        with self._env.read() as txn, txn.cursor(self._t["data_sets"]) as cursor:
            return [_ascii(key) for key in cursor.iternext(keys=True, values=False)]

    def has_data_set(self, name: str) -> bool:
        """Say whether there is a data set of this name."""
        if not name:
            return False  # LMDB takes no empty key
        with self._env.read() as txn:
            return txn.get(name.encode(), db=self._t["data_sets"]) is not None

    # references

    def get(self, data_set: str, name: str) -> Ref | None:
        """Return a branch or tag, or None."""
        with self._env.read() as txn:
            value = txn.get(ref_key(data_set, name), db=self._t["refs"])
            return None if value is None else unpack_ref(data_set, name, value)

    def branch_in(self, txn: Txn, data_set: str, name: str) -> ObjectId | None:
        """Return a branch's commit as *txn* sees it; None where its data set has no branch yet.

        Raises NotFound.
        """
        value = txn.get(ref_key(data_set, name), db=self._t["refs"])
        if value is not None:
            ref = unpack_ref(data_set, name, value)
            if ref.kind == "branch":
                return ref.commit
        elif txn.get(data_set.encode(), db=self._t["data_sets"]) is not None and not any(
            ref.kind == "branch" for ref in self._scan(txn, ref_key(data_set, ""))
        ):
            return None
        raise NotFound(f"there is no branch '{data_set}@{name}'")

    def of(self, data_set: str) -> list[Ref]:
        """Return the branches and tags of a data set, sorted by name."""
        with self._env.read() as txn:
            return list(self._scan(txn, ref_key(data_set, "")))

    def all(self) -> list[Ref]:
        """Return all branches and tags, sorted by data set and name."""
        with self._env.read() as txn:
            return list(self._scan(txn, b""))

    def newest_slot(self) -> int:
        """Return the last slot that was given out: as long as it is the same, so is every name."""
        with self._env.read() as txn:
            return self.newest_slot_in(txn)

    def newest_slot_in(self, txn: Txn) -> int:
        """Return the last slot as *txn* sees it."""
        return next_number(txn, self._t["slots"]) - 1

    def _scan(self, txn: Txn, prefix: bytes) -> Iterator[Ref]:
        with txn.cursor(self._t["refs"]) as cursor:
            found = cursor.set_range(prefix) if prefix else cursor.first()
            while found:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    return
                data_set, _, name = _ascii(key).partition("\0")
                yield unpack_ref(data_set, name, cursor.value())
                found = cursor.next()

    def move(self, changes: Sequence[RefChange], *, time_ns: int, who: str, why: str) -> list[Ref]:
        """Make all *changes* or, when one can't be made, none. Commits get their slots as well.

        Raises Conflict when a reference does not point to what is expected or is a branch with
        changes that are not committed, AlreadyExists when it is of the other kind, NotFound when
        its data set is not there, ErasedMeanwhile.
        """
        return self._env.write(
            lambda txn: self.move_in(txn, changes, time_ns=time_ns, who=who, why=why)
        )

    def move_in(
        self, txn: Txn, changes: Sequence[RefChange], *, time_ns: int, who: str, why: str
    ) -> list[Ref]:
        """Make all *changes* as part of *txn* (see `move`)."""
        return [self._move(txn, change, time_ns, who, why) for change in changes]

    def _move(self, txn: Txn, change: RefChange, time_ns: int, who: str, why: str) -> Ref:
        data_set, name, kind = change.data_set, change.name, change.kind
        if change.generation is not None:
            require_generation(txn, self._t, change.generation)
        if txn.get(data_set.encode(), db=self._t["data_sets"]) is None:
            raise NotFound(f"there is no data set '{data_set}'")
        key = ref_key(data_set, name)
        value = txn.get(key, db=self._t["refs"])
        old = None if value is None else unpack_ref(data_set, name, value)
        if old is not None and old.kind != kind:
            raise AlreadyExists(f"'{data_set}@{name}' is a {old.kind} already")
        if not change.force and (old.commit if old else None) != change.expected:
            raise Conflict(f"'{data_set}@{name}' moved meanwhile", hint="try again")
        if kind == "branch":
            self._require_committed(txn, data_set, name, change.overlay)
        self.add_commit_in(txn, data_set, change.new, change.brought)
        slot = self._take_slot(txn, Slot(change.new, data_set, name))
        before = old.commit if old else None
        update = RefUpdate(slot, kind, before, change.new, time_ns, who, why)
        self._log(txn, data_set, name, update, forced=change.force)
        ref = Ref(data_set, name, kind, change.new, slot, time_ns)
        txn.put(key, pack_ref(ref), db=self._t["refs"])
        return ref

    def add_commit_in(
        self, txn: Txn, data_set: str, commit: ObjectId, brought: Brought = NOTHING
    ) -> None:
        """Give a commit a slot of its own, as part of *txn*, unless it has one.

        From then on it can be named by its id. All that it leads to must be durable. *brought*:
        what it has that its first parent has not (`vfs.repo.births`).
        """
        if txn.get(commit, db=self._t["commits"]) is None:
            own_slot = self._take_slot(txn, Slot(commit, data_set, commit.hex()))
            txn.put(commit, number_key(own_slot), db=self._t["commits"])
            claim(txn, self._t, commit, brought)

    def require_committed(self, data_set: str, branch: str) -> None:
        """Raise Conflict when a branch has changes that are not committed."""
        with self._env.read() as txn:
            self._require_committed(txn, data_set, branch)

    def _require_committed(
        self, txn: Txn, data_set: str, branch: str, overlay: int | None = None
    ) -> None:
        header = find_header(txn, self._t, data_set, branch)
        if header is not None and header.dirty and header.id != overlay:
            raise Conflict(
                f"'{data_set}@{branch}' has changes that are not committed",
                hint=f"vfs commit {data_set}@{branch}, or vfs discard {data_set}@{branch}",
            )

    def delete(
        self,
        data_set: str,
        name: str,
        kind: RefKind,
        *,
        time_ns: int,
        who: str,
        why: str,
        overlay: OverlayHeader | None = None,
    ) -> None:
        """Delete a reference; its log stays. Raises NotFound.

        Raises Conflict for a branch with changes that are not committed, unless they are those of
        *overlay*, which go with it.
        """
        self._env.write(
            lambda txn: self._delete(txn, data_set, name, kind, time_ns, who, why, overlay)
        )

    def _delete(
        self,
        txn: Txn,
        data_set: str,
        name: str,
        kind: RefKind,
        time_ns: int,
        who: str,
        why: str,
        overlay: OverlayHeader | None,
    ) -> Ref:
        key = ref_key(data_set, name)
        value = txn.get(key, db=self._t["refs"])
        old = None if value is None else unpack_ref(data_set, name, value)
        if old is None or old.kind != kind:
            raise NotFound(f"there is no {kind} '{name}' in '{data_set}'")
        if kind == "branch" and "overlays" in self._t:
            if overlay is None or overlay != find_header(txn, self._t, data_set, name):
                self._require_committed(txn, data_set, name)
            txn.delete(key, db=self._t["overlays"])
        slot = self._take_slot(txn, Slot(old.commit, data_set, name))
        update = RefUpdate(slot, kind, old.commit, None, time_ns, who, why)
        self._log(txn, data_set, name, update)
        txn.delete(key, db=self._t["refs"])
        return old

    def rename_branch(
        self,
        data_set: str,
        old: str,
        new: str,
        *,
        time_ns: int,
        who: str,
        overlay: OverlayHeader | None = None,
    ) -> Ref:
        """Give a branch another name; the logs of both names say so. *overlay* as in `delete`.

        Raises NotFound, Conflict, and AlreadyExists where something has the new name.
        """

        def change(txn: Txn) -> Ref:
            if txn.get(ref_key(data_set, new), db=self._t["refs"]) is not None:
                raise AlreadyExists(f"there is a branch or tag '{data_set}@{new}' already")
            why = f"branch renamed to {new}"
            was = self._delete(txn, data_set, old, "branch", time_ns, who, why, overlay)
            begun = RefChange(data_set=data_set, name=new, kind="branch", new=was.commit)
            return self._move(txn, begun, time_ns, who, f"branch renamed from {old}")

        return self._env.write(change)

    def log(self, data_set: str, name: str) -> list[RefUpdate]:
        """Return the updates of a reference, the last one first."""
        prefix = ref_key(data_set, name) + b"\0"
        updates = []
        with self._env.read() as txn, txn.cursor(self._t["ref_log"]) as cursor:
            found = cursor.set_range(prefix)
            while found and bytes(cursor.key()).startswith(prefix):
                updates.append(unpack_update(bytes(cursor.key()), bytes(cursor.value())))
                found = cursor.next()
        return updates[::-1]

    def _log(
        self, txn: Txn, data_set: str, name: str, update: RefUpdate, *, forced: bool = False
    ) -> None:
        """Write a line of a reference's log, and of the audit record."""
        key = ref_key(data_set, name) + b"\0" + number_key(update.slot)
        txn.put(key, pack_update(update), db=self._t["ref_log"])
        did = "make" if update.old is None else "delete" if update.new is None else "move"
        facts: dict[str, JSON] = {
            "data_set": data_set,
            "kind": update.kind,
            "name": name,
            "new": None if update.new is None else update.new.hex(),
            "old": None if update.old is None else update.old.hex(),
            "why": update.why[:WHY_MAX],
        }
        if forced:
            facts["forced"] = True
        time_ns, who = update.time_ns, update.who
        self._audit.append_in(txn, f"ref.{did}", facts, time_ns=time_ns, who=who)

    # slots

    def slot(self, number: int) -> Slot | None:
        """Return what a slot stands for, or None."""
        with self._env.read() as txn:
            value = txn.get(number_key(number), db=self._t["slots"])
            return None if value is None else unpack_slot(value)

    def add_slot(self, slot: Slot) -> int:
        """Have the hub show a root that no reference names; return its slot."""
        return self._env.write(lambda txn: self._take_slot(txn, slot))

    def slots_from(self, number: int, limit: int = 1000) -> list[tuple[int, Slot]]:
        """Return slots with their numbers, from *number* on; at most *limit*."""
        with self._env.read() as txn, txn.cursor(self._t["slots"]) as cursor:
            more = cursor.set_range(number_key(number))
            rows = islice(cursor.iternext(), limit) if more else ()
            return [(key_number(key), unpack_slot(value)) for key, value in rows]

    def commit_slot(self, commit: ObjectId) -> int | None:
        """Return the slot of a commit, or None when there is no such commit."""
        with self._env.read() as txn:
            value = txn.get(commit, db=self._t["commits"])
            return None if value is None else int.from_bytes(value, "big")

    def commits_with_prefix(self, prefix: bytes, *, odd_digit: int | None) -> list[ObjectId]:
        """Return at most three commits whose ids start so; *odd_digit* is a half byte more."""
        found: list[ObjectId] = []
        start = prefix if odd_digit is None else prefix + bytes([odd_digit << 4])
        with self._env.read() as txn, txn.cursor(self._t["commits"]) as cursor:
            more = cursor.set_range(start)
            while more and len(found) < 3:
                oid = bytes(cursor.key())
                if not oid.startswith(prefix):
                    break
                if odd_digit is not None and oid[len(prefix)] >> 4 != odd_digit:
                    break
                found.append(ObjectId(oid))
                more = cursor.next()
        return found

    def _take_slot(self, txn: Txn, slot: Slot) -> int:
        number = next_number(txn, self._t["slots"])
        if number >= SLOT_MAX:
            raise StoreError(f"the store has had {SLOT_MAX} updates of references: no more fit")
        txn.put(number_key(number), pack_slot(slot), db=self._t["slots"], append=True)
        return number


def _ascii(raw: bytes | memoryview) -> str:
    try:
        return bytes(raw).decode("ascii")
    except UnicodeDecodeError:
        raise CorruptObject("the table of references is damaged") from None
