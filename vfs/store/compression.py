"""zstd, one context a thread, with the size known before memory is taken."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from vfs.errors import CorruptObject

LEVEL: Final = 3
_WORTH_IT: Final = 0.97  # above this share of the raw size, raw is read faster for no loss


class _Contexts(threading.local):
    """zstandard's contexts must not be shared between threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts: Final = _Contexts()


def compress(data: bytes | bytearray | memoryview) -> bytes | None:
    """Return *data* compressed, or None where that saves nothing. Releases the GIL."""
    packed = _contexts.compressor.compress(data)
    return packed if len(packed) < len(data) * _WORTH_IT else None


def decompress(data: memoryview, size: int) -> bytes:
    """Return the *size* bytes that *data* holds. Raises CorruptObject."""
    try:
        # The frame says for how many bytes zstandard takes memory: believe it only if it is right.
        if zstandard.frame_content_size(data) != size:
            raise CorruptObject("a compressed object is not of the size it should be")
        return _contexts.decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise CorruptObject(f"a compressed object can't be decompressed: {error}") from None
