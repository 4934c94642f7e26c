"""What all parts of one check share: the store, what is bad so far, and the line to the parent."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from vfs.errors import CorruptObject
from vfs.repo.fsck.findings import Findings
from vfs.repo.fsck.report import DAMAGES_MAX, Damage
from vfs.repo.repository import Repository
from vfs.store.layout import unpack_location

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.ids import ObjectId
    from vfs.store.held import HeldStore

PROGRESS_S: Final = 0.2
RECORDER_BYTES: Final = 64


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


class Run(Findings):
    """One check of a store. For one thread."""

    line: Line

    def __init__(
        self, store: HeldStore, line: Line, recorder: Any, skipped: set[bytes], temporary: Path
    ) -> None:
        """*skipped*: objects that ended a process which read them; *temporary*: a directory."""
        super().__init__(line, temporary)
        self.store = store
        self.repo = Repository(store)
        self.recorder = recorder
        self.skipped = skipped
        self._is_promised = store.is_promised
        self.loose: dict[tuple[str, bytes], str] = {}
        """Rows of tables that are damaged, as long as nobody knows which path needs them."""

    def get(self, oid: ObjectId) -> bytes:
        return self.repo.reader.get(oid)

    def kind_and_size(self, oid: ObjectId, *, is_node: bool) -> tuple[int, int] | None:
        self.recorder[:32] = oid
        if oid in self.skipped:
            return None
        value = self.store.row("objects", oid)
        try:
            place = None if value is None else unpack_location(value)
        except CorruptObject:
            return None  # noted as bad when the index was read
        return None if place is None else (place.kind, place.size)

    def is_away(self, oid: ObjectId) -> bool:
        if not self._is_promised or self.store.row("objects", oid) is not None:
            return False
        return not self.store.unpushed.has(oid)

    def is_pruned(self, commit: ObjectId) -> bool:
        return self.store.row("pruned", commit) is not None

    def read(self, oid: ObjectId, what: str) -> bytes | None:
        if oid in self.skipped and oid not in self.bad:
            self.add_bad(oid, f"reading the {what} {oid.hex()} ends the process: LMDB is damaged")
            return None
        self.recorder[:32] = oid
        return super().read(oid, what)

    def tell(self) -> None:
        super().tell()
        for message in self.loose.values():
            self.found("table", message)
        self.line.send("counts", self.counts)
