"""A remote in one plain file, for machines without a network. Bytes: docs/remote-format.md."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from vfs.errors import AlreadyExists, NotFound, RemoteProblem
from vfs.remote.bucket import Item

SUFFIX: Final = ".vfsbundle"
_MAGIC: Final = b"vfsbundl\x01"
_MEMBER: Final = struct.Struct("<HQ")  # bytes of the name, bytes of the object; 0, members: the end
_NAME_MAX: Final = 1024


class Bundle:
    """The objects in a bundle's file. Thread-safe."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open a bundle to read it. Raises RemoteProblem for a file that is none, or not whole."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise RemoteProblem(f"{path}: {error.strerror}") from error
        bundle = cls(path, file)
        try:
            bundle._scan()
        except BaseException:
            file.close()
            raise
        return bundle

    def get(self, name: str, *, most: int) -> bytes:
        _, size = self._place(name)
        if size > most:
            raise RemoteProblem(f"'{name}' has more than {most:,} bytes")
        return self.get_range(name, 0, size)

    def get_range(self, name: str, start: int, length: int) -> bytes:
        at, size = self._place(name)
        data = b""
        if start + length <= size:
            data = os.pread(self._file.fileno(), length, at + start)
        if len(data) != length:
            raise RemoteProblem(f"'{name}' ends before byte {start + length:,}")
        return data

    def put(self, name: str, data: bytes) -> bool:
        raise RemoteProblem(f"{self._path} can't be added to", hint="make another bundle")

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        for name in sorted(self._places):
            if name.startswith(f"{directory}/") and name > after:
                yield Item(name, self._places[name][1])

    def directories(self, directory: str) -> list[str]:
        below = (
            name.removeprefix(f"{directory}/")
            for name in self._places
            if name.startswith(f"{directory}/")
        )
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    def delete(self, name: str) -> None:
        raise RemoteProblem(f"nothing can be deleted from {self._path}", hint="make another bundle")

    def sweep(self, before_ns: int) -> None:
        """Do nothing: it is one file, which is there whole or not at all."""

    def close(self) -> None:
        self._file.close()

    def _place(self, name: str) -> tuple[int, int]:
        try:
            return self._places[name]
        except KeyError:
            raise NotFound(f"there is no '{name}' in {self._path}") from None

    def _scan(self) -> None:
        file = self._file
        whole = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise RemoteProblem(f"{self._path} is no bundle of vfs")
        while True:
            head = file.read(_MEMBER.size)
            if len(head) != _MEMBER.size:
                break
            name_bytes, size = _MEMBER.unpack(head)
            if name_bytes == 0:
                if size == len(self._places) and file.tell() == whole:
                    return
                break
            name = file.read(min(name_bytes, _NAME_MAX)).decode("ascii", "replace")
            at = file.tell()
            if at + size > whole:
                break
            self._places[name] = at, size
            file.seek(size, os.SEEK_CUR)
        raise RemoteProblem(
            f"the bundle {self._path} is not whole", hint="copy it again, or make it anew"
        )


class NewBundle(Bundle):
    """A bundle that is being written: it gets its name when it is whole. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Raises AlreadyExists, RemoteProblem."""
        if path.exists():
            raise AlreadyExists(f"{path} is there already", hint="name another file")
        self._partial = path.with_name(f".{path.name}.partial")
        try:
            file = self._partial.open("w+b")
        except OSError as error:
            raise RemoteProblem(f"{path}: {error.strerror}") from error
        super().__init__(path, file)
        self._lock = threading.Lock()
        self._is_done = False
        file.write(_MAGIC)

    def put(self, name: str, data: bytes) -> bool:
        raw = name.encode("ascii")
        with self._lock:
            if name in self._places:
                return False
            try:
                self._file.write(_MEMBER.pack(len(raw), len(data)) + raw)
                self._places[name] = self._file.tell(), len(data)
                self._file.write(data)
                self._file.flush()
            except OSError as error:
                raise RemoteProblem(f"{self._path}: {error.strerror}") from error
        return True

    def finish(self) -> None:
        """Make it whole, durable, and give it its name. Raises RemoteProblem."""
        try:
            self._file.write(_MEMBER.pack(0, len(self._places)))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.rename(self._path)
            self._is_done = True
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise RemoteProblem(f"{self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Close it; what is not finished goes."""
        super().close()
        if not self._is_done:
            self._partial.unlink(missing_ok=True)
