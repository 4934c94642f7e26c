"""Names of a branch: making, linking, moving and removing them, and listing directories."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import islice
from typing import Final

from vfs.errors import (
    AlreadyExists,
    InvalidInput,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
)
from vfs.fs.branch import acl
from vfs.fs.branch.inodes import Inodes, now_ns
from vfs.fs.branch.listing import Listed, Listing
from vfs.ids import NO_CONTENT
from vfs.model.entry import NAME_MAX_BYTES
from vfs.model.overlay import NEW_INO, InodeRow

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

Place = tuple[int, bytes]


class Names:
    """Changes directories."""

    def __init__(self, inodes: Inodes, next_ino: int) -> None:
        self._inodes = inodes
        self._state = inodes.state
        self.next_ino = next_ino
        self._listings: dict[int, Listing] = {}
        self._last_listing = 0

    def make(
        self,
        parent: int,
        name: bytes,
        mode: int,
        uid: int,
        gid: int,
        *,
        umask: int = 0,
        rdev: int = 0,
        target: bytes = b"",
    ) -> tuple[int, InodeRow]:
        """Make an inode of any kind, with a name. Raises AlreadyExists.

        A default ACL of the directory stands in the place of *umask*.
        """
        directory = self._parent_for(parent, name)
        now = now_ns()
        is_dir = stat.S_ISDIR(mode)
        if directory.mode & stat.S_ISGID:
            gid = directory.gid
            mode |= stat.S_ISGID if is_dir else 0
        mode, xattrs = _inherit(directory, mode, umask)
        ino = NEW_INO | self.next_ino
        self.next_ino += 1
        row = InodeRow(
            mode=mode,
            uid=uid,
            gid=gid,
            nlink=2 if is_dir else 1,
            rdev=rdev,
            size=len(target),
            mtime_ns=now,
            ctime_ns=now,
            atime_ns=now,
            content=NO_CONTENT,
            flags=0,
            content_bytes=0,
            visible=0,
            holes=0,
            patches=0,
            parent=parent,
            name=name,
            group=b"",
            target=target,
            xattrs=xattrs,
        )
        state = self._state
        state.dirty.born.add(ino)
        state.put(ino, row)
        self._name(parent, name, ino)
        self._touch(parent, now, links=is_dir)
        return ino, row

    def link(self, ino: int, parent: int, name: bytes) -> InodeRow:
        """Give a file another name."""
        row = self._inodes.row(ino)
        if not row.nlink:
            raise NotFound("the file has no name any more")
        self._parent_for(parent, name)
        now = now_ns()
        if row.nlink == 1:
            self._state.put_link(ino, row.parent, row.name, there=True)
        row = self._inodes.change(ino, row._replace(nlink=row.nlink + 1, ctime_ns=now))
        self._state.put_link(ino, parent, name, there=True)
        self._name(parent, name, ino)
        self._touch(parent, now)
        return row

    def unlink(self, parent: int, name: bytes) -> None:
        """Remove a name of what is no directory."""
        ino, row = self._inodes.lookup(parent, name)
        if stat.S_ISDIR(row.mode):
            raise IsADirectory("a directory is not unlinked")
        self._inodes.own_links(ino)  # may fail: before anything is changed
        now = now_ns()
        self._name(parent, name, 0)
        self._touch(parent, now)
        self._lose_name(ino, row, parent, name, now)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        ino, row = self._inodes.lookup(parent, name)
        if not stat.S_ISDIR(row.mode):
            raise NotADirectory("not a directory")
        if not self._state.is_empty(ino):
            raise NotEmpty("the directory is not empty")
        now = now_ns()
        self._name(parent, name, 0)
        self._touch(parent, now, links=-1)
        self._lose_directory(ino, row, now)

    def rename(self, parent: int, name: bytes, to_parent: int, to_name: bytes, flags: int) -> None:
        """Do what renameat2(2) does."""
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise InvalidInput("unknown flags")
        ino, row = self._inodes.lookup(parent, name)
        target = self._state.find(to_parent, to_name)
        for linked in (ino, target):
            self._inodes.own_links(linked)
        if flags == RENAME_NOREPLACE and target:
            raise AlreadyExists(f"there is {to_name!r} already")
        now = now_ns()
        if flags == RENAME_EXCHANGE:
            if not target:
                raise NotFound(f"there is no {to_name!r}")
            there = self._inodes.row(target)
            if target != ino:
                self._move(ino, row, (parent, name), (to_parent, to_name), now)
                self._move(target, there, (to_parent, to_name), (parent, name), now)
        elif target == ino:
            return
        else:
            if not target:
                self._parent_for(to_parent, to_name)
            else:
                self._replace(row, target, to_parent, to_name, now)
            self._name(parent, name, 0)
            self._move(ino, row, (parent, name), (to_parent, to_name), now)
        self._touch(parent, now)
        self._touch(to_parent, now)

    def _replace(
        self, row: InodeRow, target: int, to_parent: int, to_name: bytes, now: int
    ) -> None:
        """Take away what a rename is to replace."""
        there = self._inodes.row(target)
        if stat.S_ISDIR(there.mode):
            if not stat.S_ISDIR(row.mode):
                raise IsADirectory("a file does not replace a directory")
            if not self._state.is_empty(target):
                raise NotEmpty("the directory is not empty")
            self._touch(to_parent, now, links=-1)
            self._lose_directory(target, there, now)
        elif stat.S_ISDIR(row.mode):
            raise NotADirectory("a directory does not replace a file")
        else:
            self._lose_name(target, there, to_parent, to_name, now)

    def _move(
        self, ino: int, row: InodeRow, old: tuple[int, bytes], new: tuple[int, bytes], now: int
    ) -> None:
        """Give an inode the name *new* instead of *old*."""
        if row.nlink > 1 and not stat.S_ISDIR(row.mode):
            self._inodes.own_links(ino)
            self._state.put_link(ino, *old, there=False)
            self._state.put_link(ino, *new, there=True)
        if (row.parent, row.name) == old:
            row = row._replace(parent=new[0], name=new[1])
        self._inodes.change(ino, row._replace(ctime_ns=now))
        self._name(new[0], new[1], ino)
        if stat.S_ISDIR(row.mode) and old[0] != new[0]:
            self._touch(old[0], now, links=-1)
            self._touch(new[0], now, links=1)

    def _parent_for(self, parent: int, name: bytes) -> InodeRow:
        """Return the directory that is to get a new name."""
        if len(name) > NAME_MAX_BYTES:
            raise NameTooLong(f"a name of {len(name)} bytes")
        row = self._inodes.row(parent)
        if not row.nlink:
            raise NotFound("the directory was removed")
        if self._state.find(parent, name):
            raise AlreadyExists(f"there is {name!r} already")
        return row

    def _name(self, parent: int, name: bytes, ino: int) -> None:
        self._state.put_name(parent, name, ino)
        for listing in self._listings.values():
            if listing.directory == parent:
                listing.outdated = True

    def _touch(self, directory: int, now: int, *, links: int = 0) -> None:
        """Note that names in a directory changed, and how many directories are in it more."""
        row = self._inodes.row(directory)
        change = {"mtime_ns": now, "ctime_ns": now, "nlink": row.nlink + links}
        self._state.put(directory, row.replaced(change))

    def _lose_directory(self, ino: int, row: InodeRow, now: int) -> None:
        self._state.put(ino, row._replace(nlink=0, ctime_ns=now))
        self._inodes.orphans.add(ino)

    def _lose_name(self, ino: int, row: InodeRow, parent: int, name: bytes, now: int) -> None:
        # Counted, where there are several: of an import below a path, what others say is not so.
        left = 0 if row.nlink == 1 else max(len(self._state.names_of(ino)), 1) - 1
        row = self._inodes.change(ino, row._replace(nlink=left, ctime_ns=now))
        if not row.nlink:
            self._inodes.orphans.add(ino)
            return
        self._state.put_link(ino, parent, name, there=False)
        places = self._state.names_of(ino)
        if (row.parent, row.name) not in places:
            row = row._replace(parent=places[0][0], name=places[0][1])
            self._state.put(ino, row)
        if row.nlink == 1:
            self._state.put_link(ino, row.parent, row.name, there=False)

    def list(self, ino: int) -> Iterator[Listed]:
        """Yield what is in a directory, without `.` and `..`."""
        return islice(Listing(self._state, ino).read(0), 2, None)

    def opendir(self, ino: int) -> int:
        """Open a directory; return the handle."""
        if not stat.S_ISDIR(self._inodes.row(ino).mode):
            raise NotADirectory("not a directory")
        self._last_listing += 1
        handle = self._last_listing
        self._listings[handle] = Listing(self._state, ino)
        self._inodes.use(ino, 1)
        return handle

    def readdir(self, handle: int, offset: int) -> Iterator[Listed]:
        """Yield names, inodes and the offset behind each, from *offset* on (0: the start)."""
        return self._listings[handle].read(offset)

    def releasedir(self, handle: int) -> None:
        """Close a directory."""
        self._inodes.use(self._listings.pop(handle).directory, -1)


def _inherit(
    directory: InodeRow, mode: int, umask: int
) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    """Return mode and attributes of what is made in a directory with a default ACL."""
    default = dict(directory.xattrs).get(acl.DEFAULT) if directory.xattrs else None
    if default is None or stat.S_ISLNK(mode):
        return mode & ~umask, ()
    access, mode = acl.inherited(default, mode)
    xattrs = [(acl.ACCESS, access)] if access else []
    if stat.S_ISDIR(mode):
        xattrs.append((acl.DEFAULT, default))
    return mode, tuple(xattrs)
