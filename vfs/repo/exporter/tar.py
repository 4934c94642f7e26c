"""Writing a version as a tar archive: a stream, in the order of a walk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, NotADirectory
from vfs.model.entry import Entry, Extra, directory_totals
from vfs.repo.blobs import FileReader
from vfs.repo.exporter.api import ExportResult, not_exportable
from vfs.repo.exporter.links import LinkSets
from vfs.repo.exporter.tarformat import END, KINDS, Extents, member, sparse_member
from vfs.repo.importer.api import SILENT, Progress
from vfs.repo.importer.tarformat import BLOCK

if TYPE_CHECKING:
    from vfs.repo.repository import Repository

_PIECE_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 32 << 10  # read at once: handing it to a thread takes longer
_AHEAD_PIECES: Final = 16
_RECORD_BYTES: Final = 20 * BLOCK  # tar's own unit: an archive is a multiple of it
_WRITE_BYTES: Final = 256 << 10

Write = Callable[[bytes], object]


def export_tar(
    repo: Repository, root: Entry, write: Write, progress: Progress = SILENT
) -> ExportResult:
    """Give the archive of the directory *root* of a version to *write*, piece by piece.

    Raises CorruptObject for content that can't be read: what was written by then has no end mark,
    so that no reader takes it for whole. Raises NotADirectory when *root* is none.
    """
    if not root.is_dir:
        raise NotADirectory("a file can't be exported", hint="write it with: vfs cat")
    totals = directory_totals(root)
    progress.total(totals.files, totals.bytes)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads, thread_name_prefix="vfs-export") as pool:
        archive = _Archive(repo, pool, progress)
        try:
            _write_parts(archive.parts(root), write)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return archive.result


def _write_parts(parts: Iterator[bytes], write: Write) -> None:
    batch: list[bytes] = []
    size = written = 0
    for part in parts:
        batch.append(part)
        size += len(part)
        if size >= _WRITE_BYTES:
            write(b"".join(batch))
            written += size
            batch, size = [], 0
    written += size
    write(b"".join(batch) + bytes(-written % _RECORD_BYTES))


class _Archive:
    """One archive that is being written."""

    def __init__(self, repo: Repository, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.result = ExportResult()
        self._repo = repo
        self._pool = pool
        self._progress = progress
        self._links = LinkSets()
        self._files = FileReader(repo.reader)
        self._idle: deque[FileReader] = deque()

    def parts(self, root: Entry) -> Iterator[bytes]:
        """Yield the archive. Large files are read ahead, by the threads of the pool."""
        ahead: deque[bytes | Future[bytes]] = deque()
        waiting = 0
        for part in self._walk(root):
            ahead.append(part)
            waiting += isinstance(part, Future)
            while ahead and (waiting > _AHEAD_PIECES or isinstance(ahead[0], bytes)):
                first = ahead.popleft()
                waiting -= isinstance(first, Future)
                yield first if isinstance(first, bytes) else first.result()
        for part in ahead:
            yield part if isinstance(part, bytes) else part.result()
        yield END

    def _walk(self, root: Entry) -> Iterator[bytes | Future[bytes]]:
        """Yield headers and contents, each directory before what is in it."""
        yield member(b"", root, Extra.decode(root.extra))
        self.result.directories = 1
        above = [(b"", self._repo.entries(root.content))]
        while above:
            prefix, entries = above[-1]
            entry = next(entries, None)
            if entry is None:
                above.pop()
                continue
            path = prefix + entry.name
            extra = Extra.decode(entry.extra)
            if entry.is_dir:
                self.result.directories += 1
                yield member(path, entry, extra)
                above.append((path + b"/", self._repo.entries(entry.content)))
            else:
                yield from self._member(path, entry, extra)

    def _member(self, path: bytes, entry: Entry, extra: Extra) -> Iterator[bytes | Future[bytes]]:
        if (entry.mode & 0o170000) not in KINDS:
            self.result.left_out(path, "a tar archive can't hold a socket")
            return
        first = None
        if extra.link is not None:
            first = self._links.first_name(entry, extra, path)
        if first is not None:
            yield member(path, entry, extra, link=first)
        elif not entry.is_file:
            yield member(path, entry, extra)
        elif extra.holes:
            extents = self._extents(path, entry)
            yield sparse_member(path, entry, extra, extents)
            yield from self._content(path, entry, extents)
        else:
            yield member(path, entry, extra, stored=entry.size)
            yield from self._content(path, entry, [(0, entry.size)])
        size = entry.size if entry.is_file else 0
        self.result.wrote(1, size)
        self._progress.advance(1, size)

    def _extents(self, path: bytes, entry: Entry) -> Extents:
        extents: Extents = []
        at = 0
        try:
            for span in self._files.spans(entry):
                if not span.is_hole:
                    if extents and sum(extents[-1]) == at:
                        extents[-1] = extents[-1][0], extents[-1][1] + span.length
                    else:
                        extents.append((at, span.length))
                at += span.length
        except CorruptObject as error:
            raise not_exportable(path, error) from error
        return extents

    def _content(
        self, path: bytes, entry: Entry, extents: Extents
    ) -> Iterator[bytes | Future[bytes]]:
        stored = 0
        for start, length in extents:
            stored += length
            for at in range(start, start + length, _PIECE_BYTES):
                size = min(_PIECE_BYTES, start + length - at)
                if size <= _SMALL_BYTES:
                    yield self._read(self._files, path, entry, at, size)
                else:
                    yield self._pool.submit(self._read_ahead, path, entry, at, size)
        yield bytes(-stored % BLOCK)

    def _read_ahead(self, path: bytes, entry: Entry, at: int, size: int) -> bytes:
        try:
            files = self._idle.pop()
        except IndexError:
            files = FileReader(self._repo.store.reader())
        try:
            return self._read(files, path, entry, at, size)
        finally:
            self._idle.append(files)

    @staticmethod
    def _read(files: FileReader, path: bytes, entry: Entry, at: int, size: int) -> bytes:
        try:
            return files.read(entry, at, size)
        except CorruptObject as error:
            raise not_exportable(path, error) from error
