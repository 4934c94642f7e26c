"""Giving files of an export their owner, attributes, mode and time. Knows no store.

What this user, or the file system, can't do is counted by reason, not raised: any user can export a
version with files of many owners, and is told once what is not as it was.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.model.entry import Extra

if TYPE_CHECKING:
    from vfs.model.entry import Entry

CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_REFUSED: Final = frozenset((errno.EPERM, errno.EACCES, errno.EINVAL))
_TOO_LARGE: Final = frozenset((errno.ENOSPC, errno.E2BIG, errno.ERANGE))
_UNSUPPORTED: Final = frozenset((errno.EOPNOTSUPP, errno.ENOSYS))
_AS_OWNER: Final = stat.S_ISUID | stat.S_ISGID
_SPECIAL: Final = 0o7000  # never given to what is not whole
_PROBE: Final = ".vfs-export-probe"
_PROBE_MODE: Final = 0o640
OWNERS: Final = "owners and groups that only root can set"
RUNS_AS_OWNER: Final = "set-user-ID and set-group-ID, as the owner could not be set"


class Attributes:
    """Sets attributes, and counts what can't be set. Thread-safe."""

    def __init__(self) -> None:
        self._user = os.geteuid()
        self._is_root = self._user == 0
        self._lock = threading.Lock()
        self._born_as = (-1, -1)  # owner and group of a file that is made
        self._set_anyway = ~0  # bits of modes that a file is not made with
        self.lost: Counter[str] = Counter()
        """How many files lack what, by what it is."""

    def learn(self, directory: int) -> None:
        """Learn what a file that is made below an open directory has already. Raises OSError.

        That depends on the umask, and on how the file system was mounted.
        """
        fd = os.open(_PROBE, CREATE, _PROBE_MODE, dir_fd=directory)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
            os.unlink(_PROBE, dir_fd=directory)
        self._born_as = found.st_uid, found.st_gid
        umask = _umask()
        if stat.S_IMODE(found.st_mode) == _PROBE_MODE & ~umask:  # vfat has modes of its own
            self._set_anyway = _SPECIAL | umask

    def make_file(self, directory: int, entry: Entry) -> int:
        """Make and open a regular file, for `set_made`. Raises OSError."""
        # Attributes (in the extra) can't be set without the right to write.
        mode = 0o600 if entry.extra else entry.mode & 0o777
        return os.open(entry.name, CREATE, mode, dir_fd=directory)

    def set_made(self, fd: int, entry: Entry) -> None:
        """Do as `set_open` for a file of `make_file`; what it has already is not set again."""
        if entry.extra or entry.mode & self._set_anyway or (entry.uid, entry.gid) != self._born_as:
            self.set_open(fd, entry, Extra.decode(entry.extra))
        else:
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def set_open(self, fd: int, entry: Entry, extra: Extra) -> None:
        """Set all attributes of an open file or directory. Raises OSError."""
        mode = stat.S_IMODE(entry.mode)
        if not self._own(fd, entry) and entry.is_file and mode & _AS_OWNER:
            # It would run as another user than it was meant to.
            mode &= ~_AS_OWNER
            self._lose(RUNS_AS_OWNER)
        for name, value in extra.xattrs:
            self._set_xattr(fd, name, value)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def set_named(self, directory: int, entry: Entry, extra: Extra) -> None:
        """Set all attributes of what can't be opened: a symlink, a fifo. Raises OSError."""
        self._own(entry.name, entry, directory)
        if extra.xattrs:  # Linux has no call for them that takes a directory
            path = b"/proc/self/fd/%d/%s" % (directory, entry.name)
            for name, value in extra.xattrs:
                self._set_xattr(path, name, value)
        if not stat.S_ISLNK(entry.mode):  # it was just made, and is no symlink
            os.chmod(entry.name, stat.S_IMODE(entry.mode), dir_fd=directory)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(entry.name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _own(self, where: int | bytes, entry: Entry, directory: int | None = None) -> bool:
        """Set owner and group; say whether both could be set.

        Who is not root can give what is his own to a group that he is in.
        """
        is_right = True
        if self._is_root or entry.uid == self._user:
            try:
                os.chown(
                    where,
                    entry.uid,
                    entry.gid,
                    dir_fd=directory,
                    follow_symlinks=directory is None,
                )
            except PermissionError:
                is_right = False
        else:
            is_right = False
        if not is_right:
            self._lose(OWNERS)
        return is_right

    def _set_xattr(self, where: int | bytes, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
        except OSError as error:
            shown = name.decode("utf-8", "backslashreplace")
            if error.errno in _UNSUPPORTED:
                self._lose(f"the attribute '{shown}', which the file system does not have")
            elif error.errno in _REFUSED:
                self._lose(f"the attribute '{shown}', which this user can't set")
            elif error.errno in _TOO_LARGE:
                self._lose(f"the attribute '{shown}', for which the file system has no room")
            else:
                raise

    def _lose(self, what: str) -> None:
        with self._lock:
            self.lost[what] += 1


def _umask() -> int:
    """Return the umask, which os.umask() would change for a moment, for all threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Umask":
            return int(value, 8)
    return 0o777  # before Linux 4.7: nothing is known
