"""Data sets, references, their log, slots and commits: the roots of all that is reachable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.errors import CorruptObject, InvalidName
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.commit import Commit
from vfs.model.names import check_data_set_name, check_ref_name
from vfs.store.layout import Slot, key_number, unpack_slot
from vfs.store.refrows import Ref, RefUpdate, unpack_ref, unpack_update

if TYPE_CHECKING:
    from vfs.repo.fsck.findings import Findings
    from vfs.repo.fsck.run import Run

ID_DIGITS = 12  # of a commit that no reference names


class References:
    """The rows about references, as far as they can be read."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._data_sets: set[str] = set()
        self._slots: dict[int, Slot] = {}
        self._slots_used: set[int] = set()
        self._slots_damaged: set[int] = set()
        self._last: dict[tuple[str, str], RefUpdate] = {}
        self._told: set[str] = set()  # references of which a damage was told
        self.refs: list[Ref] = []

    def check(self) -> None:
        """Check all rows; afterwards `refs` has those that name a version."""
        self._read_data_sets()
        self._read_slots()
        self._check_log()
        self._check_refs()
        self._check_commit_rows()
        self._check_slots()

    def _read_data_sets(self) -> None:
        for key, value in self._run.store.rows("data_sets"):
            name = key.decode("ascii", "backslashreplace")
            problem = _name_problem(name)
            if problem or len(value) != 8:
                self._run.found("table", f"the data set {name!r} has a damaged row: {problem}")
            self._data_sets.add(name)

    def _read_slots(self) -> None:
        for key, value in self._run.store.rows("slots"):
            try:
                if len(key) != 8:
                    raise CorruptObject("a key of a wrong length")
                self._slots[key_number(key)] = unpack_slot(value)
            except CorruptObject as error:
                number = int.from_bytes(key, "big")
                self._slots_damaged.add(number)
                self._run.found("reference", f"the slot {number} is damaged: {error}")

    def _check_log(self) -> None:
        for key, value in self._run.store.rows("ref_log"):
            label = key[:-9].replace(b"\0", b"@", 1).decode("ascii", "backslashreplace")
            try:
                data_set, name = _split_key(key[:-9], self._data_sets)
                if key[-9:-8] != b"\0":
                    raise CorruptObject("its key is none")
                update = unpack_update(key, bytes(value))
            except CorruptObject as error:
                number = int.from_bytes(key[-8:], "big")
                self._slots_used.add(number)
                message = f"the line {number} of the log of this reference is damaged: {error}"
                self._run.found("reference", message, label)
                self._told.add(label)
                continue
            message = self._update_problem(data_set, name, update)
            if message:
                message = f"the line {update.slot} of its log is wrong: {message}"
                self._run.found("reference", message, label)
                self._told.add(label)
            self._slots_used.add(update.slot)
            self._last[data_set, name] = update

    def _update_problem(self, data_set: str, name: str, update: RefUpdate) -> str:
        before = self._last.get((data_set, name))
        # Before the first there may have been others: `vfs gc` removes old ones.
        is_told = f"{data_set}@{name}" in self._told
        if before is not None and before.new != update.old and not is_told:
            return "it does not begin where the line before ends"
        commit = update.new or update.old
        expected = None if commit is None else Slot(commit, data_set, name)
        slot = self._slots.get(update.slot)
        if slot != expected and update.slot not in self._slots_damaged:
            return f"its slot {update.slot} is " + ("missing" if slot is None else "another's")
        return ""

    def _check_refs(self) -> None:
        run = self._run
        for key, value in run.store.rows("refs"):
            label = key.replace(b"\0", b"@", 1).decode("ascii", "backslashreplace")
            try:
                data_set, name = _split_key(key, self._data_sets)
                ref = unpack_ref(data_set, name, value)
            except CorruptObject as error:
                run.found("reference", f"the reference is damaged: {error}", label)
                self._told.add(label)
                continue
            last = self._last.pop((data_set, name), None)
            message = ""
            if last is None or last.new is None:
                message = "its log knows nothing of it"
            elif (last.new, last.slot, last.kind, last.time_ns) != (
                ref.commit,
                ref.slot,
                ref.kind,
                ref.time_ns,
            ):
                message = "it is not what its log says"
            if message:
                if label not in self._told:
                    run.found("reference", f"the reference is damaged: {message}", label)
                    self._told.add(label)
                if run.store.row("objects", ref.commit) is None:
                    continue
            self.refs.append(ref)
        for (data_set, name), update in self._last.items():
            if update.new is not None and f"{data_set}@{name}" not in self._told:
                run.found("reference", "the reference is missing", f"{data_set}@{name}")
        run.count("references", len(self.refs))

    def _check_commit_rows(self) -> None:
        run = self._run
        known = set()
        for key, value in run.store.rows("commits"):
            oid = ObjectId(key)
            number = key_number(value) if len(value) == 8 else 0
            slot = self._slots.get(number)
            self._slots_used.add(number)
            if number in self._slots_damaged:
                pass
            elif len(key) != ID_BYTES or slot is None or slot[0::2] != (oid, oid.hex()):
                run.found("reference", f"the slot of the commit {key.hex()} is not its own")
            known.add(oid)
            is_there = run.store.row("objects", oid) is not None or run.is_away(oid)
            if oid not in run.bad and not is_there:
                run.add_bad(oid, f"the commit {oid.hex()} is missing", "commit")
        for ref in self.refs:
            if ref.commit not in known:
                message = f"its commit {ref.commit.hex()} has no slot"
                run.found("reference", message, f"{ref.data_set}@{ref.name}")
                known.add(ref.commit)

    def _check_slots(self) -> None:
        for number, slot in self._slots.items():
            label = f"{slot.data_set}@{slot.name}"
            is_known = number in self._slots_used or slot.is_difference
            if not is_known and label not in self._told:
                self._run.found("reference", f"the slot {number} is in no log", label)

    def commits(self) -> Iterator[tuple[ObjectId, str]]:
        """Yield the commits that the store knows by themselves, and their data sets."""
        for slot in self._slots.values():
            if slot.name == slot.commit.hex() or slot.is_difference:
                yield slot.commit, slot.data_set


class Versions:
    """All commits that references, and other commits, lead to, with what to call them."""

    def __init__(self, run: Findings) -> None:
        self._run = run
        self.labels: dict[ObjectId, list[str]] = {}
        self.roots: dict[ObjectId, Commit] = {}
        self.pruned: set[ObjectId] = set()
        """Those whose content was removed by a rule of retention: there is the commit alone."""

    def name(self, oid: ObjectId, label: str) -> None:
        """Say what a commit is called."""
        self.labels.setdefault(oid, []).append(label)

    def add(self, oid: ObjectId) -> None:
        """Add a commit that has a name, and its ancestors."""
        label = self.labels[oid][0]
        data_set = label.partition("@")[0]
        waiting: deque[tuple[ObjectId, str]] = deque([(oid, "")])
        while waiting:
            this, child = waiting.popleft()
            if this in self.roots or this in self.pruned:
                continue
            commit = self._load(this, child)
            if this not in self.labels:
                self.labels[this] = [f"{data_set}@{this.hex()[:ID_DIGITS]}"]
            if commit is None:
                continue
            if self._run.is_pruned(this):
                self.pruned.add(this)
            else:
                self.roots[this] = commit
            waiting.extend(
                (parent, this.hex()) for parent in commit.parents if parent not in self.roots
            )

    def add_unnamed(self, oid: ObjectId, data_set: str) -> None:
        """Add a commit that may have no name by now."""
        if oid not in self.labels:
            self.name(oid, f"{data_set}@{oid.hex()[:ID_DIGITS]}")
            self.add(oid)

    def _load(self, oid: ObjectId, child: str) -> Commit | None:
        data = self._run.read(oid, "commit")
        if data is None:
            damage = self._run.bad[oid]
            if damage.kind != "commit":
                damage.kind = "commit"
                damage.message += f" (a parent of {child})" if child else ""
            return None
        try:
            return Commit.decode(data)
        except CorruptObject as error:
            self._run.add_bad(oid, f"the commit {oid.hex()} is none: {error}", "commit")
            return None


def _split_key(key: bytes, data_sets: set[str]) -> tuple[str, str]:
    """Return the data set and the name of a reference. Raises CorruptObject."""
    data_set, separator, name = key.decode("ascii", "backslashreplace").partition("\0")
    try:
        check_ref_name(name)
    except InvalidName as error:
        raise CorruptObject(str(error)) from None
    if not separator or data_set not in data_sets:
        raise CorruptObject("its data set is missing")
    return data_set, name


def _name_problem(name: str) -> str:
    try:
        check_data_set_name(name)
    except InvalidName as error:
        return str(error)
    return ""
