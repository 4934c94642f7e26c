"""Importing one regular file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vfs.model.entry import directory_entry
from vfs.repo.importer.api import Counts
from vfs.repo.importer.content import Contents, Feeder
from vfs.repo.importer.inode import CHANGED, SOURCE, Unreadable, entry_of, read_xattrs
from vfs.repo.trees import TreeBuilder

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.model.names import Target
    from vfs.repo.importer.api import Problem, ProblemList, Tally
    from vfs.repo.importer.pipeline import Pipeline
    from vfs.store.ingest import Ingest


class FileImport:
    """One import of a file: to the target's path, or as all that a version holds."""

    def __init__(self, source: Path, target: Target) -> None:
        self._source = source
        self._target = target

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is left open."""

    def committed(self, commit: ObjectId) -> None:
        """Nothing is kept for the next import."""

    def read(
        self, pipeline: Pipeline, ingest: Ingest, tally: Tally, problems: ProblemList
    ) -> tuple[Entry, list[Problem]]:
        """Read the file; return its entry, or that of a directory with it."""
        finished: list[Entry] = []

        def done(entry: Entry, _context: Any) -> None:
            finished.append(entry)

        def refused(entry: Entry, context: Any, reason: str) -> Any:
            problems.add(entry.name, reason)
            return context

        feeder = Feeder(pipeline, Contents(ingest, done, refused), tally)
        try:
            self._feed(feeder, tally)
        except Unreadable as error:
            problems.add(self._name, str(error))
        problems.check()  # nothing else could be committed
        tally.files += 1
        pipeline.finish()
        (entry,) = finished
        return entry if self._target.path else _directory_of(ingest, entry), []

    @property
    def _name(self) -> bytes:
        return os.fsencode(self._source.resolve().name)

    def _feed(self, feeder: Feeder, tally: Tally) -> None:
        with SOURCE:
            # Not blocking: if a fifo has come in its place, nobody waits for its writer.
            fd = os.open(self._source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            with SOURCE:
                st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                raise Unreadable(CHANGED)
            tally.ahead = Counts(1, st.st_size)
            feeder.file(fd, st, entry_of(self._name, st, read_xattrs(fd)), None)
        finally:
            os.close(fd)


def _directory_of(ingest: Ingest, entry: Entry) -> Entry:
    builder = TreeBuilder(ingest)
    builder.add(entry)
    tree, totals = builder.finish()
    return directory_entry(b"", tree, totals, uid=entry.uid, gid=entry.gid, mtime_ns=entry.mtime_ns)
