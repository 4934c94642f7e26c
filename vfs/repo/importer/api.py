"""What the caller of an import gives and gets. Knows nothing of how it is done."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from vfs.errors import SourceProblem
from vfs.ids import ObjectId

NAMED_PROBLEMS: Final = 20
REPORT_FILES: Final = 1024
KEPT_PROBLEMS: Final = 10_000
"""More are counted only: every file of a huge tree may be unreadable."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import, and what to write into the commit."""

    message: str
    author: str | None = None
    tag: str | None = None
    checksum: bool = False  # read every file, whatever the import index says
    allow_erased: bool = False  # store again what was erased
    partial: bool = False  # commit what can be read, although something can't
    format: Literal["auto", "dir", "tar", "file"] = "auto"
    jobs: int | None = None  # threads; None: as many as there are cores
    command: tuple[str, ...] = ()  # for the provenance


class Progress(Protocol):
    """Is told how far an import is. Called often, from one thread."""

    watched: bool
    """Whether somebody looks: finding out beforehand how much there is takes a walk of its own."""

    def total(self, files: int, bytes_: int) -> None:
        """Take what is known to be there so far; it grows while the source is walked."""

    def advance(self, files: int, bytes_: int) -> None:
        """Take what was done since the last call."""


class Silent:
    """Progress that nobody sees."""

    watched = False

    def total(self, files: int, bytes_: int) -> None:
        """Do nothing."""

    def advance(self, files: int, bytes_: int) -> None:
        """Do nothing."""


SILENT: Final = Silent()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the source that was left out, and why."""

    path: bytes  # relative to the source
    reason: str

    def __str__(self) -> str:
        path = self.path.decode("utf-8", "backslashreplace") or "."
        return f"{path}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What an import did."""

    commit: ObjectId
    changed: bool  # False: the branch held all of this already
    files: int  # everything that is not a directory
    directories: int
    bytes: int  # the sizes of the regular files
    bytes_read: int  # of these, what was not recognised as unchanged
    new_stored_bytes: int  # what the store grew by
    problems: tuple[Problem, ...]  # the first of those that were left out; with `partial` only
    problem_count: int
    notes: tuple[Problem, ...]  # left out on purpose: the store itself, a mounted hub
    seconds: float


class ProblemList:
    """Collects problems; keeps the first and counts the rest."""

    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.count = 0

    def add(self, path: bytes, reason: str) -> None:
        """Note that *path* was left out."""
        self.count += 1
        if len(self.kept) < KEPT_PROBLEMS:
            self.kept.append(Problem(path, reason))

    def check(self) -> None:
        """Raise SourceProblem when there is any."""
        if not self.count:
            return
        named = self.kept[:NAMED_PROBLEMS]
        lines = [str(problem) for problem in named]
        if self.count > len(named):
            lines.append(f"and {self.count - len(named):,} more")
        head = (
            "1 file could not be imported"
            if self.count == 1
            else f"{self.count:,} files could not be imported"
        )
        raise SourceProblem(
            f"{head}; nothing was committed: " + "; ".join(lines),
            hint="make them readable and leave them alone, or commit the rest with --partial",
        )


@dataclass
class Counts:
    """What was found to be there so far."""

    files: int = 0  # everything that is not a directory
    bytes: int = 0  # of regular files


class Tally:
    """Counts what an import does, and tells the progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.watched = progress.watched
        self.ahead: Counts | None = None  # None: how much there is comes out at the end
        self._told_files = self._told_bytes = 0
        self.files = 0
        self.directories = 0
        self.bytes = 0
        self.bytes_read = 0

    def take_known(self, st: os.stat_result) -> None:
        """Count something that has not to be read."""
        self.files += 1
        if stat.S_ISREG(st.st_mode):
            self.bytes += st.st_size
        if not self.files % REPORT_FILES:
            self.report()

    def report(self) -> None:
        """Tell the progress what was counted since the last call."""
        files = self.files - self._told_files
        done = self.bytes - self._told_bytes
        if files or done:
            if self.ahead is not None:
                ahead = self.ahead
                self._progress.total(max(ahead.files, self.files), max(ahead.bytes, self.bytes))
            self._progress.advance(files, done)
            self._told_files, self._told_bytes = self.files, self.bytes
