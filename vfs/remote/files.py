"""A bucket in a directory: a disk, or a network file system that several machines mount.

Not obstore's: that one syncs nothing, so a power cut could leave a reference to packs that are
gone.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vfs.errors import NotFound, RemoteProblem, RemoteUnavailable, VfsError
from vfs.remote.bucket import Item

_PARTIAL: Final = ".partial-"
"""Begins the names of files that are being written. A killed writer leaves one; nobody sees it."""

_TRANSIENT: Final = frozenset((errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EINTR, errno.EAGAIN))


class FileBucket:
    """The files below a directory. Made when something is written to it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str, *, most: int) -> bytes:
        with self._translated(name), (self._root / name).open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise RemoteProblem(f"'{name}' has more than {most:,} bytes")
        return data

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._translated(name), (self._root / name).open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, start)
            while len(data) < length:
                part = os.pread(file.fileno(), length - len(data), start + len(data))
                if not part:
                    raise RemoteProblem(f"'{name}' ends before byte {start + length:,}")
                data += part
        return data

    def put(self, name: str, data: bytes) -> bool:
        path = self._root / name
        with self._translated(name, missing=RemoteProblem):
            if path.exists():
                return False
            self._make_directory(path.parent)
            partial = path.parent / f"{_PARTIAL}{secrets.token_hex(8)}"
            try:
                with partial.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    # A hard link fails where there is something; a rename would replace it.
                    path.hardlink_to(partial)
                except FileExistsError:
                    return False
            finally:
                partial.unlink(missing_ok=True)
            _sync_directory(path.parent)
        return True

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        with self._translated(directory):
            names = sorted(self._names(self._root / directory, f"{directory}/"))
        for name in names:
            if name > after:
                try:
                    with self._translated(name):
                        found = (self._root / name).stat()
                except NotFound:
                    continue  # deleted since the directory was read
                yield Item(name, found.st_size, found.st_mtime_ns)

    def directories(self, directory: str) -> list[str]:
        with self._translated(directory):
            try:
                found = list(os.scandir(self._root / directory))
            except FileNotFoundError:
                return []
            return sorted(item.name for item in found if item.is_dir())

    def delete(self, name: str) -> None:
        path = self._root / name
        with self._translated(name):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_directory(path.parent)

    def sweep(self, before_ns: int) -> None:
        for directory, _, names in os.walk(self._root):
            for name in names:
                path = Path(directory, name)
                if not name.startswith(_PARTIAL):
                    continue
                with suppress(NotFound), self._translated(str(path.relative_to(self._root))):
                    if path.stat().st_mtime_ns < before_ns:
                        path.unlink()

    def close(self) -> None:
        """Hold nothing, so give up nothing."""

    def _names(self, path: Path, prefix: str) -> Iterator[str]:
        try:
            found = list(os.scandir(path))
        except FileNotFoundError:
            return
        for item in found:
            if item.is_dir():
                yield from self._names(path / item.name, f"{prefix}{item.name}/")
            elif not item.name.startswith(_PARTIAL):
                yield prefix + item.name

    def _make_directory(self, path: Path) -> None:
        """Make a directory and those above it, each of them durable."""
        if path.is_dir():
            return
        self._make_directory(path.parent)
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)

    @contextmanager
    def _translated(self, name: str, *, missing: type[VfsError] = NotFound) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise missing(f"{self._root / name}: no such file or directory") from None
        except OSError as error:
            problem = RemoteUnavailable if error.errno in _TRANSIENT else RemoteProblem
            raise problem(f"{self._root / name}: {error.strerror}") from error


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
