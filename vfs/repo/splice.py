"""Changing the content of a file in O(what changes). Knows no names, no inodes, no requests.

The new content is a row of runs: bytes of the old content, new bytes, zeros. Where a chunk ends
depends on its own bytes alone, so an old chunk stays if it begins at a cut, none of its bytes
changed, and its end is one still; whole nodes likewise. Else its bytes are cut again, together
with what is new beside them, until a cut falls on the end of an old chunk.

So the chunks are those that an import of the same bytes and holes would make. Only where
RESYNC_BYTES behind a change no cut falls on an old one (content like a gigabyte of one byte) is
a cut made that is none of the content's, or one changed byte could mean to store all behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import BlobNode, Span
from vfs.model.chunking import CHUNK_MIN_BYTES, cut
from vfs.repo.blobs import EMPTY, BlobBuilder, Content, FileReader
from vfs.store.objects import ObjectSink

__all__ = ["EMPTY", "SMALL_BYTES", "Content", "Piece", "add_small", "splice"]

SMALL_BYTES: Final = CHUNK_MIN_BYTES
"""A file up to this size is one chunk."""

RESYNC_BYTES: Final = 2 << 20
"""About half of all cuts fall on an old one, where any do: after 32 in a row it is hopeless."""

_WINDOW_BYTES: Final = 2 << 20
_BATCH_BYTES: Final = 1 << 20
_IN_FLIGHT_BYTES: Final = 16 << 20


class Piece(NamedTuple):
    """New bytes of a file."""

    offset: int
    data: bytes | bytearray | memoryview


def add_small(ingest: ObjectSink, files: Sequence[bytes | memoryview]) -> list[Content]:
    """Add whole files of at most SMALL_BYTES each; return their contents.

    For thousands of files: one call of `add_chunks`, which costs less than one for each of them.
    """
    ids = iter(ingest.add_chunks([data for data in files if data]))
    return [Content(next(ids), 0, len(data), 0) if data else EMPTY for data in files]


def splice(
    files: FileReader,
    ingest: ObjectSink,
    old: Content,
    visible: int,
    pieces: Iterable[Piece],
    size: int,
    *,
    pool: ThreadPoolExecutor | None = None,
) -> Content:
    """Return the content of *size* bytes that is *old*, its first *visible* bytes, under *pieces*.

    What neither holds is a hole. The pieces ascend, don't overlap, and end within *size*; they are
    taken one by one, and none is looked at again when the next one is asked for. *old* must be
    flushed; what is added need not be readable before the caller flushes *ingest*.

    Hashing and compressing happens in *pool*, if there is one (and this doesn't run in it), while
    this thread cuts. Takes about 30 MiB beside the pieces. Raises CorruptObject, and what
    `Ingest` raises.
    """
    kept = min(visible, size, old.size)
    output = _Output(ingest, pool)
    splicer = _Splicer(files, old, size, output)
    holes = _holes(files, old, kept)
    try:
        for run in _runs(kept, pieces, size):
            if run.data is not None:
                output.data(memoryview(run.data))
                if old.holes:
                    holes -= _holes_within(files, old, run.start, min(run.end, kept))
            elif run.start < kept:
                splicer.copy(run)
            else:
                output.hole(run.end - run.start)
                holes += run.end - run.start
        return output.finish()._replace(holes=max(holes, 0))
    finally:
        output.abandon()


class _Run(NamedTuple):
    """Consecutive bytes of the new content, of one sort."""

    start: int
    end: int
    data: bytes | bytearray | memoryview | None  # None: of the old content, or behind it a hole
    goes_on: bool = False  # whether data follow


def _runs(kept: int, pieces: Iterable[Piece], size: int) -> Iterator[_Run]:
    """Yield what the new content consists of: runs that begin before *kept* are old or new."""
    at = 0
    for offset, data in pieces:
        end = offset + len(data)
        if offset < at or end > size:
            raise ValueError(f"a piece of {len(data)} bytes at {offset}: behind {at}, of {size}")
        if offset < end:
            yield from _gap(at, offset, kept, goes_on=True)
            yield _Run(offset, end, data)
            at = end
    yield from _gap(at, size, kept, goes_on=False)


def _gap(start: int, end: int, kept: int, *, goes_on: bool) -> Iterator[_Run]:
    if start < min(end, kept):
        yield _Run(start, min(end, kept), None, goes_on and end <= kept)
    if max(start, kept) < end:
        yield _Run(max(start, kept), end, None)


def _holes(files: FileReader, old: Content, end: int) -> int:
    """Return the bytes in holes of *old* up to *end*, from the side that is nearer."""
    if not old.holes or end == old.size:
        return old.holes
    if end <= old.size - end:
        return _holes_within(files, old, 0, end)
    return old.holes - _holes_within(files, old, end, old.size)


def _holes_within(files: FileReader, old: Content, start: int, end: int) -> int:
    return sum(
        min(at + span.length, end) - max(at, start)
        for at, span in files.spans_within(old, start, end)
        if span.is_hole
    )


class _Splicer:
    """Takes runs of the old content over."""

    def __init__(self, files: FileReader, old: Content, size: int, output: _Output) -> None:
        self._files = files
        self._old = old
        self._same_end = old.size if old.size == size else -1
        self._output = output
        self._reread = 0  # bytes of this run that were cut again in a row
        self._chunk: tuple[ObjectId, bytes] | None = None  # many small pieces may be in one

    def copy(self, run: _Run) -> None:
        """Append a run of the old content."""
        self._reread = 0
        self._copy(self._files.root(self._old), 0, run)

    def _copy(self, node: BlobNode, at: int, run: _Run) -> None:
        """Append what *run* has of *node*, which begins *at*."""
        index = node.find(max(run.start - at, 0))
        at += node.ends[index] - node.spans[index].length
        while index < len(node.spans) and at < run.end:
            span = node.spans[index]
            if not node.level:
                self._copy_span(node, index, at, run)
            elif self._node_stays(at, at + span.length, run) and self._output.takes_node(
                node.level - 1
            ):
                self._output.keep_node(node.level - 1, span)
            else:
                self._copy(self._files.child(node, index), at, run)
            at += span.length
            index += 1

    def _copy_span(self, node: BlobNode, index: int, at: int, run: _Run) -> None:
        span = node.spans[index]
        start, end = max(at, run.start), min(at + span.length, run.end)
        if span.is_hole:
            self._output.hole(end - start)
        elif (
            end - start == span.length
            and self._end_stays(node, index, end, run)
            and self._is_at_cut()
        ):
            self._output.keep(span)
        else:
            data = memoryview(self._read(span))
            self._output.data(data[start - at : end - at])
            self._reread += end - start

    def _node_stays(self, start: int, end: int, run: _Run) -> bool:
        """Say whether the old node [start, end) is one of the new content if one can begin there.

        It is if what follows is of the same sort as it was, so that neither its last chunk nor
        its last hole goes on.
        """
        return (
            run.start <= start
            and (end < run.end or end == run.end == self._same_end)
            and self._is_at_cut()
        )

    @staticmethod
    def _end_stays(node: BlobNode, index: int, end: int, run: _Run) -> bool:
        """Say whether the old chunk at *index*, unchanged up to its *end*, ends there still.

        It does if its end was a cut of the content: if a chunk followed. Before a hole, or the
        end of the file, it need not have been one.
        """
        if end < run.end or not run.goes_on:
            return True
        return index + 1 < len(node.spans) and not node.spans[index + 1].is_hole

    def _is_at_cut(self) -> bool:
        if self._output.is_at_cut():
            return True
        if self._reread < RESYNC_BYTES:
            return False
        self._output.end_data()
        self._reread = 0
        return True

    def _read(self, span: Span) -> bytes:
        if self._chunk is None or self._chunk[0] != span.content:
            self._chunk = span.content, self._files.chunk(span.content, span.length)
        return self._chunk[1]


class _Batch:
    """Consecutive parts of the new content, of which the new chunks are added at once."""

    def __init__(self) -> None:
        self.parts: list[int | Span] = []  # the size of a new chunk; what is kept
        self.chunks: list[memoryview] = []
        self.runs: list[int] = []  # how many chunks stand side by side
        self.size = 0

    def add(self, chunk: memoryview) -> None:
        """Append a new chunk."""
        if self.parts and isinstance(self.parts[-1], int):
            self.runs[-1] += 1
        else:
            self.runs.append(1)
        self.parts.append(len(chunk))
        self.chunks.append(chunk)
        self.size += len(chunk)


class _Output:
    """Cuts new data, has the chunks added, and builds the blob in order."""

    def __init__(self, ingest: ObjectSink, pool: ThreadPoolExecutor | None) -> None:
        self._ingest = ingest
        self._pool = pool
        self._builder = BlobBuilder(ingest)
        self._open = bytearray()  # data since the last cut that is certain
        self._uncut = 0  # so many of them are known to have no cut
        self._batch = _Batch()
        self._added: deque[tuple[Future[list[ObjectId]], _Batch]] = deque()
        self._in_flight = 0

    def data(self, data: memoryview) -> None:
        """Append data, of which a copy is made."""
        for at in range(0, len(data), _WINDOW_BYTES):
            self._open += data[at : at + _WINDOW_BYTES]
            if len(self._open) >= _WINDOW_BYTES:
                self._cut()

    def is_at_cut(self) -> bool:
        """Say whether a chunk ends here, whatever follows."""
        if len(self._open) > self._uncut:
            self._cut()
        return not self._open

    def end_data(self) -> None:
        """End a chunk here, as no data follow."""
        if self._open:
            self._take(cut(self._open, final=True))

    def hole(self, length: int) -> None:
        """Append a hole."""
        self.end_data()
        self._append(Span(NO_CONTENT, length))

    def keep(self, chunk: Span) -> None:
        """Append an old chunk. `is_at_cut` must hold."""
        self._append(chunk)

    def takes_node(self, level: int) -> bool:
        """Say whether an old node of *level* can be appended as it is. `is_at_cut` must hold.

        Where nodes end depends on the ids of chunks: waits for those that are being added.
        """
        self._drain()
        return self._builder.takes_node(level)

    def keep_node(self, level: int, node: Span) -> None:
        """Append a whole old node (see `takes_node`)."""
        self._builder.add_node(level, node)

    def finish(self) -> Content:
        """Return the content; its holes are without those below the nodes that were kept."""
        self.end_data()
        self._drain()
        return self._builder.finish()

    def abandon(self) -> None:
        """Wait for what is being added: nothing may come when the ingest has ended."""
        futures = [future for future, _ in self._added if not future.cancel()]
        if futures:
            wait(futures)

    def _cut(self) -> None:
        """Cut off the chunks whose ends are certain: all that end before the data do.

        With one more byte, whichever, that is said of a cut at the end of the data, too.
        """
        self._open.append(0)
        *certain, last = cut(self._open, final=True)
        if certain:
            self._take(certain, last - 1)
        else:
            self._open.pop()
        self._uncut = len(self._open)

    def _take(self, lengths: list[int], rest: int = 0) -> None:
        """Take chunks of the open data, behind which *rest* bytes stay open."""
        data, self._open, self._uncut = memoryview(self._open), bytearray(), 0
        at = 0
        for length in lengths:
            self._batch.add(data[at : at + length])
            at += length
        self._open += data[at : at + rest]
        if self._batch.size >= _BATCH_BYTES:
            self._seal()

    def _append(self, kept: Span) -> None:
        if self._batch.parts or self._added:
            self._batch.parts.append(kept)
        else:
            self._place(kept)

    def _seal(self) -> None:
        """Have the chunks of the open batch added."""
        batch, self._batch = self._batch, _Batch()
        if self._pool is None:
            self._build(self._ingest.add_chunks(batch.chunks, batch.runs), batch)
            return
        future = self._pool.submit(self._ingest.add_chunks, batch.chunks, batch.runs)
        self._added.append((future, batch))
        self._in_flight += batch.size
        while self._in_flight > _IN_FLIGHT_BYTES:
            self._build_first()

    def _drain(self) -> None:
        """Build all that was appended so far."""
        if not self._batch.parts and not self._added:
            return
        batch, self._batch = self._batch, _Batch()
        # The last chunks, or the only ones, are not worth a change of threads.
        ids = self._ingest.add_chunks(batch.chunks, batch.runs) if batch.chunks else []
        while self._added:
            self._build_first()
        self._build(ids, batch)

    def _build_first(self) -> None:
        future, batch = self._added[0]
        ids = future.result()
        self._added.popleft()
        self._in_flight -= batch.size
        self._build(ids, batch)

    def _build(self, ids: Sequence[ObjectId], batch: _Batch) -> None:
        new = iter(ids)
        for part in batch.parts:
            if isinstance(part, Span):
                self._place(part)
            else:
                self._builder.add(next(new), part)

    def _place(self, kept: Span) -> None:
        if kept.is_hole:
            self._builder.hole(kept.length)
        else:
            self._builder.add(kept.content, kept.length)
