"""Where two lines of versions parted: the best of the versions that both were made from.

Knows the graph alone. A commit is later than its parents, so going back by time is enough.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit

_OURS: Final = 1
_THEIRS: Final = 2
_BOTH: Final = _OURS | _THEIRS
_OLDER: Final = 4  # an ancestor of a base


def merge_bases(
    commit: Callable[[ObjectId], Commit], ours: Iterable[ObjectId], theirs: ObjectId
) -> list[ObjectId]:
    """Return the common ancestors that no other common ancestor has, the newest first.

    *commit* reads one; *ours* are the versions that one side was made from, itself as a rule. A
    version is an ancestor of itself. Reads what is not older than the bases.
    """
    marks: dict[ObjectId, int] = {}
    records: dict[ObjectId, Commit] = {}
    waiting: list[tuple[int, ObjectId]] = []
    undecided = 0  # in `waiting`, and not known to be older than a base

    def mark(oid: ObjectId, bits: int) -> None:
        nonlocal undecided
        before = marks.get(oid)
        if before is None:
            records[oid] = commit(oid)
            heapq.heappush(waiting, (-records[oid].time_ns, oid))
            undecided += not bits & _OLDER
        else:
            undecided -= not before & _OLDER and bool(bits & _OLDER)
        marks[oid] = bits | (before or 0)

    for oid in ours:
        mark(oid, _OURS)
    mark(theirs, _THEIRS)
    found = []
    while undecided:
        _, oid = heapq.heappop(waiting)
        bits = marks[oid]
        undecided -= not bits & _OLDER
        if bits == _BOTH:
            found.append(oid)
            bits |= _OLDER
        for parent in records.pop(oid).parents:
            mark(parent, bits)
    return [oid for oid in found if not marks[oid] & _OLDER]
