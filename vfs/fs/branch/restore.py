"""Making a path what a version holds: the last commit, where what changed is given up, or any.

To be run while no checkpoint is on its way. The kernel knows nothing of it: what it may keep that
is not so any more is returned, and whoever serves the branch tells it.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from vfs.errors import NotADirectory
from vfs.fs.branch.inodes import now_ns
from vfs.fs.branch.state import base_row

if TYPE_CHECKING:
    from vfs.fs.branch.inodes import Inodes
    from vfs.fs.branch.names import Names
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository


class Outdated(NamedTuple):
    """What the kernel has to forget."""

    inodes: list[int]
    names: list[tuple[int, bytes]]


class Restorer:
    """Restores paths of one branch."""

    def __init__(self, repo: Repository, inodes: Inodes, names: Names) -> None:
        self._repo = repo
        self._inodes = inodes
        self._names = names
        self.outdated = Outdated([], [])

    def restore(self, path: tuple[bytes, ...], entry: Entry | None, *, make: bool = False) -> None:
        """Make *path* and all below what *entry* is; None for nothing.

        *make*: also directories that are missing on the way. Raises NotFound where there is one, or
        where nothing is at a path at which nothing is to be.
        """
        parent = 1
        for name in path[:-1]:
            if make and entry is not None and not self._inodes.state.find(parent, name):
                mode = stat.S_IFDIR | 0o755
                self._names.make(parent, name, mode, entry.uid, entry.gid)
                self.outdated.names.append((parent, name))
            parent, row = self._inodes.lookup(parent, name)
            if not stat.S_ISDIR(row.mode):
                raise NotADirectory(f"{name!r} is not a directory")
        if not path:
            assert entry is not None
            self._restore_directory(1, entry)
            return
        if entry is None:
            self._inodes.lookup(parent, path[-1])
        self._restore_name(parent, path[-1], entry)

    def restore_attributes(self, path: tuple[bytes, ...], entry: Entry) -> None:
        """Give a directory that is there the attributes that *entry* has."""
        ino = 1
        for name in path:
            ino, _ = self._inodes.lookup(ino, name)
        self._restore_inode(ino, entry)

    def _restore_name(self, parent: int, name: bytes, entry: Entry | None) -> None:
        ino = self._inodes.state.find(parent, name)
        if ino and (entry is None or not self._can_become(ino, entry)):
            self._remove(parent, name)
            ino = 0
        if entry is None:
            return
        if not ino:
            ino, _ = self._names.make(parent, name, entry.mode, entry.uid, entry.gid)
            self.outdated.names.append((parent, name))
        if entry.is_dir:
            self._restore_directory(ino, entry)
        else:
            self._restore_inode(ino, entry)

    def _can_become(self, ino: int, entry: Entry) -> bool:
        """Say whether an inode can be made what the entry says it was.

        Not where the content is another one: the kernel goes by the size that it knows of a file,
        and whoever has it open goes on with what he opened.
        """
        row = self._inodes.row(ino)
        if stat.S_IFMT(row.mode) != entry.kind:
            return False
        if entry.is_dir:
            return True
        was = base_row(entry, row.parent)
        if row.nlink > 1 and (row.mode, row.uid, row.gid, row.mtime_ns, row.xattrs) != (
            was.mode,
            was.uid,
            was.gid,
            was.mtime_ns,
            was.xattrs,
        ):
            return False  # other names of it are not asked about
        return (
            ino not in self._inodes.state.dirty.files
            and not row.patches
            and (row.content, row.size, row.visible) == (was.content, was.size, was.visible)
        )

    def _restore_directory(self, ino: int, entry: Entry) -> None:
        there = {child.name: child for child in self._repo.entries(entry.content)}
        now = {name for name, _, _, _ in self._names.list(ino)}
        for name in sorted(there.keys() | now):
            self._restore_name(ino, name, there.get(name))
        self._restore_inode(ino, entry)

    def _restore_inode(self, ino: int, entry: Entry) -> None:
        """Give an inode what the entry says but for its names and their number."""
        row = self._inodes.row(ino)
        new = base_row(entry, row.parent)._replace(
            nlink=row.nlink, name=row.name, group=row.group, atime_ns=row.atime_ns
        )
        if new._replace(ctime_ns=row.ctime_ns) != row or ino in self._inodes.state.dirty.files:
            self._inodes.state.drop_content(ino)
            self._inodes.change(ino, new._replace(ctime_ns=now_ns()))
            self.outdated.inodes.append(ino)

    def _remove(self, parent: int, name: bytes) -> None:
        ino, row = self._inodes.lookup(parent, name)
        if stat.S_ISDIR(row.mode):
            for child, _, _, _ in list(self._names.list(ino)):
                self._remove(ino, child)
            self._names.rmdir(parent, name)
        else:
            self._names.unlink(parent, name)
        self.outdated.names.append((parent, name))
