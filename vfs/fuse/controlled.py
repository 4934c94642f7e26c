"""A branch's handlers with `.vfs` beside them: what is of there goes to `ControlFiles`."""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, RequestContext, SetattrFields

from vfs.errors import NoData, NotFound, NotPermitted
from vfs.fs.branch import reports
from vfs.fuse.branch_operations import BranchOperations
from vfs.fuse.control_files import NAME, ControlFiles, ControlNode
from vfs.fuse.errnos import async_handler

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch

_ROOT: Final = 1
_REPORTS: Final = {
    b"head": reports.head,
    b"log": reports.log,
    b"status": reports.status,
}


class ControlledOperations(BranchOperations):
    """All handlers of a mounted branch."""

    def __init__(self, branch: Branch, *, dirty_limit: int, mountpoint: str) -> None:
        super().__init__(branch, dirty_limit=dirty_limit, mountpoint=mountpoint)
        self.committing = 0  # handlers that wait for a commit
        self.write_back: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        made = {name: partial(self._report, make) for name, make in _REPORTS.items()}
        self._control = ControlFiles(made, self._commit)
        self._attr = EntryAttributes()
        self._attr.entry_timeout = self._attr.attr_timeout = 0

    async def _report(self, make: Callable[[Branch], bytes]) -> bytes:
        if make is not reports.head:
            await self.checkpoint()
        return await trio.to_thread.run_sync(make, self._branch)

    async def _commit(self, message: str) -> None:
        """Commit all writes that were completed before."""
        self.committing += 1
        try:
            await self.write_back()
            seq = await self.checkpoint()
            await trio.to_thread.run_sync(reports.commit, self._branch, message, seq)
        finally:
            self.committing -= 1

    def _show(self, node: ControlNode) -> EntryAttributes:
        root = self._inodes.row(_ROOT)
        attr = self._attr
        attr.st_ino = node.ino
        attr.st_mode = node.mode & (stat.S_IFMT(node.mode) | root.mode | 0o111)
        attr.st_nlink = 2 if stat.S_ISDIR(node.mode) else 1
        attr.st_uid, attr.st_gid = root.uid, root.gid
        attr.st_atime_ns = attr.st_mtime_ns = attr.st_ctime_ns = root.ctime_ns
        return attr

    @async_handler
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        control = self._control
        if control.owns(parent_inode):
            if name == b"..":
                return await super().getattr(_ROOT, ctx)
            try:
                return self._show(control.lookup(parent_inode, name))
            except NotFound:
                return self._absent
        if parent_inode == _ROOT and name == NAME:
            return self._show(control.lookup(parent_inode, name))
        return await super().lookup(parent_inode, name, ctx)

    @async_handler
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        if self._control.owns(inode):
            return self._show(self._control.node(inode))
        return await super().getattr(inode, ctx)

    @async_handler
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        if not self._control.owns(inode):
            return await super().setattr(inode, attr, fields, fh, ctx)
        if not fields.update_size:
            raise NotPermitted("attributes of control files are as they are")
        return self._show(self._control.node(inode))  # `>` of a shell

    @async_handler
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode if self._control.owns(inode) else await super().opendir(inode, ctx)

    @async_handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        if not self._control.owns(fh):
            await super().readdir(fh, start_id, token)
            return
        for index, (name, node) in enumerate(self._control.names()[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._show(node), index):
                return

    @async_handler
    async def releasedir(self, fh: int) -> None:
        if not self._control.owns(fh):
            await super().releasedir(fh)

    @async_handler
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if not self._control.owns(inode):
            return await super().open(inode, flags, ctx)
        return FileInfo(fh=await self._control.open(inode, flags), direct_io=True)

    @async_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        if self._control.owns(fh):
            return self._control.read(fh, off, size)
        return await super().read(fh, off, size)

    @async_handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        if self._control.owns(fh):
            return await self._control.write(buf)
        return await super().write(fh, off, buf)

    @async_handler
    async def release(self, fh: int) -> None:
        if self._control.owns(fh):
            self._control.release(fh)
        else:
            await super().release(fh)

    @async_handler
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if self._control.owns(inode):
            raise NoData(f"there is no attribute {name!r}")
        return await super().getxattr(inode, name, ctx)

    @async_handler
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return [] if self._control.owns(inode) else await super().listxattr(inode, ctx)


def _guarded(name: str) -> Callable[..., Awaitable[Any]]:
    """Return the handler *name* for inodes of the branch, and a refusal for those of `.vfs`."""
    plain = getattr(BranchOperations, name)

    @async_handler
    async def guarded(self: ControlledOperations, inode: int, *args: Any) -> Any:
        given = (inode, *args)
        owned = (number for number in given if isinstance(number, int))
        if any(map(self._control.owns, owned)) or (_ROOT, NAME) in pairwise(given):
            raise NotPermitted("the control files are as they are")
        return await plain(self, inode, *args)

    return guarded


for _name in ("create", "mknod", "mkdir", "symlink", "link", "unlink", "rmdir", "rename"):
    setattr(ControlledOperations, _name, _guarded(_name))
for _name in ("setxattr", "removexattr"):
    setattr(ControlledOperations, _name, _guarded(_name))
