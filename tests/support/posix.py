"""What cases of POSIX behaviour share: expected errnos, other users, calls that Python lacks.

All paths are relative: a case runs in a directory of its own, which other users reach without
passing through the test's private ones.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

NAME_MAX = 255
PATH_MAX = 4096
COARSE = 5  # CLOCK_REALTIME_COARSE: what the kernel stamps inodes with
ALIASES = {"ENOTSUP": "EOPNOTSUPP", "EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK"}

# ----------------------------------------------------------------------------- what is expected


class Difference(NamedTuple):
    """Where a branch may answer otherwise than ext4. Several answers: any of them."""

    reference: str
    branch: str
    reason: str


DIFFERENCES = {
    "O_TMPFILE": Difference("OK", "EOPNOTSUPP", "pyfuse3 has no tmpfile request"),
    "RENAME_WHITEOUT": Difference("OK", "EINVAL", "the kernel does not pass it on to FUSE"),
    "fallocate": Difference("OK", "EOPNOTSUPP", "pyfuse3 has no fallocate request"),
    "device": Difference("OK", "EACCES", "a mount is nodev unless asked otherwise"),
    "mount point": Difference("OK", "EBUSY", "a mount point can't be removed or renamed"),
    "mount point, not empty": Difference("ENOTEMPTY", "EBUSY", "as above, found first"),
    "largest size": Difference("EFBIG", "OK EFBIG", "how much ext4 can map is its own"),
    "xattr of many bytes": Difference("ENOSPC", "OK ENOSPC", "ext4 has a block of 4 KiB for all"),
    "both flags of setxattr": Difference("ENODATA", "OK", "pyfuse3 checks the first of them alone"),
}


@dataclass
class Tree:
    """A file system to try things in; the working directory is a new one in it."""

    kind: str  # "reference" or "branch"
    root: Path
    elsewhere: Path  # another file system

    def expect(self, expected: str | Difference, call: Callable[..., Any], *args: Any) -> None:
        """Make the call; its errno must be (one of those) expected of this file system."""
        if isinstance(expected, Difference):
            expected = expected.reference if self.kind == "reference" else expected.branch
        found = err(call, *args)
        assert found in expected.split(), f"{found}, not {expected}"


def err(call: Callable[..., object], *args: Any, **named: Any) -> str:
    """The name of the error of a call; OK if there is none."""
    try:
        result = call(*args, **named)
    except OSError as exc:
        name = errno.errorcode[exc.errno or 0]
        return ALIASES.get(name, name)
    if call is os.open:
        os.close(result)  # type: ignore[arg-type]
    return "OK"


def rows(*table: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise a test with (expected, call, *args)."""

    def name(row: Any) -> str:
        expected, call, *args = row
        if isinstance(expected, Difference):
            expected = next(key for key, value in DIFFERENCES.items() if value is expected)
        words = (f"0o{arg:o}" if isinstance(arg, int) else _shown(arg) for arg in args)
        return f"{call.__name__}({','.join(words)})={expected}"

    every = [tuple(row) for row in table]
    return pytest.mark.parametrize(
        ("expected", "call", "args"),
        [(row[0], row[1], row[2:]) for row in every],
        ids=[name(row) for row in every],
    )


def _shown(value: Any) -> str:
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    text = text.replace("/", "|") or "''"
    return text if len(text) < 24 else f"{text[:10]}+{len(text) - 10}"


# ---------------------------------------------------------------------------------- other users


class User(NamedTuple):
    """Somebody else, whose calls are made in a process of theirs."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def run(self, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Return what the call returns; raise what it raises."""
        return in_child(lambda: call(*args, **named), self)

    def err(self, call: Callable[..., Any], *args: Any, **named: Any) -> str:
        return self.run(err, call, *args, **named)


ANN = User(10_001, 20_001)
BOB = User(10_002, 20_002)
CAROL = User(10_003, 20_001)  # of Ann's group
DAVE = User(10_004, 20_004, (20_001, 20_005))  # of Ann's group as well, and another


def in_child(call: Callable[[], Any], user: User | None = None) -> Any:
    """Make the call in a forked process; return what it returns, raise what it raises."""
    return Child(call, user).result()


class Child:
    """A forked process that makes one call."""

    def __init__(self, call: Callable[[], Any], user: User | None = None) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may idle
            self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _serve(call, user, writer)
        os.close(writer)
        self._reader = reader

    def result(self) -> Any:
        with os.fdopen(self._reader, "rb") as file:
            data = file.read()
        _, status = os.waitpid(self.pid, 0)
        assert data, f"the child ended with status {status}"
        good, value = pickle.loads(data)
        if good:
            return value
        raise value


def _serve(call: Callable[[], Any], user: User | None, writer: int) -> None:
    """Never returns."""
    try:
        if user is not None:
            os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        answer = (True, call())
    except OSError as exc:
        answer = (False, OSError(exc.errno, exc.strerror))
    except BaseException:
        answer = (False, AssertionError(traceback.format_exc()))
    try:
        with os.fdopen(writer, "wb") as file:
            file.write(pickle.dumps(answer))
    finally:
        os._exit(0)


def limited_to(size: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call under RLIMIT_FSIZE; SIGXFSZ is ignored by Python."""

    def limited() -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return call()

    return limited


# --------------------------------------------------------------------------- the system's calls

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x200, 0x400, 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2

for _name in ("opendir", "readdir", "mmap"):
    getattr(LIBC, _name).restype = ctypes.c_void_p
LIBC.telldir.restype = ctypes.c_long
LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def renameat2(old: str, new: str, flags: int = 0) -> None:
    old_raw, new_raw = os.fsencode(old), os.fsencode(new)
    checked(LIBC.renameat2(AT_FDCWD, old_raw, AT_FDCWD, new_raw, flags))


def linkat(old: str, new: str, flags: int = 0, *, old_dir: int = AT_FDCWD) -> None:
    checked(LIBC.linkat(old_dir, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def unlinkat(path: str, flags: int = 0) -> None:
    checked(LIBC.unlinkat(AT_FDCWD, os.fsencode(path), flags))


def mknod_raw(path: str, mode: int, device: int = 0) -> None:
    checked(LIBC.mknod(os.fsencode(path), mode, ctypes.c_uint64(device)))


def utimensat(path: str, atime: int, mtime: int, flags: int = 0) -> None:
    """Set times, in ns since 1970 or UTIME_NOW, UTIME_OMIT (no case asks for these as times)."""
    special = (UTIME_NOW, UTIME_OMIT)
    times = [
        part for ns in (atime, mtime) for part in ((0, ns) if ns in special else divmod(ns, 10**9))
    ]
    checked(LIBC.utimensat(AT_FDCWD, os.fsencode(path), struct.pack("4q", *times), flags))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    checked(LIBC.fallocate(fd, mode, offset, length))


def syncfs(fd: int) -> None:
    checked(LIBC.syncfs(fd))


class Dirent(NamedTuple):
    name: bytes
    ino: int
    kind: int


class Directory:
    """A directory stream: opendir(3) and what goes with it."""

    def __init__(self, path: str = ".") -> None:
        stream = LIBC.opendir(os.fsencode(path))
        self._stream = ctypes.c_void_p(checked(-1) if stream is None else stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        checked(LIBC.closedir(self._stream))

    def read(self) -> Dirent | None:
        ctypes.set_errno(0)
        row = LIBC.readdir(self._stream)
        if row is None:
            if ctypes.get_errno():
                checked(-1)
            return None
        ino, _, _, kind = struct.unpack("=QqHB", ctypes.string_at(row, 19))
        return Dirent(ctypes.string_at(row + 19), ino, kind)

    def __iter__(self) -> Iterator[Dirent]:
        return iter(self.read, None)

    def names(self) -> list[bytes]:
        """The names that are left, without dot and dot-dot."""
        return [row.name for row in self if row.name not in (b".", b"..")]

    def tell(self) -> int:
        return LIBC.telldir(self._stream)

    def seek(self, where: int) -> None:
        LIBC.seekdir(self._stream, ctypes.c_long(where))

    def rewind(self) -> None:
        LIBC.rewinddir(self._stream)


# ------------------------------------------------------------------------------------- shortcuts


@contextmanager
def opened(path: str, flags: int = os.O_RDWR, mode: int = 0o666) -> Iterator[int]:
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def create(path: str, data: bytes = b"", *, mode: int = 0o644, owner: User | None = None) -> str:
    """Make a file that is *owner*'s, root's without."""
    with opened(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600) as fd:
        os.write(fd, data)
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, mode)
    return path


def directory(path: str, *, mode: int = 0o755, owner: User | None = None) -> str:
    os.mkdir(path)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    os.chmod(path, mode)
    return path


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def mode_of(path: str) -> int:
    return os.lstat(path).st_mode & 0o7777


def check_links() -> None:
    """Every directory here and below has two links and one for each directory in it."""
    for path, directories, _ in os.walk("."):
        below = [name for name in directories if not os.path.islink(os.path.join(path, name))]
        assert os.lstat(path).st_nlink == 2 + len(below), path


def tick() -> int:
    """Wait until the kernel's clock of time stamps has moved on; return it."""
    before = time.clock_gettime_ns(COARSE)
    while (now := time.clock_gettime_ns(COARSE)) <= before:
        pass
    return now


ZOO_FILE, ZOO_BIG = b"content\n", bytes(range(251)) * 1200  # several chunks


def make_zoo() -> None:
    """Make one of each kind in the working directory."""
    create("file", ZOO_FILE)
    create("big", ZOO_BIG)
    create("linked", b"twice")
    os.link("linked", "linked too")
    os.mkdir("dir")
    os.mkdir("full")
    create("full/inside")
    os.mkdir("full/sub")
    for name, target in ZOO_LINKS.items():
        os.symlink(target, name)
    os.mkfifo("fifo")
    os.mknod("sock", 0o140644)
    os.mknod("null", 0o020666, os.makedev(1, 3))


ZOO_LINKS: Mapping[str, str] = {
    "link": "file",
    "linkdir": "dir",
    "dangling": "nowhere",
    "loop": "loop",
}
