"""A branch's handlers with `.vfs` beside them: what is of there goes to `ControlFiles`."""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, RequestContext, SetattrFields

from vfs.errors import NoData, NotFound, NotPermitted
from vfs.fs.branch import reports
from vfs.fuse.branch_operations import BranchOperations
from vfs.fuse.control_files import NAME, ControlFiles, ControlNode, owns
from vfs.fuse.errnos import async_handler

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch

_ROOT: Final = 1
_ITSELF: Final = (_ROOT, NAME)
_REPORTS: Final = {
    b"head": reports.head,
    b"log": reports.log,
    b"status": reports.status,
}


def _of_control_files(control: Any) -> Any:
    """Make *control* the handler for `.vfs`; all else goes to the branch's, as fast as it can."""
    plain, own = getattr(BranchOperations, control.__name__), async_handler(control)

    def dispatch(self: ControlledOperations, number: int, *args: Any) -> Awaitable[Any]:
        return (own if owns(number) else plain)(self, number, *args)

    return dispatch


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

    def lookup(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if owns(parent_inode) or (parent_inode == _ROOT and name == NAME):
            return self._lookup_control(parent_inode, name, ctx)
        return super().lookup(parent_inode, name, ctx)

    @async_handler
    async def _lookup_control(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        if parent_inode != _ROOT and name == b"..":
            return await super().getattr(_ROOT, ctx)
        try:
            return self._show(self._control.lookup(parent_inode, name))
        except NotFound:
            return self._absent

    @_of_control_files
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._show(self._control.node(inode))

    @_of_control_files
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        if not fields.update_size:
            raise NotPermitted("attributes of control files are as they are")
        return self._show(self._control.node(inode))  # `>` of a shell

    @_of_control_files
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    @_of_control_files
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for index, (name, node) in enumerate(self._control.names()[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._show(node), index):
                return

    @_of_control_files
    async def releasedir(self, fh: int) -> None:
        pass

    @_of_control_files
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        return FileInfo(fh=await self._control.open(inode, flags), direct_io=True)

    @_of_control_files
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return self._control.read(fh, off, size)

    @_of_control_files
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._control.write(buf)

    @_of_control_files
    async def release(self, fh: int) -> None:
        self._control.release(fh)

    @_of_control_files
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        raise NoData(f"there is no attribute {name!r}")

    @_of_control_files
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return []


@async_handler
async def _refuse(_: ControlledOperations) -> NoReturn:
    raise NotPermitted("the control files are as they are")


def _guarded(name: str, other: int = 0) -> Callable[..., Awaitable[Any]]:
    """Return the handler *name* for inodes of the branch, and a refusal for those of `.vfs`.

    Inodes are its first argument and the one at *other*, which may come with a name.
    """
    plain = getattr(BranchOperations, name)

    def guarded(self: ControlledOperations, *args: Any) -> Awaitable[Any]:
        if owns(args[0]) or owns(args[other]) or args[other : other + 2] == _ITSELF:
            return _refuse(self)
        done: Awaitable[Any] = plain(self, *args)
        return done

    return guarded


for _name in ("create", "mknod", "mkdir", "symlink", "unlink", "rmdir", "setxattr", "removexattr"):
    setattr(ControlledOperations, _name, _guarded(_name))
for _name, _other in (("link", 1), ("rename", 2)):
    setattr(ControlledOperations, _name, _guarded(_name, _other))
