"""Segments that travel as they are stored: found whole, verified, never compressed again.

A segment can travel where all that it holds is wanted. What is wanted comes object by object, so
objects are gathered by segment until the sizes of those that are there add up to it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from vfs.errors import CorruptObject
from vfs.ids import ObjectId, object_id
from vfs.store.compression import decompress

Where = TypeVar("Where", bound=Hashable)


class Part(NamedTuple):
    """An object in a segment."""

    offset: int  # before compression
    size: int
    oid: ObjectId


class Gathering(Generic[Where]):
    """Wanted objects by the segment that they are in, until one is complete. For one thread."""

    def __init__(self) -> None:
        self._parts: dict[Where, list[Part]] = {}
        self._left: dict[Where, int] = {}  # bytes of which nobody has told yet

    def add(self, where: Where, raw: int, part: Part) -> list[Part] | None:
        """Take an object of a segment of *raw* bytes; never one twice.

        Returns all parts, in their order, when they are the whole segment.
        """
        parts = self._parts.setdefault(where, [])
        parts.append(part)
        left = self._left[where] = self._left.get(where, raw) - part.size
        if left > 0:
            return None
        del self._left[where]
        return sorted(self._parts.pop(where))

    def rest(self) -> Iterator[tuple[Where, list[Part]]]:
        """Yield and forget the segments of which a part is wanted only."""
        parts, self._parts = self._parts, {}
        self._left.clear()
        for where, some in parts.items():
            yield where, sorted(some)


def is_whole(parts: Sequence[Part], raw: int) -> bool:
    """Say whether *parts* are all of a segment of *raw* bytes, one behind the other."""
    return (
        parts[0].offset == 0
        and all(one.offset + one.size == other.offset for one, other in pairwise(parts))
        and parts[-1].offset + parts[-1].size == raw
    )


def verified(
    stored: bytes | memoryview, parts: Sequence[Part], *, raw: int, compressed: bool
) -> bytes | memoryview:
    """Return a segment before compression, all of *parts* being what their ids say.

    Of one that is not compressed it is *stored* itself. Raises CorruptObject, also for bytes behind
    the end of a compressed one.
    """
    data = decompress(stored, raw, exact=True) if compressed else stored
    view = memoryview(data)
    for offset, size, oid in parts:
        if object_id(view[offset : offset + size]) != oid:
            raise CorruptObject(f"the object {oid.hex()} is not what its id says")
    return data
