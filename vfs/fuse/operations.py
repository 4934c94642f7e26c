"""What the kernel asks, put to a `View`: one call per handler and no logic. Knows no store.

A worker is single-threaded and pyfuse3 copies each answer before it reads the next request. That is
why one `EntryAttributes` is filled again and again: 0.6 us of the 10 us that an entry of a listing
costs, which no cache would make much less.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from vfs import counts
from vfs.errors import NotFound, ReadOnly
from vfs.fuse import counters
from vfs.fuse.errnos import handler
from vfs.model.entry import NAME_MAX_BYTES

if TYPE_CHECKING:
    from vfs.fs.attrs import Attr, Statfs
    from vfs.fs.view import View


class SnapshotOperations(pyfuse3.Operations):
    """Read-only handlers. Stateless: a handle is the node id, and `forget` is nothing.

    So any worker can answer any request, and a request can be answered twice.
    """

    supports_dot_lookup = True
    enable_acl = True
    enable_writeback_cache = False

    view: View

    def __init__(self) -> None:
        super().__init__()
        self.initialised = False
        self._entry = EntryAttributes()
        self._absent = EntryAttributes()
        self._absent.st_ino = 0

    def init(self) -> None:
        """Note that the kernel and libfuse have shaken hands; the view comes later."""
        self.initialised = True

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Do nothing: node ids are positions and content, never counted."""

    @handler
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if len(name) > NAME_MAX_BYTES:
            raise FUSEError(errno.ENAMETOOLONG)
        try:
            attr = self.view.lookup(parent_inode, name)
        except NotFound:
            self._absent.entry_timeout = self.view.negative_timeout(parent_inode)
            return self._absent
        return self._fill(attr, attr.node)

    @handler
    def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        attr = self.view.getattr(inode, ctx.pid)
        return self._fill(attr, attr.number)

    @handler
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    @handler
    def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        fill, reply = self._fill, pyfuse3.readdir_reply
        for name, attr, position in self.view.readdir(fh, start_id):
            if not reply(token, name, fill(attr, attr.node), position):
                return

    @handler
    def releasedir(self, fh: int) -> None:
        return

    @handler
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self.view.readlink(inode)

    @handler
    def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise FUSEError(errno.EROFS)
        self.view.open(inode)
        return FileInfo(fh=inode, keep_cache=True)

    @handler
    def read(self, fh: int, off: int, size: int) -> bytes:
        data = self.view.read(fh, off, size)
        counters.add(counts.BYTES_READ, len(data))
        return data

    @handler
    def release(self, fh: int) -> None:
        return

    @handler
    def flush(self, fh: int) -> None:
        # Once answered like this it is never asked again: 288 to 156 us for a small file read cold.
        raise FUSEError(errno.ENOSYS)

    @handler
    def fsync(self, fh: int, datasync: bool) -> None:
        raise FUSEError(errno.ENOSYS)  # the kernel takes it as done, for good

    @handler
    def fsyncdir(self, fh: int, datasync: bool) -> None:
        raise FUSEError(errno.ENOSYS)

    @handler
    def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return self.view.getxattr(inode, name)

    @handler
    def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        names = self.view.listxattr(inode)
        if ctx.uid == 0:
            return names
        # The kernel keeps the values to itself (xattr_permission), and leaves the names to us.
        return [name for name in names if not name.startswith(b"trusted.")]

    @handler
    def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        attr = self.view.mkdir(parent_inode, name)
        return self._fill(attr, attr.node)

    @handler
    def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        return statvfs_data(self.view.statfs())

    @handler
    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ReadOnly("a version never changes")

    setattr = mknod = unlink = rmdir = symlink = rename = link = _refuse
    create = write = setxattr = removexattr = _refuse

    def _fill(self, attr: Attr, ino: int) -> EntryAttributes:
        entry = self._entry
        entry.st_ino = ino
        entry.st_mode = attr.mode
        entry.st_nlink = attr.nlink
        entry.st_uid = attr.uid
        entry.st_gid = attr.gid
        entry.st_rdev = attr.rdev
        entry.st_size = attr.size
        entry.st_blocks = attr.blocks
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = attr.mtime_ns
        entry.entry_timeout = attr.entry_timeout
        entry.attr_timeout = attr.attr_timeout
        return entry


def statvfs_data(facts: Statfs) -> pyfuse3.StatvfsData:
    """Return *facts* as pyfuse3 takes them."""
    answer = pyfuse3.StatvfsData()
    answer.f_bsize = answer.f_frsize = facts.bsize
    answer.f_blocks = facts.blocks
    answer.f_bfree = facts.bfree
    answer.f_bavail = facts.bavail
    answer.f_files = facts.files
    answer.f_ffree = answer.f_favail = facts.ffree
    answer.f_namemax = facts.namemax
    return answer
