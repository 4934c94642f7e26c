"""What a collection of garbage tells: while it runs, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vfs.ids import ObjectId


class Expired(NamedTuple):
    """A version whose content a rule lets go."""

    data_set: str
    commit: ObjectId
    time_ns: int
    reason: str


@dataclass(slots=True)
class Report:
    """What was removed; of a preview, what would be."""

    versions: int = 0  # that no reference leads to: they go with their commit
    expired: list[Expired] = field(default_factory=list)
    log_lines: int = 0
    objects: int = 0
    object_bytes: int = 0  # before compression
    stored_bytes: int = 0  # as they were stored
    kept_objects: int = 0
    blocks_rewritten: int = 0
    freed_bytes: int = 0  # inside the data file, for what is stored next
    unrepaired: int = 0  # blocks that could not be rewritten, as something in them is damaged
    pinned: int = 0  # versions that are kept because a mount has shown them
