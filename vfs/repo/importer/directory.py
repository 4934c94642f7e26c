"""Importing a directory of this machine: the walk, the index and the links put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from blake3 import blake3

from vfs.mountinfo import mounts
from vfs.repo.importer.assemble import Assembler, Known
from vfs.repo.importer.content import Contents, Feeder
from vfs.repo.importer.index import UNTRUSTED, NewIndex, OldIndex, import_indices
from vfs.repo.importer.links import Links
from vfs.repo.importer.survey import Survey
from vfs.repo.importer.walk import Walker

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.model.names import Target
    from vfs.repo.importer.api import Problem, ProblemList, Tally
    from vfs.repo.importer.pipeline import Pipeline
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest


class DirectoryImport:
    """One import of a directory. A context manager."""

    def __init__(self, repo: Repository, source: Path, target: Target, *, checksum: bool) -> None:
        self._repo = repo
        self._source = source
        self._target = target
        self._resources = ExitStack()
        self._checksum = checksum
        self._index: NewIndex | None = None
        self._root_offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._resources.close()

    def read(
        self, pipeline: Pipeline, ingest: Ingest, tally: Tally, problems: ProblemList
    ) -> tuple[Entry, list[Problem]]:
        """Read the source; return its root entry and what was left out on purpose."""
        reader = self._repo.reader
        skip = _skip(self._repo.store.path, self._source)
        if tally.watched:
            tally.ahead = self._resources.enter_context(Survey(self._source, skip)).counts
        path = self._index_path()
        old = OldIndex.load(path)
        if old is not None:
            self._resources.callback(old.close)
            if not self._repo.is_whole(old.commit):
                old = None
        rewrite = old is None or self._checksum or old.is_bloated
        self._index = NewIndex(path, None if rewrite else old)
        self._resources.callback(self._index.close)
        links = self._resources.enter_context(Links(self._repo.store, self._target.path))
        assembler = Assembler(ingest, reader, self._index, links, rewrite=rewrite)

        def refused(entry: Entry, known: Known, reason: str) -> Known:
            problems.add(assembler.path(entry.name), reason)
            return known._replace(stamp=UNTRUSTED)  # or the next import would not look at it

        contents = Contents(ingest, assembler.append, refused)
        walker = Walker(
            pipeline=pipeline,
            assembler=assembler,
            feeder=Feeder(pipeline, contents, tally),
            links=links,
            tally=tally,
            problems=problems,
            skip=skip,
            spill_dir=self._repo.store.scratch_dir(),
        )
        reads_all = old is None or self._checksum or ingest.stores_erased
        known = None if old is None or reads_all else old.root()
        walker.walk(os.fsencode(self._source), known)
        pipeline.finish()
        assert assembler.root is not None
        self._root_offset = assembler.root_offset
        return links.correct(reader, ingest, assembler.root), walker.notes

    def committed(self, commit: ObjectId) -> None:
        """Leave the import index for the next import."""
        assert self._index is not None
        self._index.commit(commit, self._root_offset)

    def _index_path(self) -> Path:
        """Return where the index of this source and target is, whatever the branch."""
        parts: Iterable[bytes] = (
            os.fsencode(self._source.resolve()),
            self._target.data_set.encode(),
            *self._target.path,
        )
        key = blake3(b"\0".join(parts)).hexdigest(16)
        return import_indices(self._repo.store.path) / key


def _skip(store: Path, source: Path) -> Callable[[os.stat_result], str | None]:
    """Return what says why a directory below *source* is left out."""
    of_store = store.stat()
    hubs = _mounted_devices() - {source.stat().st_dev}

    def skip(st: os.stat_result) -> str | None:
        if (st.st_dev, st.st_ino) == (of_store.st_dev, of_store.st_ino):
            return "it is the store itself"
        if st.st_dev in hubs:
            return "versions are mounted there"
        return None

    return skip


def _mounted_devices() -> set[int]:
    """Return the devices of all mounts of this program."""
    try:
        return {mount.st_dev for mount in mounts() if mount.ours}
    except OSError:
        return set()
