"""zstd, one context a thread, with the size known before memory is taken."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import BinaryIO, Final

import zstandard

from vfs.errors import CorruptObject, InvalidInput

LEVEL: Final = 3
STREAM_WINDOW_MAX_BYTES: Final = 128 << 20  # what `zstd -d` takes without being asked
_WORTH_IT: Final = 0.97  # above this share of the raw size, raw is read faster for no loss
_MANY: Final = 16
"""So many items are compressed in one call. It makes a context of its own, whose page faults take a
third as long as compressing five segments."""


class _Contexts(threading.local):
    """zstandard's contexts must not be shared between threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts: Final = _Contexts()


def compress_all(items: Sequence[bytes | bytearray | memoryview]) -> list[bytes | None]:
    """Return each of *items* compressed, or None where that saves nothing.

    Gives up the GIL once for many, not once for each: it has to be waited for afterwards.
    """
    if len(items) < _MANY:
        packed = [_contexts.compressor.compress(item) for item in items]
    else:
        results = _contexts.compressor.multi_compress_to_buffer(list(items))
        packed = [results[index].tobytes() for index in range(len(items))]
    return [
        body if len(body) < len(item) * _WORTH_IT else None
        for item, body in zip(items, packed, strict=True)
    ]


def decompress(data: bytes | memoryview, size: int, *, exact: bool = False) -> bytes:
    """Return the *size* bytes that *data* holds, with *exact* and nothing behind them.

    Raises CorruptObject.
    """
    try:
        # The frame says for how many bytes zstandard takes memory: believe it only if it is right.
        if zstandard.frame_content_size(data) != size:
            raise CorruptObject("a compressed object is not of the size it should be")
        return _contexts.decompressor.decompress(data, allow_extra_data=not exact)
    except zstandard.ZstdError as error:
        raise CorruptObject(f"a compressed object can't be decompressed: {error}") from None


class ZstdStream(io.RawIOBase):
    """A zstd file from outside, decompressed, with a bound on memory."""

    def __init__(self, source: BinaryIO) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=STREAM_WINDOW_MAX_BYTES)
        self._reader = decompressor.stream_reader(source, read_across_frames=True, closefd=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        """Fill *buffer*. Raises InvalidInput when the stream is damaged."""
        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            raise InvalidInput(str(error)) from error
