"""A bucket whose owner reads nothing of it, and changes nothing unseen: encrypted on this side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from vfs.errors import CorruptObject, NotFound, RemoteProblem
from vfs.recent import Recent
from vfs.remote.bucket import READS, Bucket, Item
from vfs.remote.sealing import (
    BLOCK_BYTES,
    HEAD_BYTES,
    TAG_BYTES,
    Names,
    Opened,
    Sealer,
    is_number,
    padded_size,
    sealed_size,
)
from vfs.remote.secrets import MasterKey

T = TypeVar("T")


_HEADS: Final = 4096  # kept: a range of an object then takes one request, not two


class SealedBucket:
    """Another bucket, with names and contents encrypted. Thread-safe.

    What was changed there in any way, or is another object's, raises RemoteProblem.
    """

    def __init__(self, bucket: Bucket, master: MasterKey) -> None:
        self.master = master
        self._bucket = bucket
        self._names = Names(master)
        self._sealer = Sealer(master)
        self._lock = threading.Lock()
        self._heads: Recent[str, Opened] = Recent(_HEADS)

    def get(self, name: str, *, most: int) -> bytes:
        sealed = self._names.object(name)

        def read() -> bytes:
            data = self._bucket.get(sealed, most=sealed_size(most))
            return self._sealer.open(name, data)

        data = self._read(name, sealed, read)
        if len(data) > most:
            raise RemoteProblem(f"'{name}' has more than {most:,} bytes")
        return data

    def get_range(self, name: str, start: int, length: int) -> bytes:
        sealed = self._names.object(name)
        return self._read(name, sealed, lambda: self._range(name, sealed, start, length))

    def put(self, name: str, data: bytes) -> bool:
        return self._bucket.put(self._names.object(name), self._sealer.seal(name, data))

    def delete(self, name: str) -> None:
        self._bucket.delete(self._names.object(name))

    def sweep(self, before_ns: int) -> None:
        self._bucket.sweep(before_ns)

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        """Yield what there is; sizes are those in the bucket, with what pads the objects."""
        parent, _, last = after.rpartition("/")
        # Only numbers are in the same order there as here.
        from_there = self._names.object(after) if parent == directory and is_number(last) else ""
        found = []
        for item in self._bucket.items(self._names.directory(directory), from_there):
            name = self._names.opened(item.name)
            if name is not None and name > after:
                found.append(item._replace(name=name))
        yield from sorted(found)

    def directories(self, directory: str) -> list[str]:
        found = self._bucket.directories(self._names.directory(directory))
        names = (one if is_number(one) else self._names.part(one, directory) for one in found)
        return sorted(name for name in names if name is not None)

    def close(self) -> None:
        self._bucket.close()

    def _range(self, name: str, sealed: str, start: int, length: int) -> bytes:
        head = self._head(name, sealed)
        if start + length > head.size:
            raise RemoteProblem(f"'{name}' ends before byte {start + length:,}")
        if length == 0:
            return b""
        first, beyond = start // BLOCK_BYTES, -(-(start + length) // BLOCK_BYTES)
        end = min(beyond * BLOCK_BYTES, padded_size(head.size)) + beyond * TAG_BYTES
        begin = first * (BLOCK_BYTES + TAG_BYTES)
        data = self._bucket.get_range(sealed, HEAD_BYTES + begin, end - begin)
        at = start - first * BLOCK_BYTES
        return head.blocks(first, data)[at : at + length]

    def _head(self, name: str, sealed: str) -> Opened:
        with self._lock:
            head = self._heads.get(name)
        if head is None:
            head = self._sealer.head(name, bytes(self._bucket.get_range(sealed, 0, HEAD_BYTES)))
            with self._lock:
                self._heads.put(name, head)
        return head

    def _read(self, name: str, sealed: str, read: Callable[[], T]) -> T:
        """Return what *read* does, which may have to be done anew. Raises RemoteProblem."""
        for _ in range(READS):
            try:
                return read()
            except CorruptObject:
                with self._lock:  # another one may have been written since the head was read
                    self._heads = Recent(_HEADS)
            except NotFound:
                raise NotFound(f"there is no '{name}' on the remote") from None
        raise RemoteProblem(
            f"'{name}' on the remote was damaged or changed: the remote's key does not open it",
            hint=f"its name there is '{sealed}'",
        )
