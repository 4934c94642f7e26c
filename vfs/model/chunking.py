"""Where a file is cut into chunks. The cuts are no part of the format: any list of chunks is valid.

FastCDC, by the `fastcdc` package: an insertion moves the cuts near it and no others.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

CHUNK_MIN_BYTES: Final = 16 * 1024
CHUNK_AVG_BYTES: Final = 64 * 1024
CHUNK_MAX_BYTES: Final = 256 * 1024


@cache
def _chunker() -> Callable[..., Iterator[Any]]:
    # Imported late: the package pulls in a command line of its own (27 ms).
    import fastcdc  # noqa: PLC0415

    chunker: Callable[..., Iterator[Any]] = fastcdc.fastcdc
    return chunker


def cut(data: bytes | bytearray | memoryview, *, final: bool) -> list[int]:
    """Return the lengths of the chunks at the front of *data*.

    Unless *final*, the last of them is left out when more data could move its end.
    """
    if len(data) <= CHUNK_MIN_BYTES:
        return [len(data)] if final and data else []
    lengths = [
        chunk.length
        for chunk in _chunker()(data, CHUNK_MIN_BYTES, CHUNK_AVG_BYTES, CHUNK_MAX_BYTES)
    ]
    if not final:
        # A cut is certain when a whole maximal chunk was there to look at.
        left = len(data)
        for index, length in enumerate(lengths):
            if left < CHUNK_MAX_BYTES:
                return lengths[:index]
            left -= length
    return lengths
