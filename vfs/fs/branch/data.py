"""What was written to a file and is not stored yet: runs of bytes over what lies below."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

Data = bytes | memoryview

NO_CUT: Final = 1 << 63
"""Past the end of any file."""


class Runs:
    """Bytes at offsets: sorted, disjoint, the last write wins."""

    __slots__ = ("_data", "_starts", "size")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._data: list[Data] = []
        self.size = 0  # bytes in all runs

    def __iter__(self) -> Iterator[tuple[int, Data]]:
        return zip(self._starts, self._data, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def write(self, offset: int, data: Data) -> None:
        """Put *data* at *offset*."""
        if not data:
            return
        if not self._starts or offset >= self._starts[-1] + len(self._data[-1]):
            self._starts.append(offset)
            self._data.append(data)
            self.size += len(data)
            return
        self._replace(offset, offset + len(data), [(offset, data)])

    def cut(self, size: int) -> None:
        """Drop what lies at or behind *size*."""
        self._replace(size, NO_CUT, [])

    def pages(self, size: int) -> Iterator[int]:
        """Yield the numbers of the pages of *size* bytes that there are bytes in, ascending."""
        done = -1
        for offset, data in self:
            last = (offset + len(data) - 1) // size
            yield from range(max(offset // size, done + 1), last + 1)
            done = last

    def within(self, start: int, end: int) -> Iterator[tuple[int, Data]]:
        """Yield the runs, cut to the range, that lie in it."""
        for index in range(self._first(start), len(self._starts)):
            at, data = self._starts[index], self._data[index]
            if at >= end:
                return
            skip, stop = max(start - at, 0), min(end - at, len(data))
            if skip or stop < len(data):
                yield at + skip, memoryview(data)[skip:stop]
            else:
                yield at, data

    def _first(self, offset: int) -> int:
        """Return the index of the first run that ends behind *offset*."""
        index = bisect_right(self._starts, offset)
        if index and self._starts[index - 1] + len(self._data[index - 1]) > offset:
            return index - 1
        return index

    def _replace(self, start: int, end: int, new: list[tuple[int, Data]]) -> None:
        first = self._first(start)
        last = bisect_left(self._starts, end, first)
        if first < last:
            at, data = self._starts[first], self._data[first]
            if at < start:
                new = [(at, _part(data, 0, start - at)), *new]
            at, data = self._starts[last - 1], self._data[last - 1]
            if at + len(data) > end:
                new = [*new, (end, _part(data, end - at, len(data)))]
        self.size += sum(len(data) for _, data in new)
        self.size -= sum(len(data) for data in self._data[first:last])
        self._starts[first:last] = [at for at, _ in new]
        self._data[first:last] = [data for _, data in new]


def _part(data: Data, start: int, stop: int) -> Data:
    """Return a part of *data*; a small one is copied, or it would hold all of it in memory."""
    part = memoryview(data)[start:stop]
    return part if 2 * len(part) >= len(data) else bytes(part)


class FileLayer:
    """The changes of one file's content in one layer: what was written, and how far below counts.

    What lies below the layer is to be seen up to `visible` only: behind it, the file was truncated
    at some time, and reads as zeros where nothing was written since.
    """

    __slots__ = ("runs", "visible")

    def __init__(self) -> None:
        self.runs = Runs()
        self.visible = NO_CUT

    def is_empty(self) -> bool:
        """Say whether it changes nothing of what lies below."""
        return not self.runs and self.visible == NO_CUT

    def truncate(self, size: int) -> None:
        """Cut all that lies behind *size*, here and below."""
        self.runs.cut(size)
        self.visible = min(self.visible, size)

    def put_under(self, above: FileLayer) -> None:
        """Make *above*, a later layer, the sum of both."""
        if above.visible < NO_CUT:
            self.truncate(above.visible)
        for offset, data in above.runs:
            self.runs.write(offset, data)
        above.runs, above.visible = self.runs, self.visible
