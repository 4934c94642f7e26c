"""Which parts of files are going to be read, for what has to be fetched from far away.

A worker of a mount sees only some of the requests for a file, as the others take theirs. So what
was read before is not remembered, but looked for: where the bytes before a request are here, it
goes on with what somebody has read. The further back they are here, the further it looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from vfs.ids import ObjectId
from vfs.model.entry import FLAG_BLOB
from vfs.recent import Recent

if TYPE_CHECKING:
    from vfs.repo.blobs import File, FileReader
    from vfs.store.objects import Supply

AHEAD_MIN_BYTES: Final = 4 << 20
AHEAD_MAX_BYTES: Final = 96 << 20
"""At 400 MB/s, what comes within 0.25 s: a request, the transaction under way, and the next one."""

_STEP_BYTES: Final = 2 << 20  # so much further on at least, or it is not worth a look
_PART: Final = 4
"""What was read before is so small a part of it: of a line of 50 ms each step takes 0.1 s."""

_FILES: Final = 100


class LookAhead:
    """What is to be expected of the files of a store. For one thread."""

    def __init__(self, files: FileReader, supply: Supply, has: Callable[[ObjectId], bool]) -> None:
        self._files = files
        self._supply = supply
        self._has = has
        self._ends: Recent[ObjectId, int] = Recent(_FILES)  # up to where all is expected

    def note(self, file: File, offset: int, length: int) -> None:
        """Expect what follows a request, if it goes on with what was read.

        Raises CorruptObject, NotHere.
        """
        if not file.flags & FLAG_BLOB:
            return
        end = offset + length
        known = self._ends.get(file.content) if offset else None
        start = max(end, known or 0)
        if start >= min(file.size, end + AHEAD_MAX_BYTES - _STEP_BYTES):
            return
        target = min(file.size, end + self._distance(file, offset))
        if start < target:
            expected = [
                span.content
                for _, span in self._files.spans_within(file, start, target)
                if not span.is_hole
            ]
            self._ends.put(file.content, target)
            self._supply.expect(expected)

    def _distance(self, file: File, offset: int) -> int:
        """Return how many bytes to look ahead: some times what was read before, within bounds."""
        ahead = AHEAD_MIN_BYTES
        if offset and not self._is_here(file, offset - 1):
            return 0
        while ahead < min(offset * _PART, AHEAD_MAX_BYTES) and self._is_here(
            file, offset - ahead // _PART
        ):
            ahead *= 2
        return ahead

    def _is_here(self, file: File, offset: int) -> bool:
        spans = self._files.spans_within(file, offset, offset + 1)
        return all(span.is_hole or self._has(span.content) for _, span in spans)
