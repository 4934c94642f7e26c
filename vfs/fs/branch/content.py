"""What a file of a branch holds: layers over small stored patches over an immutable content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.fs.branch.data import Data, FileLayer
from vfs.model.overlay import PATCH_BYTES, InodeRow
from vfs.repo.splice import Content

if TYPE_CHECKING:
    from vfs.repo.blobs import FileReader
    from vfs.store.overlayrows import OverlayRows

Range = tuple[int, int]


def stored_content(row: InodeRow) -> Content:
    """Return the content below the patches of a file."""
    return Content(row.content, row.flags, row.content_bytes, row.holes)


class ReadPlan(NamedTuple):
    """A range of a file at one moment: what is at hand, and what is to be read from the store.

    Contents in the store never change, so they can be read later, and in another thread.
    """

    start: int
    end: int
    at_hand: list[tuple[int, Data]]
    to_read: list[Range]
    content: Content

    @property
    def bytes_to_read(self) -> int:
        """Return how much has to come from the store."""
        return sum(end - start for start, end in self.to_read)

    def read(self, files: FileReader) -> bytes:
        """Return the bytes; *files* belongs to the thread that calls. Raises CorruptObject."""
        start, end = self.start, self.end
        if self.to_read == [(start, end)]:
            return files.read(self.content, start, end - start)
        if not self.to_read and len(self.at_hand) == 1 and len(self.at_hand[0][1]) == end - start:
            return bytes(self.at_hand[0][1])
        filled = bytearray(end - start)
        for at, stop in self.to_read:
            filled[at - start : stop - start] = files.read(self.content, at, stop - at)
        for at, data in self.at_hand:
            filled[at - start : at - start + len(data)] = data
        return bytes(filled)


def plan_read(
    rows: OverlayRows, ino: int, row: InodeRow, layers: Iterable[FileLayer], start: int, end: int
) -> ReadPlan:
    """Return how to read a range of a file; *layers* are its newest first, *end* <= its size."""
    at_hand: list[tuple[int, Data]] = []
    gaps = [(start, end)]
    for layer in layers:
        gaps = list(_below(layer, gaps, at_hand))
    if row.patches:
        gaps = list(_below_patches(rows, ino, gaps, at_hand))
    to_read = [(at, min(stop, row.visible)) for at, stop in gaps if at < row.visible]
    return ReadPlan(start, end, at_hand, to_read, stored_content(row))


def _below(layer: FileLayer, gaps: list[Range], at_hand: list[tuple[int, Data]]) -> Iterator[Range]:
    for start, end in gaps:
        at = start
        for offset, data in layer.runs.within(start, end):
            yield from _seen(at, offset, layer.visible)
            at_hand.append((offset, data))
            at = offset + len(data)
        yield from _seen(at, end, layer.visible)


def _seen(start: int, end: int, visible: int) -> Iterator[Range]:
    if start < min(end, visible):
        yield start, min(end, visible)


def _below_patches(
    rows: OverlayRows, ino: int, gaps: list[Range], at_hand: list[tuple[int, Data]]
) -> Iterator[Range]:
    for start, end in gaps:
        at = start
        pages = rows.patches(ino, start // PATCH_BYTES, (end - 1) // PATCH_BYTES)
        for page in sorted(pages):
            first = max(start, page * PATCH_BYTES)
            last = min(end, (page + 1) * PATCH_BYTES)
            if at < first:
                yield at, first
            skip = first - page * PATCH_BYTES
            at_hand.append((first, pages[page][skip : skip + last - first]))
            at = last
        if at < end:
            yield at, end
