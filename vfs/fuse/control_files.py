"""`.vfs` in the root of a branch: a directory to be found by who knows of it, and never listed.

Whoever has nothing but the mount, as a program in a container, reads there what the branch is, and
commits by writing a message. Inodes and handles here are numbers that no file of a branch has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vfs.errors import InvalidInput, IsADirectory, NotFound, NotPermitted

NAME: Final = b".vfs"
MESSAGE_MAX_BYTES: Final = 64 * 1024

_FIRST: Final = 1 << 60
_END: Final = 1 << 61


@dataclass(frozen=True, slots=True)
class ControlNode:
    """The directory, or a file in it."""

    ino: int
    mode: int


def owns(number: int) -> bool:
    """Say whether an inode or a handle is of here."""
    return _FIRST <= number < _END


Report = Callable[[], Awaitable[bytes]]


class ControlFiles:
    """The files of one mounted branch."""

    def __init__(
        self, reports: Mapping[bytes, Report], commit: Callable[[str], Awaitable[None]]
    ) -> None:
        """*reports* are read, each made anew when it is opened; a message is given to *commit*."""
        names = [b"commit", *reports]
        self._reports = {_FIRST + 1 + names.index(name): make for name, make in reports.items()}
        self._commit = commit
        self._inos = {name: _FIRST + 1 + index for index, name in enumerate(names)}
        self._texts: dict[int, bytes] = {}
        self._last_handle = _FIRST

    def lookup(self, parent: int, name: bytes) -> ControlNode:
        """Return what *name* in the root, or in the directory itself, stands for."""
        if parent != _FIRST or name == b".":
            return self.node(_FIRST)
        if name not in self._inos:
            raise NotFound(f"there is no {name!r}")
        return self.node(self._inos[name])

    def node(self, ino: int) -> ControlNode:
        """Return a node by its inode number."""
        if ino == _FIRST:
            return ControlNode(ino, stat.S_IFDIR | 0o555)
        return ControlNode(ino, stat.S_IFREG | (0o444 if ino in self._reports else 0o222))

    def names(self) -> list[tuple[bytes, ControlNode]]:
        """Return what is in the directory."""
        return [(name, self.node(ino)) for name, ino in sorted(self._inos.items())]

    async def open(self, ino: int, flags: int) -> int:
        """Open a file; return the handle."""
        if ino == _FIRST:
            raise IsADirectory("a directory is not opened as a file")
        report = self._reports.get(ino)
        if (report is None) != (flags & os.O_ACCMODE == os.O_WRONLY):
            raise NotPermitted("reports are read, and a message is written")
        text = b"" if report is None else await report()
        self._last_handle += 1
        self._texts[self._last_handle] = text
        return self._last_handle

    def read(self, handle: int, offset: int, length: int) -> bytes:
        """Return a part of a report."""
        return self._texts[handle][offset : offset + length]

    async def write(self, data: bytes) -> int:
        """Commit with the message *data*: one write is one commit."""
        if len(data) > MESSAGE_MAX_BYTES:
            raise InvalidInput(f"a message of more than {MESSAGE_MAX_BYTES} bytes")
        await self._commit(data.decode("utf-8", "replace").strip())
        return len(data)

    def release(self, handle: int) -> None:
        """Close a file."""
        self._texts.pop(handle, None)
