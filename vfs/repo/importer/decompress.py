"""Archives as a stream of plain bytes, whatever they are compressed with. Knows no tar."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from vfs.errors import InvalidInput
from vfs.store.compression import ZstdStream

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC_BYTES: Final = 6
BUFFER_BYTES: Final = 1 << 20
_XZ_MEMORY_MAX_BYTES: Final = 128 << 20  # `xz -9` needs 65 MiB

DAMAGED: Final = (EOFError, OSError, zlib.error, lzma.LZMAError, InvalidInput)
"""What reading a damaged or truncated compressed stream raises."""


class _Joined(io.RawIOBase):
    """Bytes that were read already, and the stream they come from."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._head:
            data, self._head = self._head[: len(view)], self._head[len(view) :]
        else:
            data = self._rest.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Xz(io.RawIOBase):
    """Decompresses xz with a bound on memory, which `lzma.open` does not have."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._new()

    def _new(self) -> None:
        self._decompressor = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_MAX_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while True:
            if self._decompressor.eof:
                # Streams may follow each other, as those of `xz -T`'s peers do.
                rest = self._decompressor.unused_data or self._source.read(BUFFER_BYTES)
                if not rest.strip(b"\0"):
                    return 0
                self._new()
                data = self._decompressor.decompress(rest, len(view))
            elif self._decompressor.needs_input:
                more = self._source.read(BUFFER_BYTES)
                if not more:
                    raise EOFError
                data = self._decompressor.decompress(more, len(view))
            else:
                data = self._decompressor.decompress(b"", len(view))
            if data:
                view[: len(data)] = data
                return len(data)


_FORMATS: Final[dict[bytes, Callable[[BinaryIO], io.IOBase]]] = {
    b"\x1f\x8b": lambda source: gzip.GzipFile(fileobj=source, mode="rb"),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": _Xz,
    b"\x28\xb5\x2f\xfd": ZstdStream,
}


def open_plain(source: BinaryIO) -> BinaryIO:
    """Return *source* decompressed, if it is compressed with gzip, bzip2, xz or zstd."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := source.read(MAGIC_BYTES - len(head))):
        head += more
    whole = io.BufferedReader(_Joined(head, source), BUFFER_BYTES)
    for magic, open_ in _FORMATS.items():
        if head.startswith(magic):
            return io.BufferedReader(cast("io.RawIOBase", open_(whole)), BUFFER_BYTES)
    return whole


class Exact:
    """Reads exact numbers of bytes from a stream; `position` counts them."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self.position = 0

    def read(self, length: int) -> bytes:
        """Return *length* bytes. Raises InvalidInput when the stream ends or is damaged before."""
        data = self.read_up_to(length)
        if len(data) < length:
            raise InvalidInput(f"{self._name} is truncated: it ends after {self.position:,} bytes")
        return data

    def read_up_to(self, length: int) -> bytes:
        """Return *length* bytes, fewer only at the end."""
        try:
            data = self._stream.read(length)
            while len(data) < length and (more := self._stream.read(length - len(data))):
                data += more
        except DAMAGED as error:
            why = str(error) or "it ends too early"
            raise InvalidInput(f"{self._name} is damaged or truncated: {why}") from error
        self.position += len(data)
        return data

    def skip(self, length: int) -> None:
        """Read *length* bytes and drop them."""
        while length:
            length -= len(self.read(min(length, BUFFER_BYTES)))
