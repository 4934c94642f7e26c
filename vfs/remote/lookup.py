"""Which of many indexes may have an object, without asking each of them. Knows no bucket."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from vfs.ids import ObjectId
from vfs.remote.layout import PackId, PackIndex

_NUMBER_BITS: Final = 24
"""40 bits of an id are left: of 10^8 objects one miss in 10^4 asks an index."""

RUN_OBJECTS: Final = 1 << 19
"""A run of so many is merged no more: merging takes some 40 bytes for each, for a moment."""

_NUMBER_MASK: Final = (1 << _NUMBER_BITS) - 1


class Lookup:
    """Sorted runs of the beginnings of ids, each with the number of its index: 8 bytes an object.

    Each run is more than twice as long as the next, or has RUN_OBJECTS: there are some 20 of them,
    and one for each million of objects. For one thread; `candidates` for any, beside that one: what
    it reads is replaced, or only grows at its end.
    """

    def __init__(self) -> None:
        """Begin with no index."""
        self._numbers: dict[PackId, int] = {}
        self._state: tuple[list[PackIndex | None], tuple[array[int], ...]] = ([], ())

    def add(self, indexes: Iterable[PackIndex]) -> None:
        """Take indexes; many at once cost less. One of a pack that is there replaces it."""
        new = {index.pack: index for index in indexes}
        for pack in new:
            self.remove(pack)
        slots, runs = self._state
        fresh: list[int] = []
        for index in new.values():
            number = self._numbers[index.pack] = len(slots)
            slots.append(index)
            fresh += [start & ~_NUMBER_MASK | number for start in index.starts()]
            if len(fresh) >= RUN_OBJECTS:
                runs, fresh = _merged(runs, fresh), []
        self._state = slots, _merged(runs, fresh)

    def remove(self, pack: PackId) -> None:
        """Forget the index of a pack, if there is one."""
        number = self._numbers.pop(pack, None)
        if number is None:
            return
        slots, _ = self._state
        slots[number] = None
        if len(slots) > 2 * len(self._numbers) + 64:
            self._rebuild([index for index in slots if index is not None])

    def candidates(self, oid: ObjectId) -> Iterator[PackIndex]:
        """Yield the indexes that may have an object: all that do, seldom another or one twice."""
        slots, runs = self._state
        low = int.from_bytes(oid[:8], "big") & ~_NUMBER_MASK
        for run in runs:
            for at in range(bisect_left(run, low), len(run)):
                if run[at] & ~_NUMBER_MASK != low:
                    break
                index = slots[run[at] & _NUMBER_MASK]
                if index is not None:
                    yield index

    def _rebuild(self, indexes: list[PackIndex]) -> None:
        other = Lookup()
        other.add(indexes)
        self._numbers, self._state = other._numbers, other._state


def _merged(runs: tuple[array[int], ...], fresh: list[int]) -> tuple[array[int], ...]:
    """Return *runs* with one more, of *fresh* and of the runs at the end that are no longer."""
    if not fresh:
        return runs
    fresh.sort()  # of what is sorted in parts this is a merge
    while runs and len(runs[-1]) <= min(2 * len(fresh), RUN_OBJECTS):
        fresh += runs[-1]
        fresh.sort()
        runs = runs[:-1]
    return *runs, array("Q", fresh)
