r"""The lines that `vfs log --graph` draws beside versions. Knows what follows what, and no more.

Each version that is still to come has a lane. A row moves lanes by one place at most:

    *    a version with two parents
    |\   its second parent gets a lane of its own
    | *
    |/   both lanes wait for the same version, and become one
    *
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


class Graph:
    """Draws versions that come children first."""

    def __init__(self) -> None:
        self._lanes: list[Hashable] = []
        self._told: set[Hashable] = set()

    def rows(self, version: Hashable, parents: Sequence[Hashable], *, shown: bool) -> list[str]:
        """Return the rows of the next version: its own, if *shown*, and those that move lanes.

        Beside more lines of text belongs `padding`.
        """
        if version not in self._lanes:
            self._lanes.append(version)
        at = self._lanes.index(version)
        self._told.add(version)
        rows = []
        if shown:
            rows.append(" ".join("*" if lane == at else "|" for lane in range(len(self._lanes))))
        # One that was told before its child, by a clock that was wrong, does not come again.
        rows += self._replace(at, [parent for parent in parents if parent not in self._told])
        rows += self._join()
        return [row.rstrip() for row in rows]

    def padding(self) -> str:
        """Return what stands beside a line that belongs to the version before."""
        return " ".join("|" * len(self._lanes))

    def _replace(self, at: int, parents: list[Hashable]) -> list[str]:
        """Put a version's parents in its place."""
        if not parents:
            del self._lanes[at]
            return [_shift_left(at, len(self._lanes))] if at < len(self._lanes) else []
        self._lanes[at] = parents[0]
        rows = []
        for parent in reversed(parents[1:]):
            self._lanes.insert(at + 1, parent)
            rows.append(" ".join("|" * (at + 1)) + "\\" + " \\" * (len(self._lanes) - at - 2))
        return rows

    def _join(self) -> list[str]:
        """Make one lane of all that wait for the same version."""
        rows = []
        for lane in range(len(self._lanes) - 1, 0, -1):
            first = self._lanes.index(self._lanes[lane])
            if first < lane:
                del self._lanes[lane]
                rows.append(_joining(first, lane, len(self._lanes)))
        return rows


def _shift_left(lane: int, count: int) -> str:
    """Return the row in which the lanes behind *lane*, which ended, move up; *count* are left."""
    return "| " * lane + " /" * (count - lane)


def _joining(first: int, lane: int, count: int) -> str:
    """Return the row in which *lane* runs into *first*, left of it; *count* are left."""
    between = "|_" * (lane - first - 1)
    return "| " * first + between + "|/" + " /" * (count - lane)
