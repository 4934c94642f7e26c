"""Segments of chunks that came from a remote, on their way into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.store.ingest import SEGMENT_OBJECTS
from vfs.store.layout import Kind
from vfs.store.packing import Segment
from vfs.store.whole import is_whole

if TYPE_CHECKING:
    from vfs.remote.objects import Arrived
    from vfs.store.ingest import Ingest


def keep(ingest: Ingest, came: Arrived) -> None:
    """Store what came of a segment of chunks: as it is, where that is all of it. For any thread."""
    # A frame that saves nothing is not worth a place here, and could be made to hide bytes.
    is_worth_it = not came.compressed or len(came.stored) < len(came.raw)
    # An earlier vfs put tens of thousands of small chunks into one segment.
    is_small = len(came.parts) <= SEGMENT_OBJECTS
    if is_worth_it and is_small and is_whole(came.parts, len(came.raw)):
        sizes = [(part.oid, part.size) for part in came.parts]
        segment = Segment(Kind.CHUNK, sizes, len(came.raw), came.stored, came.compressed, None)
        ingest.add_segment(segment, came.raw)
    else:
        chunks = [came.raw[at : at + size] for at, size, _ in came.parts]
        ingest.add_chunks(chunks, [len(chunks)])
