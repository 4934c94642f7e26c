"""What a check has found so far, wherever the objects are that it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from vfs.errors import RemoteUnavailable, VfsError
from vfs.ids import ObjectId
from vfs.repo.fsck.report import Damage, DamageKind

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.store.scratch import Scratch

SEEN_IN_MEMORY: Final = 2_000_000
"""Ids that are remembered in memory, about 200 bytes each; more than that go to a map on disk."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong in one item of a node that is itself sound."""

    index: int  # of the item; -1: the node as a whole
    damage: Damage


class Teller(Protocol):
    """Is told what is looked at, and what is wrong."""

    def begin(self, stage: str) -> None:
        """Take what is looked at from now on."""

    def progress(self, done: int, total: int = 0, *, is_bytes: bool = False) -> None:
        """Take how far the stage is."""

    def damage(self, damage: Damage) -> None:
        """Take a damage whose places are known."""


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


class Findings(ABC):
    """What one check knows of objects, and what is bad so far. For one thread."""

    def __init__(self, line: Teller, temporary: Path) -> None:
        """*temporary*: a directory for what does not fit into memory."""
        self.line = line
        self.temporary = temporary
        self.bad: dict[ObjectId, Damage] = {}
        """Objects that can't be read, or are not what whoever names them takes them for."""
        self.flaws: dict[ObjectId, list[Flaw]] = {}
        """What is wrong within tree nodes, blob nodes and commits that are sound, by their ids."""
        self.erased: set[ObjectId] = set()
        """Objects that were erased: whoever needs them has no damage."""
        self.counts: dict[str, int] = {}

    @abstractmethod
    def get(self, oid: ObjectId) -> bytes:
        """Return a node or commit. Raises CorruptObject, RemoteProblem."""

    @abstractmethod
    def kind_and_size(self, oid: ObjectId, *, is_node: bool) -> tuple[int, int] | None:
        """Return the kind of an object, and its size; None where it can't be had."""

    @abstractmethod
    def is_pruned(self, commit: ObjectId) -> bool:
        """Say whether the content of a version was removed on purpose."""

    def is_away(self, _oid: ObjectId) -> bool:
        """Say whether an object is not there, and need not be: a remote has it."""
        return False

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
        """Return an object; None, and noted as bad, where it can't be had.

        None, too, of one that is away.
        """
        if oid in self.bad or self.is_away(oid):
            return None
        try:
            return self.get(oid)
        except RemoteUnavailable:
            raise  # that says nothing of the object
        except VfsError as error:
            state = "missing" if "is missing" in str(error) else "damaged"
            self.add_bad(oid, f"the {what} {oid.hex()} is {state}")
            return None

    def count(self, what: str, number: int = 1) -> None:
        """Count what was looked at."""
        self.counts[what] = self.counts.get(what, 0) + number

    def tell(self) -> None:
        """Tell all damage that was collected."""
        told: set[int] = set()
        flaws = (flaw.damage for found in self.flaws.values() for flaw in found)
        for damage in (*self.bad.values(), *flaws):
            if id(damage) not in told:
                told.add(id(damage))
                self.line.damage(damage)
