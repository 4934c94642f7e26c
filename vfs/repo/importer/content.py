"""The contents of files on their way into the store: read, cut, and put together again in order.

`Feeder` is the reading side and `Contents` the side behind the pipeline; both run in one thread.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vfs.model.chunking import CHUNK_MIN_BYTES, cut
from vfs.repo.blobs import BlobBuilder
from vfs.repo.importer.inode import CHANGED, SOURCE, Unreadable, with_holes

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.importer.api import Tally
    from vfs.repo.importer.pipeline import Pipeline
    from vfs.store.erasures import Erasure
    from vfs.store.ingest import Ingest

LARGE_BYTES: Final = 2 << 20
"""Files above this are read in parts of this size."""

Read = Callable[[int], bytes]
"""Returns exactly as many bytes as asked for, or raises."""


class Head(NamedTuple):
    """A regular file of which the content is on its way."""

    entry: Entry
    context: Any  # for whoever takes the finished entry
    lengths: Sequence[int] = ()  # of its chunks


class Contents:
    """Puts files together from the ids of their chunks."""

    def __init__(
        self,
        ingest: Ingest,
        done: Callable[[Entry, Any], None],
        refused: Callable[[Entry, Any, str], Any],
    ) -> None:
        """*done* takes each finished entry with its context.

        *refused* takes those beforehand whose content was erased once, and is not stored again; it
        returns the context that *done* is to have.
        """
        self._ingest = ingest
        self._done = done
        self._refused = refused
        self._erasure: Erasure | None = None  # of any chunk of the file that was begun
        self._blob = BlobBuilder(ingest)

    def whole(self, head: Head, ids: Sequence[ObjectId]) -> None:
        """Take a file that came in one piece."""
        entry = head.entry
        if len(ids) == 1:
            context = self._context(head, self._ingest.erased.get(ids[0]))
            self._done(entry._replace(content=ids[0]), context)
        elif ids:
            self.begin(None, ())
            self.part(head.lengths, ids)
            self.end(head, ())
        else:
            self._done(entry, head.context)

    def begin(self, _nothing: None, _ids: Sequence[ObjectId]) -> None:
        """Begin a file that comes in parts; one that was not ended is dropped."""
        self._blob = BlobBuilder(self._ingest)
        self._erasure = None

    def part(self, lengths: Sequence[int], ids: Sequence[ObjectId]) -> None:
        """Append chunks to the file that was begun."""
        for oid, length in zip(ids, lengths, strict=True):
            self._blob.add(oid, length)
            if oid in self._ingest.erased:
                self._erasure = self._ingest.erased[oid]

    def hole(self, length: int, _ids: Sequence[ObjectId]) -> None:
        """Append a hole to the file that was begun."""
        self._blob.hole(length)

    def end(self, head: Head, _ids: Sequence[ObjectId]) -> None:
        """End the file that was begun."""
        content, flags, _, holes = self._blob.finish()
        entry = with_holes(head.entry._replace(content=content, flags=flags), holes)
        self._done(entry, self._context(head, self._erasure))

    def _context(self, head: Head, erasure: Erasure | None) -> Any:
        if erasure is None or self._ingest.stores_erased:
            return head.context
        reason = f"its content was {erasure} (--allow-erased stores it again)"
        return self._refused(head.entry, head.context, reason)


class Feeder:
    """Reads files, and feeds the pipeline."""

    def __init__(self, pipeline: Pipeline, contents: Contents, tally: Tally) -> None:
        self._pipeline = pipeline
        self._contents = contents
        self._tally = tally

    def file(self, fd: int, st: os.stat_result, entry: Entry, context: Any) -> None:
        """Read an open file; *st* is from before. Raises Unreadable, also if it changes."""
        size = st.st_size
        if size > LARGE_BYTES or st.st_blocks * 512 < size:
            self._large_file(fd, st, Head(entry, context))
            return
        with SOURCE:
            data = os.read(fd, size + 1)
            after = os.fstat(fd)
        if len(data) != size or _differ(st, after):
            raise Unreadable(CHANGED)
        self._small(data, Head(entry, context), len(entry.extra))

    def stream(
        self, read: Read, extents: array[int] | None, entry: Entry, context: Any, weight: int
    ) -> None:
        """Take a file's content from a stream.

        *extents* are offsets and lengths of a sparse file's data, in turn, which ascend. *weight*
        is about how many bytes of memory *entry* and *context* take.
        """
        size = entry.size
        if extents is None and size <= LARGE_BYTES:
            self._small(read(size), Head(entry, context), weight)
            return
        self._pipeline.post(self._contents.begin, None)
        at = 0
        extents = extents if extents is not None else array("Q", (0, size))
        for i in range(0, len(extents), 2):
            self._hole(extents[i] - at)
            self._extent(read, extents[i + 1])
            at = extents[i] + extents[i + 1]
        self._hole(size - at)
        self._pipeline.post(self._contents.end, Head(entry, context), weight)

    def _small(self, data: bytes, head: Head, weight: int) -> None:
        size = len(data)
        self._tally.bytes += size
        self._tally.bytes_read += size
        contents = self._contents
        if not size:
            self._pipeline.post(contents.whole, head, weight)
        elif size <= CHUNK_MIN_BYTES:
            self._pipeline.put((data,), size + weight, contents.whole, head)
        else:
            lengths = cut(data, final=True)
            head = head._replace(lengths=lengths)
            self._pipeline.put(_split(data, lengths), size + weight, contents.whole, head)

    def _large_file(self, fd: int, st: os.stat_result, head: Head) -> None:
        size = st.st_size
        self._pipeline.post(self._contents.begin, None)
        at = 0
        sparse = st.st_blocks * 512 < size
        while at < size:
            start, end = _data_range(fd, at, size) if sparse else (at, size)
            self._hole(start - at)
            at = start
            while at < end:
                at += self._window(fd, at, end)
        with SOURCE:
            more = os.pread(fd, 1, size)
            after = os.fstat(fd)
        if more or _differ(st, after):
            raise Unreadable(CHANGED)
        self._pipeline.post(self._contents.end, head, len(head.entry.extra))

    def _hole(self, length: int) -> None:
        if length:
            self._pipeline.post(self._contents.hole, length)
            self._tally.bytes += length

    def _window(self, fd: int, at: int, end: int) -> int:
        """Read from *at* towards *end*; return how many bytes were taken."""
        wanted = min(LARGE_BYTES, end - at)
        with SOURCE:
            if at + wanted < end:
                # The disk reads the next window while this one is cut.
                os.posix_fadvise(fd, at + wanted, LARGE_BYTES, os.POSIX_FADV_WILLNEED)
            data = os.pread(fd, wanted, at)
        if len(data) < wanted:
            raise Unreadable(CHANGED)
        # A tail whose end is not known yet is read again with the next window.
        return self._cut(data, final=at + wanted == end)

    def _extent(self, read: Read, length: int) -> None:
        """Take *length* bytes from a stream."""
        rest = b""
        while length:
            data = rest + read(min(LARGE_BYTES, length))
            length -= len(data) - len(rest)
            rest = data[self._cut(data, final=not length) :]

    def _cut(self, data: bytes, *, final: bool) -> int:
        lengths = cut(data, final=final)
        taken = sum(lengths)
        self._pipeline.put(_split(data, lengths), taken, self._contents.part, lengths)
        self._tally.bytes += taken
        self._tally.bytes_read += taken
        return taken


def _split(data: bytes, lengths: Sequence[int]) -> list[memoryview]:
    view = memoryview(data)
    pieces = []
    at = 0
    for length in lengths:
        pieces.append(view[at : at + length])
        at += length
    return pieces


def _differ(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_mtime_ns != after.st_mtime_ns
        or before.st_ctime_ns != after.st_ctime_ns
        or before.st_size != after.st_size
    )


def _data_range(fd: int, at: int, size: int) -> tuple[int, int]:
    """Return where the next data in a sparse file begins and ends; (size, size) for none."""
    with SOURCE:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return size, size
            raise
        if start >= size:
            return size, size
        return start, min(os.lseek(fd, start, os.SEEK_HOLE), size)
