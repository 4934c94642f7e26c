"""Operations on a tree as plain values, their outcomes, and what the tree is afterwards.

The same operations on two file systems must have the same outcomes and leave the same tree.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.posix import RENAME_EXCHANGE, RENAME_NOREPLACE, linkat, opened, renameat2

Op: TypeAlias = tuple[Any, ...]  # the name of a method of Ops, and its arguments
Facts: TypeAlias = dict[str, tuple[object, ...]]

PAST_NS = 1_500_000_000 * 10**9  # times before it were set, those after it are of a clock
NAMES = ("a", "b", "c", "d", "long" * 30)
ATTRIBUTES = ("user.one", "user.two", "trusted.three")
UIDS = (0, 1, 10_001, -1)


class Ops:
    """Does operations below a directory; whoever uses it must be root."""

    def __init__(self, root: str | Path) -> None:
        self.root = os.fspath(root)

    def do(self, op: Op) -> object:
        """Return the outcome: an errno's name, or what a look at the tree gave."""
        name, *args = op
        try:
            return getattr(self, name)(*args)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    def at(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def create(self, path: str, mode: int, flags: int) -> None:
        with opened(self.at(path), os.O_CREAT | os.O_RDWR | flags, mode):
            pass

    def write(self, path: str, offset: int, data: bytes) -> int:
        with opened(self.at(path), os.O_WRONLY | os.O_NONBLOCK) as fd:
            return os.pwrite(fd, data, offset)

    def append(self, path: str, data: bytes) -> int:
        with opened(self.at(path), os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK) as fd:
            return os.write(fd, data)

    def map_write(self, path: str, offset: int, data: bytes) -> None:
        with opened(self.at(path), os.O_RDWR) as fd:
            if os.fstat(fd).st_size >= offset + len(data) > 0:
                with mmap.mmap(fd, 0) as mapped:
                    mapped[offset : offset + len(data)] = data
                    mapped.flush()

    def truncate(self, path: str, size: int) -> None:
        # Not truncate(2): see the stamps in tests/mounted/branch/test_posix_times.py.
        with opened(self.at(path), os.O_WRONLY | os.O_NONBLOCK) as fd:
            os.ftruncate(fd, size)

    def rename(self, old: str, new: str, flags: int) -> None:
        renameat2(self.at(old), self.at(new), flags)

    def link(self, old: str, new: str) -> None:
        linkat(self.at(old), self.at(new))

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self.at(path))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self.at(path), mode)

    def mknod(self, path: str, mode: int, device: int) -> None:
        os.mknod(self.at(path), mode, device)

    def unlink(self, path: str) -> None:
        os.unlink(self.at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.at(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(self.at(path), uid, gid)

    def utime(self, path: str, atime: int, mtime: int) -> None:
        os.utime(self.at(path), ns=(atime, mtime), follow_symlinks=False)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        os.setxattr(self.at(path), name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(self.at(path), name)

    def fsync(self, path: str) -> None:
        with opened(self.at(path), os.O_RDONLY | os.O_NONBLOCK) as fd:
            os.fsync(fd)

    def read(self, path: str) -> str:
        with opened(self.at(path), os.O_RDONLY | os.O_NONBLOCK) as fd:
            return digest(os.pread(fd, 1 << 20, 0)) if stat.S_ISREG(os.fstat(fd).st_mode) else ""

    def listing(self, path: str) -> list[str]:
        return sorted(os.listdir(self.at(path)))

    def readlink(self, path: str) -> str:
        return os.readlink(self.at(path))

    def facts(self, path: str) -> tuple[object, ...]:
        return facts_of(self.at(path))

    def unlinked(self, path: str, data: bytes) -> tuple[object, ...]:
        """Write to and read from a file that has lost this name."""
        with opened(self.at(path), os.O_RDWR | os.O_NONBLOCK) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ()
            os.unlink(self.at(path))
            os.pwrite(fd, data, 5)
            return os.fstat(fd).st_nlink, digest(os.pread(fd, 1 << 20, 0))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


def facts_of(path: str) -> tuple[object, ...]:
    """What lstat(2) says that two file systems agree on."""
    facts = os.lstat(path)
    is_directory = stat.S_ISDIR(facts.st_mode)
    return (
        oct(facts.st_mode),
        facts.st_nlink,
        facts.st_uid,
        facts.st_gid,
        facts.st_rdev,
        0 if is_directory else facts.st_size,
        facts.st_mtime_ns if facts.st_mtime_ns < PAST_NS else "now",
    )


def everything_of(path: str) -> tuple[object, ...]:
    """Facts, attributes and content."""
    facts = os.lstat(path)
    names = [
        name
        for name in sorted(os.listxattr(path, follow_symlinks=False))
        if not name.startswith("security.")
    ]
    values = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    body = ""
    if stat.S_ISREG(facts.st_mode):
        body = digest(Path(path).read_bytes())
    elif stat.S_ISLNK(facts.st_mode):
        body = os.readlink(path)
    return (*facts_of(path), values, body)


def tree_of(root: str | Path) -> Facts:
    """Everything below a directory. Names of one inode are told by the first of them."""
    found: Facts = {}
    first: dict[int, str] = {}
    top = os.fspath(root)
    stack = [""]
    while stack:
        relative = stack.pop()
        for name in sorted(os.listdir(f"{top}/{relative}"), reverse=True):
            path = f"{relative}/{name}" if relative else name
            if stat.S_ISDIR(os.lstat(f"{top}/{path}").st_mode):
                stack.append(path)
            found[path] = everything_of(f"{top}/{path}")
    for path in sorted(found):
        facts = os.lstat(f"{top}/{path}")
        found[path] += (first.setdefault(facts.st_ino, path),)
    return found


def differences(one: Facts, other: Facts) -> list[str]:
    return [
        f"{path}: {one.get(path)} / {other.get(path)}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]


# ---------------------------------------------------------------------------------- random ones

WEIGHTS = {
    "create": 14,
    "write": 14,
    "append": 5,
    "map_write": 4,
    "truncate": 5,
    "rename": 12,
    "link": 5,
    "symlink": 4,
    "mkdir": 9,
    "mknod": 2,
    "unlink": 8,
    "rmdir": 4,
    "chmod": 3,
    "chown": 3,
    "utime": 3,
    "setxattr": 4,
    "removexattr": 2,
    "read": 6,
    "listing": 5,
    "readlink": 2,
    "facts": 8,
    "unlinked": 2,
}
FILE_TYPES = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG)  # a mount opens no devices


class RandomOps:
    """An endless sequence of operations that depends on the seed alone."""

    def __init__(self, seed: int, *, without: Sequence[str] = ()) -> None:
        self.random = random.Random(seed)
        weights = {name: weight for name, weight in WEIGHTS.items() if name not in without}
        self._names, self._weights = list(weights), list(weights.values())

    def next(self) -> Op:
        name = self.random.choices(self._names, self._weights)[0]
        return (name, *getattr(self, f"_{name}")())

    def _path(self) -> str:
        depth = self.random.choice((1, 1, 2, 2, 3))
        return "/".join(self.random.choices(NAMES, k=depth))

    def _data(self) -> bytes:
        size = int(10 ** (self.random.random() * 4.6))  # up to 40 KB, mostly small
        return self.random.randbytes(self.random.choice((0, 1, size, size)))

    def _offset(self) -> int:
        return self.random.choice(
            (0, 0, self.random.randrange(5000), self.random.randrange(90_000))
        )

    def _mode(self) -> int:
        return self.random.choice((0o644, 0o600, 0o777, 0o2755, 0o4711, 0o1777))

    def _create(self) -> Op:
        flags = self.random.choice((0, 0, os.O_EXCL, os.O_TRUNC, os.O_NOFOLLOW))
        return self._path(), self._mode(), flags

    def _write(self) -> Op:
        return self._path(), self._offset(), self._data()

    _map_write = _write

    def _append(self) -> Op:
        return self._path(), self._data()

    _unlinked = _append

    def _truncate(self) -> Op:
        return self._path(), self._offset()

    def _rename(self) -> Op:
        flags = self.random.choice((0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE))
        return self._path(), self._path(), flags

    def _link(self) -> Op:
        return self._path(), self._path()

    def _symlink(self) -> Op:
        return self.random.choice((*NAMES, "a/b", "none")), self._path()

    def _mkdir(self) -> Op:
        return self._path(), self._mode()

    def _mknod(self) -> Op:
        kind = self.random.choice(FILE_TYPES)
        return self._path(), kind | self._mode(), 0

    def _one_path(self) -> Op:
        return (self._path(),)

    _unlink = _rmdir = _read = _listing = _readlink = _facts = _fsync = _one_path

    def _chmod(self) -> Op:
        return self._path(), self._mode()

    def _chown(self) -> Op:
        return self._path(), self.random.choice(UIDS), self.random.choice(UIDS)

    def _utime(self) -> Op:
        return self._path(), self.random.randrange(PAST_NS), self.random.randrange(PAST_NS)

    def _setxattr(self) -> Op:
        flags = self.random.choice((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))
        value = self.random.randbytes(self.random.choice((0, 5, 300)))
        return self._path(), self.random.choice(ATTRIBUTES), value, flags

    def _removexattr(self) -> Op:
        return self._path(), self.random.choice(ATTRIBUTES)
