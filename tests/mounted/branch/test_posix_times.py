"""utimensat(2), and which operation stamps which time of which object."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.posix import (
    ANN,
    AT_SYMLINK_NOFOLLOW,
    BOB,
    COARSE,
    RENAME_EXCHANGE,
    UTIME_NOW,
    UTIME_OMIT,
    Tree,
    User,
    create,
    err,
    linkat,
    opened,
    renameat2,
    syncfs,
    tick,
    utimensat,
)

pytestmark = pytest.mark.mounted

OLD = 1_000_000_000_123_456_789
SECOND = 10**9


# ------------------------------------------------------------------------------------ utimensat


@pytest.mark.parametrize(
    "ns", [0, 1, 999_999_999, OLD, -1, -SECOND, -OLD // 1000, 2**31 * SECOND, 2**33 * SECOND + 7]
)
@pytest.mark.parametrize("name", ["file", "dir", "fifo", "link"])
def test_to_the_nanosecond(zoo: Tree, name: str, ns: int) -> None:
    utimensat(name, ns, ns + 1, AT_SYMLINK_NOFOLLOW)
    for _ in range(2):
        facts = os.lstat(name)
        assert (facts.st_atime_ns, facts.st_mtime_ns) == (ns, ns + 1)
        with opened(".", os.O_RDONLY) as fd:
            syncfs(fd)


@pytest.mark.parametrize("atime", [OLD, UTIME_NOW, UTIME_OMIT])
@pytest.mark.parametrize("mtime", [OLD, UTIME_NOW, UTIME_OMIT])
def test_now_and_omit(zoo: Tree, atime: int, mtime: int) -> None:
    utimensat("file", 5 * SECOND, 6 * SECOND)
    before = os.stat("file")
    low = tick_beyond(before.st_ctime_ns)
    utimensat("file", atime, mtime)
    high, after = time.time_ns(), os.stat("file")
    for wanted, old, new in (
        (atime, before.st_atime_ns, after.st_atime_ns),
        (mtime, before.st_mtime_ns, after.st_mtime_ns),
    ):
        if wanted == UTIME_NOW:
            assert low <= new <= high
        else:
            assert new == (old if wanted == UTIME_OMIT else wanted)
    assert (after.st_ctime_ns > before.st_ctime_ns) == ((atime, mtime) != (UTIME_OMIT, UTIME_OMIT))


@pytest.mark.parametrize(
    ("user", "mode", "atime", "mtime", "expected"),
    [
        (ANN, 0o400, OLD, OLD, "OK"),
        (ANN, 0o000, UTIME_NOW, UTIME_NOW, "OK"),
        (ANN, 0o000, UTIME_OMIT, OLD, "OK"),
        (BOB, 0o666, UTIME_NOW, UTIME_NOW, "OK"),
        (BOB, 0o644, UTIME_NOW, UTIME_NOW, "EACCES"),
        (BOB, 0o666, OLD, OLD, "EPERM"),
        (BOB, 0o666, UTIME_NOW, UTIME_OMIT, "EPERM"),
        (BOB, 0o666, UTIME_OMIT, UTIME_NOW, "EPERM"),
        (BOB, 0o600, UTIME_OMIT, UTIME_OMIT, "OK"),
        (User(0, 0), 0o000, OLD, OLD, "OK"),
    ],
)
def test_who_may(tree: Tree, user: User, mode: int, atime: int, mtime: int, expected: str) -> None:
    create("file", mode=mode, owner=ANN)
    assert user.err(utimensat, "file", atime, mtime) == expected


def test_a_symlink_has_times_of_its_own(zoo: Tree) -> None:
    before = os.stat("file").st_mtime_ns
    utimensat("link", OLD, OLD, AT_SYMLINK_NOFOLLOW)
    assert (os.lstat("link").st_mtime_ns, os.stat("link").st_mtime_ns) == (OLD, before)
    utimensat("link", OLD, OLD + 1)
    assert os.stat("file").st_mtime_ns == OLD + 1
    assert err(utimensat, "dangling", OLD, OLD) == "ENOENT"


def test_times_set_while_a_file_is_written_stay(zoo: Tree) -> None:
    with opened("big") as fd:
        os.write(fd, b"before")
        os.utime(fd, ns=(OLD, OLD))
        assert os.fstat(fd).st_mtime_ns == OLD
        os.fsync(fd)
        assert os.fstat(fd).st_mtime_ns == OLD
    assert os.stat("big").st_mtime_ns == OLD


def test_times_never_go_back(tree: Tree) -> None:
    create("file")
    last = 0
    with opened("file") as fd:
        for turn in range(200):
            if turn % 3 == 0:
                os.write(fd, b"x")
            elif turn % 3 == 1:
                os.utime(fd)
            else:
                os.ftruncate(fd, turn)
            now = os.stat("file").st_mtime_ns
            assert now >= last
            last = now


# -------------------------------------------------------------------------------------- stamps


def read(path: str) -> None:
    with opened(path, os.O_RDONLY) as fd:
        os.read(fd, 10)


def write(path: str, data: bytes = b"x", flags: int = 0) -> None:
    with opened(path, os.O_WRONLY | flags) as fd:
        os.write(fd, data)


def write_mapped(path: str) -> None:
    with opened(path) as fd, mmap.mmap(fd, 0) as mapped:
        mapped[0:1] = b"x"
        mapped.flush()


def fshorten(path: str, size: int) -> None:
    with opened(path) as fd:
        os.ftruncate(fd, size)


def only_look(path: str) -> None:
    os.stat(path)
    os.access(path, os.R_OK)
    os.listxattr(path)
    err(os.getxattr, path, "user.none")
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        os.lseek(fd, 1, os.SEEK_SET)
        os.fsync(fd)


def copy_range() -> None:
    with opened("big", os.O_RDONLY) as source, opened("file") as target:
        os.copy_file_range(source, target, 5000)


def allocate(path: str) -> None:
    with opened(path) as fd:
        os.posix_fallocate(fd, 0, 1000)


STAMPS: dict[str, tuple[Callable[[], object], dict[str, str]]] = {
    # A new object has all three. A capital: the kernel does not tell a FUSE server of a read from
    # the page cache, or, with a writeback cache, of a truncate(2) to the size that is.
    "look": (lambda: only_look("file"), {}),
    "read": (lambda: read("file"), {"file": "A"}),
    "list": (lambda: os.listdir("full"), {"full": "A"}),
    "readlink": (lambda: os.readlink("link"), {"link": "A"}),
    "follow": (lambda: os.stat("link"), {"link": "A"}),
    "write": (lambda: write("file"), {"file": "mc"}),
    "write nothing": (lambda: write("file", b""), {}),
    "append": (lambda: write("linked", b"x", os.O_APPEND), {"linked": "mc", "linked too": "mc"}),
    "write synced": (lambda: write("big", b"x", os.O_SYNC), {"big": "mc"}),
    "write mapped": (lambda: write_mapped("big"), {"big": "Amc"}),
    "truncate": (lambda: os.truncate("big", 70_000), {"big": "mc"}),
    "extend": (lambda: os.truncate("file", 70_000), {"file": "mc"}),
    "truncate to the same": (lambda: os.truncate("file", 8), {"file": "MC"}),
    "ftruncate to the same": (lambda: fshorten("file", 8), {"file": "mc"}),
    "open with O_TRUNC": (lambda: write("big", b"", os.O_TRUNC), {"big": "mc"}),
    "copy_file_range": (copy_range, {"file": "mc", "big": "A"}),
    "posix_fallocate": (lambda: allocate("file"), {"file": "mc"}),
    "create": (lambda: create("full/new"), {"full": "mc", "full/new": "amc"}),
    "mkdir": (lambda: os.mkdir("dir/new"), {"dir": "mc", "dir/new": "amc"}),
    "mkfifo": (lambda: os.mkfifo("new"), {".": "mc", "new": "amc"}),
    "symlink": (lambda: os.symlink("x", "dir/new"), {"dir": "mc", "dir/new": "amc"}),
    "link": (lambda: linkat("file", "dir/new"), {"dir": "mc", "file": "c"}),
    "unlink": (lambda: os.unlink("full/inside"), {"full": "mc", "full/inside": "c"}),
    "unlink one of two": (
        lambda: os.unlink("linked too"),
        {".": "mc", "linked": "c", "linked too": "c"},
    ),
    "rmdir": (lambda: os.rmdir("full/sub"), {"full": "mc", "full/sub": "c"}),
    "rename": (lambda: os.rename("file", "new"), {".": "mc", "file": "c"}),
    "rename across": (
        lambda: os.rename("full/inside", "dir/new"),
        {"full": "mc", "dir": "mc", "full/inside": "c"},
    ),
    "rename over": (lambda: os.rename("file", "big"), {".": "mc", "file": "c", "big": "c"}),
    "rename a directory": (lambda: os.rename("dir", "new"), {".": "mc", "dir": "c"}),
    "rename a directory across": (
        lambda: os.rename("full/sub", "dir/new"),
        {"full": "mc", "dir": "mc", "full/sub": "c"},
    ),
    "rename to the same": (lambda: os.rename("linked", "linked too"), {}),
    "exchange": (
        lambda: renameat2("full/inside", "dir", RENAME_EXCHANGE),
        {".": "mc", "full": "mc", "full/inside": "c", "dir": "c"},
    ),
    "chmod": (lambda: os.chmod("file", 0o600), {"file": "c"}),
    "chmod to the same": (lambda: os.chmod("dir", 0o755), {"dir": "c"}),
    "chown": (lambda: os.lchown("link", 1, 1), {"link": "c"}),
    "chown nothing": (lambda: os.chown("file", -1, -1), {"file": "c"}),
    "setxattr": (lambda: os.setxattr("file", "user.x", b"1"), {"file": "c"}),
    "utime": (lambda: os.utime("linked", ns=(OLD, OLD)), {"linked": "c", "linked too": "c"}),
    "utime now": (lambda: os.utime("dir"), {"dir": "amc"}),
    "failed mkdir": (lambda: err(os.mkdir, "dir"), {}),
    "failed rmdir": (lambda: err(os.rmdir, "full"), {}),
    "failed rename": (lambda: err(os.rename, "file", "dir"), {}),
    "failed unlink": (lambda: err(os.unlink, "none"), {}),
    "failed link": (lambda: err(linkat, "file", "big"), {}),
    "failed chmod": (lambda: BOB.err(os.chmod, "file", 0o600), {}),
    "failed chown": (lambda: BOB.err(os.chown, "file", 1, 1), {}),
    "failed removexattr": (lambda: err(os.removexattr, "file", "user.none"), {}),
}  # fmt: skip
LETTERS = {"a": "st_atime_ns", "m": "st_mtime_ns", "c": "st_ctime_ns"}


def tick_beyond(moment: int) -> int:
    """Wait until the clock of time stamps is later; return it. A stamp may be finer than it."""
    while time.clock_gettime_ns(COARSE) <= moment:
        tick()
    return time.clock_gettime_ns(COARSE)


@contextmanager
def held_by_path() -> Iterator[dict[str, int]]:
    """Descriptors of all objects here and below."""
    paths = [".", "full/inside", "full/sub", *os.listdir(".")]
    held = {path: os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in paths}
    try:
        yield held
    finally:
        for fd in held.values():
            os.close(fd)


@pytest.mark.parametrize("name", STAMPS)
def test_stamps(zoo: Tree, name: str) -> None:
    act, expected = STAMPS[name]
    with held_by_path() as held:
        for path in held:
            utimensat(path, OLD, OLD, AT_SYMLINK_NOFOLLOW)
        before = {path: os.fstat(fd) for path, fd in held.items()}
        low = tick_beyond(max(facts.st_ctime_ns for facts in before.values()))
        act()
        high = time.time_ns()
        found = {}
        for path, fd in held.items():
            after = os.fstat(fd)
            found[path] = ""
            for letter, field in LETTERS.items():
                if getattr(after, field) != getattr(before[path], field):
                    found[path] += letter
                    assert low <= getattr(after, field) <= high, (path, field)
        for path in expected.keys() - held.keys():
            facts = os.lstat(path)
            assert all(low <= getattr(facts, field) <= high for field in LETTERS.values())
        may_differ = zoo.kind != "reference"
        for path, letters in found.items():
            wanted = expected.get(path, "")
            may = {letter.lower() for letter in wanted if letter.isupper() and may_differ}
            assert set(letters) - may == set(wanted.lower()) - may, path
        with opened(".", os.O_RDONLY) as fd:  # what is written back later stamps nothing
            stamped = [os.fstat(each).st_mtime_ns for each in held.values()]
            syncfs(fd)
            assert [os.fstat(each).st_mtime_ns for each in held.values()] == stamped
