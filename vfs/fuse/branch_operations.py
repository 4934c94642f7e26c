"""What the kernel asks of a writable branch, put to a `Branch`: one call per handler and no logic.

All handlers run in the loop's thread and, where nothing has to be waited for, to their end at once.
One `EntryAttributes` is filled again and again: pyfuse3 has copied it before another handler runs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext, SetattrFields

from vfs import counts
from vfs.errors import VfsError
from vfs.fs.branch import reports
from vfs.fs.branch.acl import ACCESS as ACL_ACCESS
from vfs.fs.branch.attributes import SetAttr
from vfs.fuse import counters
from vfs.fuse.askers import is_waiting, opened_by
from vfs.fuse.changing import always, changing
from vfs.fuse.convert import statvfs_data
from vfs.fuse.errnos import async_handler, handler
from vfs.fuse.flusher import PERIOD_SECONDS, Flusher
from vfs.fuse.writeback import send_dirty_pages
from vfs.model.entry import PAST_XATTRS
from vfs.store.objects import NotHere, surely

if TYPE_CHECKING:
    from vfs.fs.branch.branch import Branch
    from vfs.fs.branch.content import ReadPlan
    from vfs.fs.branch.restore import Outdated
    from vfs.ids import ObjectId
    from vfs.model.overlay import InodeRow
    from vfs.repo.blobs import FileReader
    from vfs.store.objects import IsWanted

TIMEOUT_SECONDS: Final = 1e9
"""All changes come through this mount, so the kernel knows of each of them."""

INLINE_BYTES: Final = 128 * 1024
"""Reads up to here are answered in the loop's thread: a hop to another one costs 100 us."""

FETCHES_MAX: Final = 32
"""Requests that wait for a remote at once, each in a thread: half of those that are under way
(`branch_session`)."""

_CAPABILITY: Final = b"security.capability"


def _shrinks(
    self: BranchOperations, inode: int, attr: EntryAttributes, fields: SetattrFields, *_: object
) -> bool:
    return fields.update_size and attr.st_size < self.size_of(inode)


class BranchOperations(pyfuse3.Operations):
    """Read and write handlers of one branch."""

    supports_dot_lookup = True
    enable_acl = True
    enable_writeback_cache = True

    def __init__(self, branch: Branch, *, dirty_limit: int, mountpoint: str) -> None:
        super().__init__()
        self._branch = branch
        branch.wait_for_objects(wait=False)
        self._inodes, self._names = branch.inodes, branch.names
        self._files, self._attributes = branch.files, branch.attributes
        self._mountpoint = mountpoint
        self.st_dev = -1  # of the mount, once there is one
        self.initialised = trio.Event()  # the kernel is answered how requests are to look
        self._flusher = Flusher(branch, dirty_limit=dirty_limit)
        self._readers: list[FileReader] = []
        self._fetching: list[FileReader] = []  # these wait for what is to be fetched
        self._fetches = trio.CapacityLimiter(FETCHES_MAX)
        self.only_reading = (
            0  # handlers that wait for a remote and are not going to change anything
        )
        self.knows_askers = True  # the kernel tells of threads by the numbers that they have here
        # Threads that opened files and directories, by handles: who reads pyfuse3 does not tell.
        self._openers: dict[int, int] = {}
        self._listers: dict[int, int] = {}
        self._past_turn = trio.CapacityLimiter(1)
        self._direct: set[int] = set()  # inodes that O_DIRECT was used on
        self._entry = EntryAttributes()
        self._entry.entry_timeout = self._entry.attr_timeout = TIMEOUT_SECONDS
        self._entry.generation = branch.overlay
        self._absent = EntryAttributes()
        self._absent.st_ino = 0
        self._absent.entry_timeout = TIMEOUT_SECONDS

    def init(self) -> None:
        self.initialised.set()

    def size_of(self, inode: int) -> int:
        """Return the bytes of a file."""
        return self._inodes.row(inode).size

    # what the daemon calls

    async def run_background(self) -> None:
        """Store what changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flusher.run)
            nursery.start_soon(self._call_in)

    async def _call_in(self) -> None:
        """Ask the kernel for what it holds back; it would keep it for 30 s."""
        while True:
            await trio.sleep(PERIOD_SECONDS)
            if self._files.has_writers():
                await trio.to_thread.run_sync(
                    send_dirty_pages, self._mountpoint, self.st_dev, abandon_on_cancel=True
                )

    async def checkpoint(self) -> int:
        """Return when all that the kernel handed over so far is durable. Raises StoreFull.

        Returns what `commit_overlay` takes as *seq*.
        """
        await self._flusher.flush()
        seq = self._branch.release_claim()
        if self._branch.is_dirty:  # by what came meanwhile, which the next commit holds
            await trio.to_thread.run_sync(self._branch.claim)
        return seq

    async def restore(self, path: tuple[bytes, ...]) -> None:
        """Give up what was changed at a path and below. Raises NotFound."""
        await self._flusher.flush()
        changed = await trio.to_thread.run_sync(reports.changed_below, self._branch, path)
        for one in changed:
            while self._branch.is_storing:  # again, for somebody else
                await self._flusher.flush()
            with self._branch.waiting():
                outdated = self._branch.restore(one)
            await trio.to_thread.run_sync(_tell_kernel, outdated)

    async def take(self, path: reports.Path, version: ObjectId, source: reports.Path) -> None:
        """Make a path what a version has at *source*; not committed. Raises NotFound, Conflict.

        It is durable on return, before which nothing of the version is removed from the store.
        """
        await self._flusher.flush()
        with self._branch.relying_on(version):
            find = partial(reports.wanted, self._branch, path, version, source)
            for one in await trio.to_thread.run_sync(find):
                await self.wait(frees=False)
                while self._branch.is_storing:  # again, for somebody else
                    await self._flusher.flush()
                    await self.wait(frees=False)
                with self._branch.waiting():
                    outdated = self._branch.take(one)
                await trio.to_thread.run_sync(_tell_kernel, outdated)
            await self._flusher.flush()

    async def finish(self) -> None:
        """Store what is left, at the end; nothing is served any more. Raises StoreFull."""
        await self._flusher.finish()

    # looking

    @handler
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        found = self._inodes.find(parent_inode, name)
        return self._absent if found is None else self._fill(*found)

    @handler
    def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._fill(inode, self._inodes.row(inode))

    @handler
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._inodes.readlink(inode)

    @handler
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        handle = self._names.opendir(inode)
        self._listers[handle] = ctx.pid
        return handle

    @async_handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        while (absent := self._list(fh, start_id, token)) is not None:
            await self._bring(absent, opened_by(self._listers[fh]))

    def _list(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> NotHere | None:
        """Give names to pyfuse3; return what there has to be before the first one can be given."""
        listed = self._names.readdir(fh, start_id)
        position = start_id
        while True:
            try:
                name, ino, row, position = next(listed)
            except StopIteration:
                return None
            except NotHere as absent:
                return absent if position == start_id else None  # the kernel asks for the rest
            if not pyfuse3.readdir_reply(token, name, self._fill(ino, row), position):
                return None

    @handler
    def releasedir(self, fh: int) -> None:
        del self._listers[fh]
        self._names.releasedir(fh)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Drop what has no name any more."""
        inos = [ino for ino, _ in inode_list]
        self._direct.difference_update(inos)
        self._inodes.forget(inos)

    @handler
    def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        return statvfs_data(self._branch.statfs())

    # names

    @changing()
    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        ino, row = self._names.make(parent_inode, name, mode, ctx.uid, ctx.gid, umask=ctx.umask)
        return self._open(ino, flags, ctx), self._fill(ino, row)

    @changing()
    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        return self._fill(
            *self._names.make(
                parent_inode, name, mode, ctx.uid, ctx.gid, umask=ctx.umask, rdev=rdev
            )
        )

    @changing()
    def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        mode = stat.S_IFDIR | stat.S_IMODE(mode)
        return self._fill(
            *self._names.make(parent_inode, name, mode, ctx.uid, ctx.gid, umask=ctx.umask)
        )

    @changing()
    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        mode = stat.S_IFLNK | 0o777
        return self._fill(
            *self._names.make(parent_inode, name, mode, ctx.uid, ctx.gid, target=target)
        )

    @changing()
    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return self._fill(inode, self._names.link(inode, new_parent_inode, new_name))

    @changing(always)
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._names.unlink(parent_inode, name)

    @changing(always)
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._names.rmdir(parent_inode, name)

    @changing()
    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        self._names.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)

    # attributes

    @changing(_shrinks)
    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        change = SetAttr()
        if fields.update_mode:
            change["mode"] = attr.st_mode
        if fields.update_uid:
            change["uid"] = attr.st_uid
        if fields.update_gid:
            change["gid"] = attr.st_gid
        if fields.update_size:
            change["size"] = attr.st_size
        if fields.update_atime:
            change["atime_ns"] = attr.st_atime_ns
        if fields.update_mtime:
            change["mtime_ns"] = attr.st_mtime_ns
        if fields.update_ctime:
            change["ctime_ns"] = attr.st_ctime_ns
        return self._fill(inode, self._attributes.setattr(inode, change))

    def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> Coroutine[Any, Any, bytes]:
        if name.startswith(PAST_XATTRS):
            return self._tell_past(inode, name)
        return self._getxattr(inode, name)

    @handler
    def _getxattr(self, inode: int, name: bytes) -> bytes:
        # What the kernel asks before it writes to a file: of nearly all files in vain.
        if name == _CAPABILITY and not self._inodes.row(inode).xattrs:
            raise FUSEError(errno.ENODATA)
        return self._attributes.getxattr(inode, name)

    @async_handler
    async def _tell_past(self, inode: int, name: bytes) -> bytes:
        return await trio.to_thread.run_sync(
            self._branch.past.answer, name, self._branch.ask_past(inode), limiter=self._past_turn
        )

    @handler
    def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        names = self._attributes.listxattr(inode)
        if ctx.uid == 0:
            return names
        # The kernel keeps the values to itself (xattr_permission), and leaves the names to us.
        return [name for name in names if not name.startswith(b"trusted.")]

    @changing()
    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        in_group = name != ACL_ACCESS or ctx.uid == 0 or self._inodes.row(inode).gid in _groups(ctx)
        self._attributes.setxattr(inode, name, value, in_group=in_group)

    @changing()
    def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        self._attributes.removexattr(inode, name)

    # open files

    @async_handler
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_TRUNC:
            await self.wait(frees=True)
            self._attributes.truncate(inode, privileged=ctx.uid == 0)
        return self._open(inode, flags, ctx)

    def _open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        keep = self._may_keep(inode, flags)
        handle = self._files.open(inode, flags)
        self._openers[handle] = ctx.pid
        return FileInfo(fh=handle, keep_cache=keep)

    def _may_keep(self, inode: int, flags: int) -> bool:
        """Say whether the kernel's pages of a file hold what is in it.

        They do, as all goes through them, until O_DIRECT goes past them.
        """
        if flags & os.O_DIRECT:
            self._direct.add(inode)
            return False
        return inode not in self._direct

    @async_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        plan = self._files.plan_read(fh, off, size)
        if plan is None:
            return b""
        counters.add(counts.BYTES_READ, plan.end - plan.start)
        await self._expect(plan, fh)
        try:
            if plan.bytes_to_read <= INLINE_BYTES:
                return self._files.read_now(plan)
            return await self._read_elsewhere(plan, self._readers)
        except NotHere as absent:
            await self._bring(absent, opened_by(self._openers[fh]))
            with self._reading():  # threads that wait for the rest keep none of the others waiting
                return await self._read_elsewhere(plan, self._fetching, self._fetches)

    async def _expect(self, plan: ReadPlan, fh: int) -> None:
        """Have what follows a read fetched; what goes wrong there is told to who comes to it."""
        with suppress(VfsError):
            while True:
                try:
                    return self._branch.expect(plan)
                except NotHere as absent:
                    await self._bring(absent, opened_by(self._openers[fh]))

    async def _read_elsewhere(
        self, plan: ReadPlan, readers: list[FileReader], limit: trio.CapacityLimiter | None = None
    ) -> bytes:
        reader = readers.pop() if readers else self._branch.new_reader(waits=limit is not None)
        try:
            return await trio.to_thread.run_sync(plan.read, reader, limiter=limit)
        finally:
            readers.append(reader)

    async def bring(self, absent: NotHere, asker: int, *, to_change: bool = False) -> None:
        """Return when an object is here that the loop's thread must not wait for.

        *asker*: the thread that the request comes from; 0 where that is not known.
        Raises RemoteUnavailable, RemoteProblem, Interrupted.
        """
        await self._bring(absent, partial(is_waiting, asker), to_change=to_change)

    async def _bring(self, absent: NotHere, wanted: IsWanted, *, to_change: bool = False) -> None:
        wanted = wanted if self.knows_askers else surely
        with nullcontext() if to_change else self._reading():
            bring = partial(self._branch.bring, absent.oid, wanted)
            await trio.to_thread.run_sync(bring, limiter=self._fetches)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.only_reading += 1
        try:
            yield
        finally:
            self.only_reading -= 1

    @changing()
    def write(self, fh: int, off: int, buf: bytes) -> int:
        counters.add(counts.BYTES_WRITTEN, len(buf))
        return self._files.write(fh, off, buf)

    @handler
    def flush(self, fh: int) -> None:
        # The kernel has written all back by now. Once answered like this it is never asked again.
        raise FUSEError(errno.ENOSYS)

    @handler
    def release(self, fh: int) -> None:
        del self._openers[fh]
        self._files.release(fh)

    @async_handler
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._flusher.flush()

    @async_handler
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._flusher.flush()

    @property
    def must_wait(self) -> bool:
        """Say whether `wait` has something to do."""
        return self._flusher.is_behind or not self._branch.is_claimed

    async def wait(self, *, frees: bool) -> None:
        """Wait until a change may be made. Raises Conflict, StoreFull.

        *frees*: it is one that leaves less to be stored, so that a full disk doesn't forbid it.
        """
        if self._flusher.is_behind:
            try:
                await self._flusher.make_room()
            except VfsError:  # a damaged file, too, can be removed
                if not frees:
                    raise
        while not self._branch.is_claimed:  # last, as it may be given up while this waits
            await trio.to_thread.run_sync(self._branch.claim)

    def _fill(self, ino: int, row: InodeRow) -> EntryAttributes:
        entry = self._entry
        entry.st_ino = ino
        entry.st_mode = mode = row.mode
        entry.st_nlink = row.nlink
        entry.st_uid = row.uid
        entry.st_gid = row.gid
        entry.st_rdev = row.rdev
        entry.st_size = size = 4096 if stat.S_ISDIR(mode) else row.size
        entry.st_blocks = self._files.blocks(ino, row) if size else 0
        entry.st_atime_ns = row.atime_ns
        entry.st_mtime_ns = row.mtime_ns
        entry.st_ctime_ns = row.ctime_ns
        return entry


def _tell_kernel(outdated: Outdated) -> None:
    """Have the kernel forget what was restored behind its back."""
    for ino in outdated.inodes:
        with suppress(OSError):  # it does not know it
            pyfuse3.invalidate_inode(ino)
    for parent, name in outdated.names:
        pyfuse3.invalidate_entry_async(parent, name, ignore_enoent=True)


def _groups(ctx: RequestContext) -> set[int]:
    return {ctx.gid, *pyfuse3.get_sup_groups(ctx.pid)}
