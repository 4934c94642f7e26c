"""What all parts of one check share: the store, what is bad so far, and the line to the parent."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vfs.errors import VfsError
from vfs.ids import ObjectId
from vfs.repo.fsck.report import DAMAGES_MAX, Damage, DamageKind
from vfs.repo.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.store.held import HeldStore
    from vfs.store.scratch import Scratch

PROGRESS_S: Final = 0.2
RECORDER_BYTES: Final = 64
SEEN_IN_MEMORY: Final = 2_000_000
"""Ids that are remembered in memory, about 200 bytes each; more than that go to a map on disk."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong in one item of a node that is itself sound."""

    index: int  # of the item; -1: the node as a whole
    damage: Damage


class Line:
    """Messages to the parent: a JSON document a line."""

    def __init__(self) -> None:
        self._told = 0
        self._next = 0.0
        self.stage = ""

    def send(self, kind: str, value: Any) -> None:
        """Send one message."""
        sys.stdout.write(json.dumps([kind, value]) + "\n")
        sys.stdout.flush()

    def begin(self, stage: str) -> None:
        """Say what is looked at from now on: the parent names it if this process dies."""
        self.stage = stage
        self._next = 0.0
        self.send("stage", stage)

    def progress(self, done: int, total: int = 0, *, is_bytes: bool = False) -> None:
        """Say how far the stage is, now and then."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_S
            self.send("progress", [self.stage, done, total, is_bytes])

    def damage(self, damage: Damage) -> None:
        """Tell a damage; of very many only that there are more."""
        self._told += 1
        if self._told <= DAMAGES_MAX:
            self.send("damage", damage.record())
        else:
            self.send("untold", 1)


class Seen:
    """A map from ids to short bytes, in memory as far as it fits there."""

    def __init__(self, new_scratch: Callable[[], Scratch]) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._new_scratch = new_scratch
        self._scratch: Scratch | None = None

    def get(self, oid: bytes) -> bytes | None:
        """Return the value of an id, or None."""
        value = self._kept.get(oid)
        if value is None and self._scratch is not None:
            value = self._scratch.get(oid)
        return value

    def put(self, oid: bytes, value: bytes) -> None:
        """Set the value of an id."""
        if len(self._kept) < SEEN_IN_MEMORY:
            self._kept[oid] = value
            return
        if self._scratch is None:
            self._scratch = self._new_scratch()
        self._scratch.put(oid, value)


class Run:
    """One check. For one thread."""

    def __init__(
        self, store: HeldStore, line: Line, recorder: Any, skipped: set[bytes], temporary: Path
    ) -> None:
        """*skipped*: objects that ended a process which read them; *temporary*: a directory."""
        self.store = store
        self.repo = Repository(store)
        self.line = line
        self.recorder = recorder
        self.skipped = skipped
        self.temporary = temporary
        self.bad: dict[ObjectId, Damage] = {}
        """Objects that can't be read, or are not what whoever names them takes them for."""
        self.flaws: dict[ObjectId, list[Flaw]] = {}
        """What is wrong within tree nodes, blob nodes and commits that are sound, by their ids."""
        self.loose: dict[tuple[str, bytes], str] = {}
        """Rows of tables that are damaged, as long as nobody knows which path needs them."""
        self.erased: set[ObjectId] = set()
        """Objects that were erased: whoever needs them has no damage."""
        self.counts: dict[str, int] = {}

    def seen(self) -> Seen:
        """Return an empty map."""
        from vfs.store.scratch import Scratch  # noqa: PLC0415 - seldom needed

        return Seen(lambda: Scratch(self.temporary))

    def found(self, kind: DamageKind, message: str, *places: str) -> None:
        """Tell a damage whose places are known."""
        self.line.damage(Damage(kind, message, list(places)))

    def add_bad(self, oid: ObjectId, message: str, kind: DamageKind = "object") -> Damage:
        """Note that an object is damaged; where it is used is found out at the end."""
        damage = self.bad.get(oid)
        if damage is None:
            damage = self.bad[oid] = Damage(kind, message, object=oid.hex())
        return damage

    def add_flaw(self, holder: ObjectId, index: int, kind: DamageKind, message: str) -> None:
        """Note what is wrong with one item of a node."""
        self.flaws.setdefault(holder, []).append(Flaw(index, Damage(kind, message)))

    def read(self, oid: ObjectId, what: str) -> bytes | None:
        """Return an object; None, and noted as bad, where it can't be had."""
        if oid in self.bad:
            return None
        if oid in self.skipped:
            self.add_bad(oid, f"reading the {what} {oid.hex()} ends the process: LMDB is damaged")
            return None
        self.recorder[:32] = oid
        try:
            return self.repo.reader.get(oid)
        except VfsError as error:
            state = "missing" if "is missing" in str(error) else "damaged"
            self.add_bad(oid, f"the {what} {oid.hex()} is {state}")
            return None

    def count(self, what: str, number: int = 1) -> None:
        """Count what was looked at."""
        self.counts[what] = self.counts.get(what, 0) + number
