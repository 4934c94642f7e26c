"""Where an export goes: a directory beside its target, which takes the target's place at the end.

Knows no store. Until the end only its owner can enter what is written (mode 0700), so nobody else
can put a symlink in the way; all the same, every name is looked up in an open directory.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from blake3 import blake3

from vfs.errors import AlreadyExists, Conflict, ExportProblem, InvalidInput, NotSupported
from vfs.model.entry import NAME_MAX_BYTES

OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ACLS: Final = ("system.posix_acl_access", "system.posix_acl_default")
_RENAME_EXCHANGE: Final = 2
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Place:
    """The directory that an export fills. A context manager: what is not published is removed.

    What a killed export to the same target left is removed first.
    """

    def __init__(self, target: Path, *, replace: bool) -> None:
        """*replace*: a directory at *target* is no obstacle; it goes when the new one is there."""
        if target.name in ("", "..", "."):
            raise InvalidInput(f"'{target}' is no name for a new directory")
        self._target = target
        self._name = target.name
        self._hidden = hidden_name(target.name)
        self._replace = replace
        self._parent = -1
        self._is_there = False  # something is at the target, which is to be replaced
        self.fd = -1
        """The open directory to write to."""

    def __enter__(self) -> Self:
        try:
            self._parent = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._problem(error) from error
        try:
            self._look_at_target()
            self._make()
        except OSError as error:
            self._close()
            raise self._problem(error) from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            with suppress(FileNotFoundError):
                if self._is_ours():
                    remove_tree(self._parent, self._hidden)
        except OSError as error:
            raise self._problem(error) from error
        finally:
            self._close()

    def publish(self) -> None:
        """Put what was written at the target, after all of it is on the disk."""
        try:
            sync_file_system(self.fd)
            if self._is_there:
                self._exchange()
            else:
                os.rename(
                    self._hidden, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent
                )
            os.fsync(self._parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise self._in_the_way() from error
            raise self._problem(error) from error
        if self._is_there:
            self._remove_old()

    def _look_at_target(self) -> None:
        try:
            there = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(there.st_mode):
            raise AlreadyExists(
                f"{self._target} exists and is no directory", hint="choose another place"
            )
        fd = os.open(self._name, OPEN_DIRECTORY, dir_fd=self._parent)
        try:
            is_empty = not _names(fd)
        finally:
            os.close(fd)
        if not is_empty and not self._replace:
            raise self._in_the_way()
        self._is_there = self._replace

    def _in_the_way(self) -> AlreadyExists:
        return AlreadyExists(
            f"{self._target} exists and is not empty",
            hint="choose another place, or replace it with --replace",
        )

    def _make(self) -> None:
        """Make the hidden directory, and lock it: whoever finds it unlocked may remove it."""
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._hidden, 0o700, dir_fd=self._parent)
            self.fd = os.open(self._hidden, OPEN_DIRECTORY, dir_fd=self._parent)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"another export to {self._target} is running") from None
            if self._is_ours():
                if os.fstat(self.fd).st_uid != os.geteuid():
                    hidden = self._target.parent / self._hidden
                    raise AlreadyExists(f"{hidden} is in the way, and another user's")
                if not _names(self.fd):
                    break
                remove_tree(self._parent, self._hidden)
            os.close(self.fd)
            self.fd = -1
        os.fchmod(self.fd, 0o700)
        for (
            name
        ) in _ACLS:  # which a default ACL of the parent gave it, and would go on to all in it
            with suppress(OSError):
                os.removexattr(self.fd, name)

    def _is_ours(self) -> bool:
        """Say whether the hidden name is the directory that is open."""
        if self.fd < 0:
            return False
        try:
            named = os.stat(self._hidden, dir_fd=self._parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self.fd))

    def _exchange(self) -> None:
        old, new = os.fsencode(self._hidden), os.fsencode(self._name)
        if _libc.renameat2(self._parent, old, self._parent, new, _RENAME_EXCHANGE):
            code = ctypes.get_errno()
            if code in (errno.EINVAL, errno.ENOSYS):
                raise NotSupported(
                    f"the file system of {self._target} can't exchange two directories",
                    hint="remove the old one first, and export without --replace",
                )
            raise OSError(code, os.strerror(code))

    def _remove_old(self) -> None:
        """Remove what was replaced, unless the next export to this target does already."""
        try:
            old = os.open(self._hidden, OPEN_DIRECTORY, dir_fd=self._parent)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(self._parent, self._hidden)
        except BlockingIOError:
            pass
        except OSError as error:
            hidden = self._target.parent / self._hidden
            raise ExportProblem(
                f"the export is at {self._target}; what was there before can't be removed: "
                f"{error.strerror}",
                hint=f"it is in {hidden}",
            ) from error
        finally:
            os.close(old)

    def _close(self) -> None:
        for fd in (self.fd, self._parent):
            if fd >= 0:
                os.close(fd)
        self.fd = self._parent = -1

    def _problem(self, error: OSError) -> ExportProblem:
        if error.errno == errno.EBUSY:
            return ExportProblem(
                f"{self._target} is in use as a mount point", hint="name a directory inside of it"
            )
        return ExportProblem(f"{self._target} can't be made: {error.strerror}")


def hidden_name(name: str) -> str:
    """Return the name that a target with *name* has until it is whole."""
    hidden = f".{name}.vfs-export"
    if len(os.fsencode(hidden)) > NAME_MAX_BYTES:
        return f".{blake3(os.fsencode(name)).hexdigest(8)}.vfs-export"
    return hidden


def sync_file_system(fd: int) -> None:
    """Return when all that was written to the file system of *fd* is on its disk."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def remove_tree(parent: int, name: str) -> None:
    """Remove a directory of the open directory *parent* with all that is in it.

    No symlink is followed, however deep it is. What vanishes meanwhile is no error.
    """
    above = [_Doomed(parent, name)]
    try:
        while above:
            here = above[-1]
            if here.inner:
                with suppress(FileNotFoundError):
                    above.append(_Doomed(here.fd, here.inner.pop()))
                continue
            above.pop()
            os.close(here.fd)
            with suppress(FileNotFoundError):
                os.rmdir(here.name, dir_fd=above[-1].fd if above else parent)
    finally:
        for doomed in above:
            os.close(doomed.fd)


class _Doomed:
    """A directory that is open and holds directories alone, as all else was removed."""

    def __init__(self, parent: int, name: str) -> None:
        self.name = name
        self.fd = _open_to_empty(parent, name)
        self.inner: list[str] = []
        for child in _names(self.fd):
            try:
                os.unlink(child, dir_fd=self.fd)
            except IsADirectoryError:
                self.inner.append(child)
            except FileNotFoundError:
                pass


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as items:
        return [item.name for item in items]


def _open_to_empty(parent: int, name: str) -> int:
    """Open a directory, whatever its mode, if it is this user's."""
    try:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    except PermissionError:
        path = os.open(name, os.O_PATH | OPEN_DIRECTORY, dir_fd=parent)
        try:
            Path(f"/proc/self/fd/{path}").chmod(0o700)
        finally:
            os.close(path)
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    if os.geteuid():
        os.fchmod(fd, 0o700)
    return fd
