"""Taking files from an earlier export: by reflink, or as hard links. Only what is surely the same.

The earlier directory has a stamp that names its tree (`vfs.repo.exporter.stamp`). Both trees are
compared, so what did not change between the versions is known without reading it, and a ctime older
than the stamp proves that it did not change on the disk either. So it is for directories above it:
who renames one changes its ctime. Everything else that looks the same is read and hashed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from vfs.errors import CorruptObject, ExportProblem
from vfs.model.entry import Extra
from vfs.repo.blobs import FileReader
from vfs.repo.exporter.content import holds
from vfs.repo.exporter.place import OPEN_DIRECTORY
from vfs.repo.exporter.stamp import read_stamp
from vfs.repo.importer.inode import Unreadable, read_xattrs
from vfs.repo.importer.trust import Trust
from vfs.repo.treediff import Pair, pairs

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.exporter.attributes import Attributes
    from vfs.repo.repository import Repository

_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FICLONE: Final = 0x40049409  # linux/fs.h
_NEVER: Final = frozenset((errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EXDEV))
"""What is so for one file is so for all."""


class OldDirectory:
    """A directory of the earlier export, beside the one of the same name that is written."""

    __slots__ = ("_changes", "_next", "fd", "is_as_it_was")

    def __init__(self, fd: int, changes: Iterator[Pair], *, is_as_it_was: bool) -> None:
        """*changes*: between what was exported there and what is now, sorted by name."""
        self.fd = fd
        self.is_as_it_was = is_as_it_was
        self._changes = changes
        self._next: Pair | None = None
        self._advance()

    def old_entry(self, new: Entry) -> Entry | None:
        """Return what was exported by the name of *new*. Names must ascend from call to call."""
        while self._next is not None:
            was, now = self._next
            either = was or now
            assert either is not None
            if either.name > new.name:
                break
            self._advance()
            if either.name == new.name:
                return was
        return new

    def _advance(self) -> None:
        try:
            self._next = next(self._changes, None)
        except CorruptObject:  # a version, or a part of it, that is no longer in the store
            self._next, self.is_as_it_was = None, False


class Earlier:
    """An export that was made earlier. For one thread; a context manager."""

    def __init__(self, repo: Repository, path: Path, *, link: bool, verify: bool) -> None:
        """*link*: make hard links; *verify*: read and hash all that is taken.

        Raises ExportProblem unless *path* is a directory.
        """
        self._repo = repo
        self._files = FileReader(repo.store.reader())
        self._link = link
        self._open: set[OldDirectory] = set()
        try:
            self._top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ExportProblem(f"{path} can't be read: {error.strerror}") from error
        self._stamp = None if verify else read_stamp(self._top)
        self._times = Trust().of(self._top, os.fstat(self._top))
        self.taken = 0
        """Files that were taken."""
        self.is_impossible = False
        """No file at all can be taken: the file system has no such thing, or is another one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for directory in self._open:
            os.close(directory.fd)
        os.close(self._top)

    def top(self, new: Entry) -> OldDirectory:
        """Return the directory that was exported; *new* is what takes its place."""
        old = self._stamp.tree if self._stamp else None
        return self._opened(os.dup(self._top), old, new)

    def enter(self, parent: OldDirectory | None, new: Entry) -> OldDirectory | None:
        """Return the directory of *parent* that *new* takes the place of; None without one."""
        if parent is None:
            return None
        was = parent.old_entry(new)
        if was is None or not was.is_dir or self.is_impossible:
            return None
        try:
            fd = os.open(new.name, OPEN_DIRECTORY, dir_fd=parent.fd)
        except OSError:
            return None
        known = parent.is_as_it_was and self._is_as_it_was(os.fstat(fd))
        return self._opened(fd, was.content if known else None, new)

    def leave(self, directory: OldDirectory) -> None:
        """Close what `top` or `enter` returned."""
        self._open.discard(directory)
        os.close(directory.fd)

    def take(self, old: OldDirectory, new: Entry, into: int, attributes: Attributes) -> bool:
        """Make the regular file *new*, which has one name, in the open directory *into*.

        Return whether that was possible; if not, nothing was made. Names must ascend.
        """
        try:
            was = old.old_entry(new)
            if self.is_impossible or was is None or not was.is_file:
                return False
            found = os.stat(new.name, dir_fd=old.fd, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                return False
            if (found.st_size, found.st_mtime_ns) != (new.size, was.mtime_ns):
                return False
            known = old.is_as_it_was and self._is_as_it_was(found)
            if self._link:
                is_taken = self._hard_link(old, new, into, found, known=known and was == new)
            else:
                known = known and (was.content, was.flags) == (new.content, new.flags)
                is_taken = self._clone(old, new, into, found, attributes, known=known)
        except OSError as error:
            # Whatever it is, the file is made from the store instead.
            self.is_impossible = error.errno in _NEVER
            return False
        except (CorruptObject, Unreadable):
            return False
        self.taken += is_taken
        return is_taken

    def _opened(self, fd: int, tree: ObjectId | None, new: Entry) -> OldDirectory:
        """*tree*: what was exported there, if nobody can have changed that by renaming."""
        changes = pairs(self._repo.nodes, tree, new.content) if tree else iter(())
        directory = OldDirectory(fd, changes, is_as_it_was=tree is not None)
        self._open.add(directory)
        return directory

    def _is_as_it_was(self, found: os.stat_result) -> bool:
        """Say whether nothing was done to an inode since it was exported."""
        # An equal time may be that of a change in the same tick of the clock.
        return (
            self._stamp is not None
            and found.st_ctime_ns < self._stamp.time_ns
            and self._times.tell(found)
        )

    def _clone(
        self,
        old: OldDirectory,
        new: Entry,
        into: int,
        found: os.stat_result,
        attributes: Attributes,
        *,
        known: bool,
    ) -> bool:
        source = os.open(new.name, _OPEN_FILE, dir_fd=old.fd)
        is_same = False
        try:
            fd = attributes.make_file(into, new)
            try:
                fcntl.ioctl(fd, _FICLONE, source)
                # The clone is looked at, which nobody else can change.
                known = known and _is_unchanged(found, os.fstat(source))
                is_same = known or holds(self._files, fd, new)
                if is_same:
                    attributes.set_made(fd, new)
            except BaseException:
                is_same = False
                raise
            finally:
                os.close(fd)
                if not is_same:
                    os.unlink(new.name, dir_fd=into)
        finally:
            os.close(source)
        return is_same

    def _hard_link(
        self, old: OldDirectory, new: Entry, into: int, found: os.stat_result, *, known: bool
    ) -> bool:
        if (found.st_mode, found.st_uid, found.st_gid) != (new.mode, new.uid, new.gid):
            return False
        if found.st_mtime_ns != new.mtime_ns or not (known or self._is_same(old, new, found)):
            return False
        os.link(new.name, new.name, src_dir_fd=old.fd, dst_dir_fd=into, follow_symlinks=False)
        made = os.stat(new.name, dir_fd=into, follow_symlinks=False)
        if os.path.samestat(made, found):
            return True
        os.unlink(new.name, dir_fd=into)
        return False

    def _is_same(self, old: OldDirectory, new: Entry, found: os.stat_result) -> bool:
        """Compare content and attributes of a file that may have changed."""
        fd = os.open(new.name, _OPEN_FILE, dir_fd=old.fd)
        try:
            return (
                holds(self._files, fd, new)
                and read_xattrs(fd) == Extra.decode(new.extra).xattrs
                and _is_unchanged(found, os.fstat(fd))
            )
        finally:
            os.close(fd)


def _is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return os.path.samestat(before, after) and before.st_ctime_ns == after.st_ctime_ns
