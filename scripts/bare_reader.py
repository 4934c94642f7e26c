"""The floor of pyfuse3: names and sizes of a directory, and bytes that are made up.

Served by two processes. A peer of the bench.

    python scripts/bare_reader.py SOURCE MOUNTPOINT
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

WORKERS: Final = 2
TIMEOUT_SECONDS: Final = 1e9
BYTES: Final = bytes(1024 * 1024)


class Made(pyfuse3.Operations):
    """The handlers that reading needs; all answers are ready before the first request."""

    supports_dot_lookup = False
    enable_acl = False
    enable_writeback_cache = False

    def __init__(self, source: Path) -> None:
        super().__init__()
        self.initialised = trio.CancelScope()
        self._attributes: dict[int, EntryAttributes] = {}
        self._names: dict[int, dict[bytes, int]] = {}
        self._add(source)

    def init(self) -> None:
        self.initialised.cancel()

    def _add(self, path: Path) -> int:
        found = path.lstat()
        entry = EntryAttributes()
        ino = entry.st_ino = len(self._attributes) + pyfuse3.ROOT_INODE
        entry.st_mode, entry.st_size, entry.st_nlink = found.st_mode, found.st_size, 1
        entry.entry_timeout = entry.attr_timeout = TIMEOUT_SECONDS
        self._attributes[ino] = entry
        if path.is_dir():
            self._names[ino] = {}
            for child in sorted(path.iterdir()):
                self._names[ino][os.fsencode(child.name)] = self._add(child)
        return ino

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        ino = self._names[parent_inode].get(name)
        if ino is None:
            raise FUSEError(errno.ENOENT)
        return self._attributes[ino]

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._attributes[inode]

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        names = list(self._names[fh].items())
        for at, (name, ino) in enumerate(names[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._attributes[ino], at):
                return

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        return FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return BYTES[: min(size, self._attributes[fh].st_size - off)]

    async def flush(self, fh: int) -> None:
        raise FUSEError(errno.ENOSYS)

    async def release(self, fh: int) -> None:
        pass

    async def releasedir(self, fh: int) -> None:
        pass


async def shake_hands(operations: Made) -> None:
    with operations.initialised:
        await pyfuse3.main(1, 1)


def main() -> None:
    source, mountpoint = sys.argv[1:]
    operations = Made(Path(source))
    pyfuse3.init(operations, mountpoint, {"default_permissions", "fsname=bare", "ro"})
    try:
        trio.run(shake_hands, operations)
        children = []
        for _ in range(WORKERS):
            child = os.fork()
            if child == 0:
                trio.run(pyfuse3.main)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
