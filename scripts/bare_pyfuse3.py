"""The floor for a file system in Python: one that keeps names and attributes, and drops the bytes.

Nothing is stored or can be read back. It is served by the loop that serves a branch, with the same
handshake; a peer of the bench.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext, SetattrFields

from vfs.fuse.branch_session import MAX_TASKS, MIN_TASKS
from vfs.fuse.serving import Serving

TIMEOUT_SECONDS: Final = 1e9
FIELDS: Final = (
    ("update_mode", "st_mode"),
    ("update_uid", "st_uid"),
    ("update_gid", "st_gid"),
    ("update_size", "st_size"),
    ("update_atime", "st_atime_ns"),
    ("update_mtime", "st_mtime_ns"),
    ("update_ctime", "st_ctime_ns"),
)


@dataclass
class Node:
    """An inode."""

    attributes: EntryAttributes
    names: dict[bytes, int] = field(default_factory=dict)


class Bare(pyfuse3.Operations):
    """The handlers that copying, unpacking, listing and removing need."""

    supports_dot_lookup = True
    enable_acl = True
    enable_writeback_cache = True

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[int, Node] = {}
        self._absent = EntryAttributes()
        self._absent.st_ino = 0
        self._absent.entry_timeout = TIMEOUT_SECONDS
        self._make(stat.S_IFDIR | 0o755, os.getuid(), os.getgid())

    def _make(self, mode: int, uid: int, gid: int) -> tuple[int, EntryAttributes]:
        ino = len(self._nodes) + 1
        entry = EntryAttributes()
        entry.st_ino, entry.st_mode, entry.st_uid, entry.st_gid = ino, mode, uid, gid
        entry.st_nlink = 1
        entry.entry_timeout = entry.attr_timeout = TIMEOUT_SECONDS
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = time.time_ns()
        self._nodes[ino] = Node(entry)
        return ino, entry

    def _add(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        ino, entry = self._make(mode & ~ctx.umask, ctx.uid, ctx.gid)
        self._nodes[parent].names[name] = ino
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        ino = self._nodes[parent_inode].names.get(name)
        return self._absent if ino is None else self._nodes[ino].attributes

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._nodes[inode].attributes

    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        entry = self._nodes[inode].attributes
        for wanted, name in FIELDS:
            if getattr(fields, wanted):
                setattr(entry, name, getattr(attr, name))
        return entry

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        raise FUSEError(errno.ENODATA)

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        return self._add(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        entry = self._add(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        return FileInfo(fh=entry.st_ino, keep_cache=True), entry

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        del self._nodes[parent_inode].names[name]

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        del self._nodes[parent_inode].names[name]

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        names = list(self._nodes[fh].names.items())
        for at, (name, ino) in enumerate(names[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._nodes[ino].attributes, at):
                return

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        entry = self._nodes[fh].attributes
        entry.st_size = max(entry.st_size, off + len(buf))
        return len(buf)

    async def flush(self, fh: int) -> None:
        raise FUSEError(errno.ENOSYS)

    async def release(self, fh: int) -> None:
        pass

    async def releasedir(self, fh: int) -> None:
        pass

    async def fsync(self, fh: int, datasync: bool) -> None:
        pass

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        pass


async def serve() -> None:
    await Serving().run(MIN_TASKS, MAX_TASKS)


def main() -> None:
    mountpoint = sys.argv[1]
    pyfuse3.init(Bare(), mountpoint, {"default_permissions", "fsname=bare"})
    try:
        trio.run(serve)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
