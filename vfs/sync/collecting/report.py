"""What a collection of a remote's garbage came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from vfs.repo.gc.report import Expired


@dataclass(slots=True)
class Report:
    """What was, or with a preview would be, done."""

    objects: int = 0  # that nothing needs
    object_bytes: int = 0  # of them, before compression
    condemned_packs: int = 0  # to be removed after the time of grace
    condemned_bytes: int = 0
    copied_objects: int = 0  # that are needed, and went from such packs to new ones
    removed_packs: int = 0  # that were condemned before
    removed_bytes: int = 0
    kept_packs: int = 0
    expired: list[Expired] = field(default_factory=list)
    due_ns: int | None = None  # when what is condemned may be removed


OnProgress: TypeAlias = Callable[[str, int], None]
"""Is told what is being done, and how many of it were."""
