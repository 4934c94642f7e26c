"""Data sets, references, slots and commits' rows: what their neighbours say of them.

Each update of a reference is in three places: the reference, the last line of its log, and a slot.
What one of them has lost the others tell. No reference is made that no log knows, and no line of a
log is ever made: nobody else knows who moved it, and why.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, InvalidName
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.names import check_data_set_name, check_ref_name
from vfs.store.layout import Slot, key_number, number_key, pack_slot, ref_key, unpack_slot
from vfs.store.refrows import Ref, RefUpdate, pack_ref, unpack_ref, unpack_update
from vfs.store.store import RowChange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfs.store.held import HeldStore
    from vfs.store.store import Store

_TIME: Final = struct.Struct("<q")
_ID_DIGITS: Final = 12

_Name = tuple[str, str]
"""A data set, and a branch or tag of it."""


def repair_references(store: Store, *, dry_run: bool) -> list[str]:
    """Make rows about references again from those that are sound; say which."""
    with store.held() as held:
        found = _References(held)
        found.repair()
        if not dry_run:
            store.mend(found.changes)
    return found.done


class _References:
    """What has to change in one snapshot."""

    def __init__(self, held: HeldStore) -> None:
        self._held = held
        self.changes: list[RowChange] = []
        self.done: list[str] = []
        self._slots: dict[int, Slot | None] = {}  # None: the row is damaged
        self._log: dict[_Name, list[RefUpdate]] = {}
        self._damaged_logs: set[_Name] = set()

    def repair(self) -> None:
        """Find all changes; what is found first the next ones rest on."""
        self._read_log()
        self._read_slots()
        self._mend_data_sets()
        self._mend_slots()
        self._mend_references()
        self._mend_commits()

    def _change(self, table: str, key: bytes, after: bytes, what: str) -> None:
        row = self._held.row(table, key)
        self.changes.append(RowChange(table, key, None if row is None else bytes(row), after))
        self.done.append(what)

    # reading

    def _read_log(self) -> None:
        for key, value in self._held.rows("ref_log"):
            if key[-9:-8] != b"\0" or (name := _split(key[:-9])) is None:
                continue
            try:
                update = unpack_update(key, bytes(value))
            except CorruptObject:
                self._damaged_logs.add(name)
            else:
                self._log.setdefault(name, []).append(update)

    def _read_slots(self) -> None:
        for key, value in self._held.rows("slots"):
            if len(key) == 8:
                try:
                    self._slots[key_number(key)] = unpack_slot(value)
                except CorruptObject:
                    self._slots[key_number(key)] = None

    def _lines(self) -> Iterator[tuple[_Name, RefUpdate]]:
        for name, updates in self._log.items():
            for update in updates:
                yield name, update

    # mending

    def _mend_data_sets(self) -> None:
        """Make the rows of data sets that a log knows; when they were made, the log says first."""
        began: dict[str, int] = {}
        for (data_set, _), update in self._lines():
            began[data_set] = min(update.time_ns, began.get(data_set, update.time_ns))
        for data_set, time_ns in began.items():
            row = self._held.row("data_sets", data_set.encode())
            if row is None or len(row) != _TIME.size:
                what = f"{data_set}: the data set is there again, made when its first version was"
                self._change("data_sets", data_set.encode(), _TIME.pack(time_ns), what)

    def _mend_slots(self) -> None:
        """Make slots again that a line of a log, or a commit, is known by."""
        data_set_of: dict[ObjectId, tuple[int, str]] = {}
        used = Counter(update.slot for _, update in self._lines())
        for (data_set, name), updates in self._log.items():
            for index, update in enumerate(updates):
                commit = update.new or update.old
                if commit is None:
                    continue
                is_proved = used[update.slot] == 1 and self._is_proved(data_set, name, index)
                self._mend_slot(update.slot, Slot(commit, data_set, name), is_proved=is_proved)
                first = data_set_of.get(commit, (update.slot, data_set))
                data_set_of[commit] = min(first, (update.slot, data_set))
        own, end = self._own_slots(), self._next_slot()
        for key, value in self._held.rows("commits"):
            if len(key) != ID_BYTES or len(value) != 8 or (oid := ObjectId(key)) in own:
                continue
            number = key_number(value)
            if oid in data_set_of and 0 < number < end and not used[number]:
                slot = Slot(oid, data_set_of[oid][1], oid.hex())
                self._mend_slot(number, slot, is_proved=True)

    def _is_proved(self, data_set: str, name: str, index: int) -> bool:
        """Say whether a line of a log is what both its neighbours say that it is."""
        updates = self._log[data_set, name]
        update = updates[index]
        if update.old != (updates[index - 1].new if index else None):
            return False
        if index + 1 < len(updates):
            return update.new == updates[index + 1].old
        there = self._reference(data_set, name)
        return (there.commit if there else None) == update.new

    def _reference(self, data_set: str, name: str) -> Ref | None:
        """Return a reference, if its row can be read."""
        row = self._held.row("refs", ref_key(data_set, name))
        try:
            return None if row is None else unpack_ref(data_set, name, row)
        except CorruptObject:
            return None

    def _next_slot(self) -> int:
        """Return a slot that was never given out, as far as anything tells."""
        return max(self._slots, default=0) + 1

    def _own_slots(self) -> dict[ObjectId, int]:
        """Return the slots of commits themselves."""
        return {
            slot.commit: number
            for number, slot in sorted(self._slots.items(), reverse=True)
            if slot is not None and slot.name == slot.commit.hex()
        }

    def _mend_slot(self, number: int, slot: Slot, *, is_proved: bool = False) -> None:
        """Make a slot if it is missing or damaged; if *is_proved*, also in place of another one."""
        there = self._slots.get(number)
        if there is None or (is_proved and there != slot):
            self._slots[number] = slot
            what = f"{slot.data_set}@{slot.name[:40]}: its slot {number} is there again"
            self._change("slots", number_key(number), pack_slot(slot), what)

    def _mend_references(self) -> None:
        """Make references what the last lines of their logs say, where no later line was lost."""
        unknown = max((number for number, slot in self._slots.items() if slot is None), default=0)
        newest = {
            (slot.data_set, slot.name): number
            for number, slot in sorted(self._slots.items())
            if slot is not None
        }
        for name, updates in self._log.items():
            last = updates[-1]
            if name in self._damaged_logs or last.new is None or last.slot < unknown:
                continue
            data_set, ref_name = name
            slot = self._slots.get(last.slot)
            if newest.get(name) != last.slot or slot != Slot(last.new, data_set, ref_name):
                continue
            ref = Ref(data_set, ref_name, last.kind, last.new, last.slot, last.time_ns)
            key = ref_key(data_set, ref_name)
            row = self._held.row("refs", key)
            there = self._reference(data_set, ref_name)
            if there is not None and there.slot > last.slot and there.commit != last.new:
                continue  # of a line that was lost with its slot
            if row is None or bytes(row) != pack_ref(ref):
                short = last.new.hex()[:_ID_DIGITS]
                what = f"{data_set}@{ref_name}: the {last.kind} is {short} again, as its log says"
                self._change("refs", key, pack_ref(ref), what)

    def _mend_commits(self) -> None:
        """See to it that each commit that a reference names leads to a slot of its own."""
        own, number = self._own_slots(), self._next_slot()
        for (data_set, _), updates in self._log.items():
            commit = updates[-1].new
            if commit is not None and commit not in own:
                own[commit] = number
                self._mend_slot(number, Slot(commit, data_set, commit.hex()))
                number += 1
        for commit, number in own.items():
            row = self._held.row("commits", commit)
            is_there = row is not None or self._held.row("objects", commit) is not None
            if is_there and (row is None or bytes(row) != number_key(number)):
                what = f"the commit {commit.hex()} has its slot {number} again"
                self._change("commits", commit, number_key(number), what)


def _split(key: bytes) -> _Name | None:
    """Return the data set and the name in the key of a reference; None where it has none."""
    data_set, separator, name = key.decode("ascii", "replace").partition("\0")
    try:
        check_data_set_name(data_set)
        check_ref_name(name)
    except InvalidName:
        return None
    return (data_set, name) if separator else None
