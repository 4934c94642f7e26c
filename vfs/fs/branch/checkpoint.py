"""Storing a layer: contents first, then all rows in one transaction. Runs in a worker thread.

A file's new bytes go one of two ways. Those of a file that is still open for writing, a few here
and there, become **patches**: rows of a page each, which the next write to that page replaces. All
else becomes content: cut, hashed and compressed as an import does it. A database that writes pages
of 8 KiB so makes no garbage of 100 KiB each time it syncs, and a file that was copied in is stored
once, in its final form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import (
    CorruptObject,
    Erased,
    ErasedMeanwhile,
    RemoteProblem,
    RemoteUnavailable,
)
from vfs.fs.branch.content import plan_read, stored_content
from vfs.fs.branch.data import NO_CUT, FileLayer
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.overlay import PATCH_BYTES, WHITEOUT, InodeRow
from vfs.repo.blobs import FileReader
from vfs.repo.checkednodes import nodes_of
from vfs.repo.origin import Origin
from vfs.repo.splice import SMALL_BYTES, Content, Piece, add_small, splice
from vfs.store.overlaybatch import OverlayBatch

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from vfs.fs.branch.layers import Layer
    from vfs.model.entry import Entry
    from vfs.store.ingest import Ingest
    from vfs.store.overlayrows import OverlayRows
    from vfs.store.store import Store

log = logging.getLogger(__name__)

PATCHED_MAX_BYTES: Final = 1 << 20
"""More than this of one file at once is no small change."""

PATCHES_AT_ONCE: Final = 8 * 1024  # all files of a checkpoint: they are one transaction

PATCHES_MIN: Final = 1024
PATCHES_MAX: Final = 16 * 1024
_PATCHED_SHARE: Final = 4
"""Patches for a quarter of its pages, within these bounds, are the most that a file has."""

_BATCH_FILES: Final = 64  # small files that are hashed and compressed in one go
_ALL_PAGES: Final = (1 << 63) // PATCH_BYTES


class Stored(NamedTuple):
    """What a checkpoint made of a file's content: the fields of `InodeRow` by these names."""

    content: ObjectId
    flags: int
    content_bytes: int
    visible: int
    holes: int
    patches: int

    def of(self, row: InodeRow) -> InodeRow:
        """Return *row* with this content."""
        return row.replaced(self._asdict())


class Stage:
    """What storing needs and keeps from one checkpoint to the next. For one thread at a time."""

    def __init__(
        self,
        store: Store,
        root: Entry | None,
        rows: OverlayRows,
        write: Callable[[OverlayBatch], object],
        pool: ThreadPoolExecutor,
    ) -> None:
        reader = store.reader()
        self.announce = store.writers.announce
        self.new_ingest = store.ingest
        self.rows = rows
        self.write = write
        self.files = FileReader(reader)
        self.origin = Origin(nodes_of(store, reader), root, store.numbering)
        self.pool = pool
        self.obsolete: set[int] = set()  # inodes whose patches are in their content by now


class Checkpoint:
    """One layer on its way into the store."""

    def __init__(self, layer: Layer, *, writers: frozenset[int], next_ino: int) -> None:
        """*writers*: files of the layer that are open for writing."""
        self.layer = layer
        self._writers = writers
        self._next_ino = next_ino
        self._begin()

    def _begin(self) -> None:
        self.contents: dict[int, Stored] = {}
        self._batch = OverlayBatch(next_ino=self._next_ino)
        self._obsolete: set[int] = set()

    def store(self, stage: Stage) -> None:
        """Store everything; durable on return. Raises StoreFull and what else may go wrong."""
        while True:
            try:
                self._store(stage)
                return
            except ErasedMeanwhile:  # as often as there are erasures, which are rare
                self._begin()

    def _store(self, stage: Stage) -> None:
        with stage.announce():  # until the rows lead to the contents
            with ExitStack() as undo:

                @cache
                def ingest() -> Ingest:  # begun when the first content needs it: it has a thread
                    new = undo.enter_context(stage.new_ingest())
                    self._batch.generation = new.generation
                    return new

                self._store_files(stage, ingest)
            self._collect_rows(stage)
            stage.write(self._batch)
        stage.obsolete = self._obsolete

    # contents

    def _store_files(self, stage: Stage, ingest: Callable[[], Ingest]) -> None:
        small: list[tuple[int, bytes]] = []
        for ino, changes in self.layer.files.items():
            row = self.layer.inodes.get(ino)
            if row is None:
                continue
            whole = _whole_small_file(row, changes)
            if whole is None:
                self.contents[ino] = self._store_file(stage, ingest, ino, row, changes)
            else:
                small.append((ino, whole))
        for at in range(0, len(small), _BATCH_FILES):
            batch = small[at : at + _BATCH_FILES]
            try:
                contents = add_small(ingest(), [data for _, data in batch])
            except Erased:
                for ino, _ in batch:  # only what was erased becomes patches
                    row = self.layer.inodes[ino]
                    assert row is not None
                    changes = self.layer.files[ino]
                    self.contents[ino] = self._store_file(stage, ingest, ino, row, changes)
                continue
            for (ino, _), new in zip(batch, contents, strict=True):
                self.contents[ino] = _stored(new)
                self._drop_patches(ino)

    def _store_file(
        self,
        stage: Stage,
        ingest: Callable[[], Ingest],
        ino: int,
        row: InodeRow,
        changes: FileLayer,
    ) -> Stored:
        if changes.visible == 0:
            row = _EMPTY.of(row)
            self._drop_patches(ino)
        if not changes.runs and not row.patches:
            visible = min(row.visible, changes.visible)
            return Stored(row.content, row.flags, row.content_bytes, visible, row.holes, 0)
        if not self._can_patch(ino, row, changes):
            try:
                return self._splice(stage, ingest(), ino, row, changes)
            except (CorruptObject, RemoteProblem, RemoteUnavailable) as error:
                # What is damaged, may not be stored again, or can't be fetched, must not keep all
                # else from being stored.
                log.error("inode %d: its changes are stored as they are: %s", ino, error)  # noqa: TRY400
        return self._patch(stage, ino, row, changes)

    def _splice(
        self, stage: Stage, ingest: Ingest, ino: int, row: InodeRow, changes: FileLayer
    ) -> Stored:
        new = splice(
            stage.files,
            ingest,
            stored_content(row),
            min(row.visible, changes.visible),
            self._pieces(stage, ino, row, changes),
            row.size,
            pool=stage.pool,
        )
        if row.patches:
            # Whoever reads meanwhile still sees them: they go with the next checkpoint.
            self._obsolete.add(ino)
        return _stored(new)

    def _can_patch(self, ino: int, row: InodeRow, changes: FileLayer) -> bool:
        pages = changes.runs.size // PATCH_BYTES + len(changes.runs)
        limit = row.size // PATCH_BYTES // _PATCHED_SHARE
        limit = min(max(limit, PATCHES_MIN), PATCHES_MAX)
        return (
            ino in self._writers
            and changes.runs.size <= PATCHED_MAX_BYTES
            and row.patches + pages <= limit
            and len(self._batch.patches) + pages <= PATCHES_AT_ONCE
        )

    def _patch(self, stage: Stage, ino: int, row: InodeRow, changes: FileLayer) -> Stored:
        pages = set(changes.runs.pages(PATCH_BYTES))
        there: set[int] = set()  # as far as that matters
        kept = row.patches
        if not row.patches:
            self._drop_patches(ino)  # there may be obsolete ones
        elif changes.visible < NO_CUT:
            # Until the end, the layer hides from readers what goes here.
            first = -(-changes.visible // PATCH_BYTES)
            self._batch.cuts[ino] = first
            there.update(stage.rows.patched_pages(ino, 0, first - 1))
            kept = len(there)
            if changes.visible % PATCH_BYTES:
                pages |= there & {first - 1}
        else:
            for offset, data in changes.runs:
                last = (offset + len(data) - 1) // PATCH_BYTES
                there.update(stage.rows.patched_pages(ino, offset // PATCH_BYTES, last))
        for page in sorted(pages):
            start = page * PATCH_BYTES
            end = min(start + PATCH_BYTES, row.size)
            plan = plan_read(stage.rows, ino, row, [changes], start, end)
            self._batch.patches[ino, page] = plan.read(stage.files).ljust(PATCH_BYTES, b"\0")
        visible = min(row.visible, changes.visible)
        count = kept + len(pages - there)
        return Stored(row.content, row.flags, row.content_bytes, visible, row.holes, count)

    def _pieces(self, stage: Stage, ino: int, row: InodeRow, changes: FileLayer) -> Iterator[Piece]:
        if not row.patches:
            return (Piece(offset, data) for offset, data in changes.runs)
        below = FileLayer()
        for page, data in sorted(stage.rows.patches(ino, 0, _ALL_PAGES).items()):
            below.runs.write(page * PATCH_BYTES, data)
        above = FileLayer()
        above.visible = changes.visible
        for offset, piece in changes.runs:
            above.runs.write(offset, piece)
        below.put_under(above)
        above.runs.cut(row.size)
        return (Piece(offset, data) for offset, data in above.runs)

    def _drop_patches(self, ino: int) -> None:
        self._batch.cuts[ino] = 0

    # rows

    def _collect_rows(self, stage: Stage) -> None:
        batch, layer = self._batch, self.layer
        for ino in stage.obsolete - self._obsolete:
            batch.cuts.setdefault(ino, 0)
        for ino, row in layer.inodes.items():
            stored = self.contents.get(ino)
            batch.inodes[ino] = stored.of(row) if stored is not None and row is not None else row
            if row is None or not row.nlink:
                batch.orphans[ino] = row is not None
        for directory, names in layer.names.items():
            for name, ino in names.items():
                batch.names[directory, name] = ino or self._absence(stage, directory, name)
                batch.changed_names.add((directory, name))
        for ino, links in layer.links.items():
            for (directory, name), there in links.items():
                batch.links[ino, directory, name] = there
        batch.changed_inodes = {ino for ino in layer.changed if layer.inodes.get(ino) is not None}

    def _absence(self, stage: Stage, directory: int, name: bytes) -> int | None:
        """Return what hides a name of the origin, or None where there is nothing to hide."""
        origin = stage.origin
        hides = origin.is_base(directory) and origin.find(directory, name) is not None
        return WHITEOUT if hides else None


_EMPTY: Final = Stored(NO_CONTENT, 0, 0, 0, 0, 0)


def _stored(content: Content) -> Stored:
    oid, flags, size, holes = content
    return Stored(oid, flags, size, size, holes, 0)


def _whole_small_file(row: InodeRow, changes: FileLayer) -> bytes | None:
    """Return all bytes of a file that is one chunk and has nothing stored that still counts."""
    if not 0 < row.size <= SMALL_BYTES or changes.runs.size != row.size:
        return None
    parts = [data for _, data in changes.runs]
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
