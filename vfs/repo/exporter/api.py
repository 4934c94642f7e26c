"""What the caller of an export gives and gets. Knows nothing of how it is done."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vfs.errors import CorruptObject, Erased
from vfs.repo.importer.api import Problem

KEPT_PROBLEMS: Final = 10_000
"""More are counted only."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export."""

    replace: bool = False  # a directory that is there is no obstacle, and goes
    partial: bool = False  # leave out files whose content can't be read
    like: Path | None = None  # an earlier export, to share files with
    link: bool = False  # as hard links, not as reflinks
    verify: bool = False  # read all that is shared, whatever the times of the files say
    jobs: int | None = None  # threads; None: as many as there are cores


@dataclass(slots=True)
class ExportResult:
    """What was written. Several threads may add to it."""

    files: int = 0  # all that is no directory
    directories: int = 0
    size: int = 0  # bytes of the regular files
    taken: int = 0  # of the files, those from the earlier export
    can_take: bool = True  # False: no file at all could be taken
    problems: list[Problem] = field(default_factory=list)  # what was left out, some of it
    problem_count: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """How many files lack an attribute, by what it is."""

    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def left_out(self, path: bytes, reason: str) -> None:
        """Note what is not in the export, and why."""
        with self._lock:
            self.problem_count += 1
            if len(self.problems) < KEPT_PROBLEMS:
                self.problems.append(Problem(path, reason))

    def wrote(self, files: int, size: int) -> None:
        """Count files that are done."""
        with self._lock:
            self.files += files
            self.size += size


def not_exportable(path: bytes, error: CorruptObject, hint: str = "") -> CorruptObject:
    """Return what to raise for content that can't be read, with more to do than *hint*, if any.

    Nothing is to be repaired where somebody erased it on purpose.
    """
    message = f"'{os.fsdecode(path) or '.'}' can't be exported: {error}"
    if isinstance(error, Erased):
        return Erased(message, hint=hint)
    repair = "'vfs fsck --repair --from COPY' may help"
    return CorruptObject(message, hint=f"{repair}; {hint}" if hint else repair)
