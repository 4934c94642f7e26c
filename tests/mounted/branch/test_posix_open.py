"""open(2): every flag, every error, what is made and with which mode."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from os import (
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
)

import pytest

from tests.support.posix import (
    ANN,
    BOB,
    DIFFERENCES,
    ZOO_BIG,
    ZOO_FILE,
    Child,
    Tree,
    content,
    create,
    directory,
    err,
    mode_of,
    opened,
    rows,
    tick,
)

pytestmark = pytest.mark.mounted

LONG = "n" * 256


@rows(
    ("OK", os.open, "file", O_RDONLY),
    ("OK", os.open, "file", O_WRONLY),
    ("OK", os.open, "file", O_RDWR | O_APPEND),
    ("OK", os.open, "file", O_RDWR | os.O_SYNC),
    ("OK", os.open, "file", O_RDWR | os.O_DSYNC),
    ("OK", os.open, "file", O_RDWR | O_NONBLOCK | os.O_NOATIME | os.O_NOCTTY | os.O_CLOEXEC),
    ("OK", os.open, "file", O_RDWR | O_CREAT),
    ("OK", os.open, "link", O_RDWR | O_CREAT),
    ("OK", os.open, "dangling", O_RDWR | O_CREAT),
    ("OK", os.open, "new", O_RDWR | O_CREAT | O_EXCL),
    ("OK", os.open, "new", O_RDONLY | O_CREAT | O_TRUNC, 0),
    ("OK", os.open, "linkdir/new", O_RDWR | O_CREAT | O_EXCL),
    ("OK", os.open, "dir", O_RDONLY),
    ("OK", os.open, "dir/", O_RDONLY),
    ("OK", os.open, "dir", O_RDONLY | O_DIRECTORY),
    ("OK", os.open, "linkdir", O_RDONLY | O_DIRECTORY),
    ("OK", os.open, "linkdir/", O_RDONLY | O_NOFOLLOW),
    ("OK", os.open, "link", O_PATH | O_NOFOLLOW),
    ("OK", os.open, "fifo", O_RDONLY | O_NONBLOCK),
    ("OK", os.open, "sock", O_PATH),
    ("ENOENT", os.open, "", O_RDONLY),
    ("ENOENT", os.open, "none", O_RDWR),
    ("ENOENT", os.open, "none/file", O_RDWR | O_CREAT),
    ("ENOENT", os.open, "dangling", O_RDONLY),
    ("ENOENT", os.open, "dangling/file", O_RDWR | O_CREAT),
    ("ENOTDIR", os.open, "file/below", O_RDONLY),
    ("ENOTDIR", os.open, "file/below", O_RDWR | O_CREAT),
    ("ENOTDIR", os.open, "fifo/below", O_RDONLY),
    ("ENOTDIR", os.open, "file/", O_RDONLY),
    ("ENOTDIR", os.open, "file", O_RDONLY | O_DIRECTORY),
    ("ENOTDIR", os.open, "link", O_RDONLY | O_DIRECTORY),
    ("ENOTDIR", os.open, "fifo", O_RDONLY | O_DIRECTORY),
    ("ENOTDIR", os.open, "linkdir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    ("EISDIR", os.open, "dir", O_WRONLY),
    ("EISDIR", os.open, "dir", O_RDWR),
    ("EISDIR", os.open, "dir", O_RDONLY | O_TRUNC),
    ("EISDIR", os.open, "dir", O_RDONLY | O_CREAT),
    ("EISDIR", os.open, "new/", O_RDWR | O_CREAT),
    ("EISDIR", os.open, ".", O_RDWR),
    ("EEXIST", os.open, "file", O_RDWR | O_CREAT | O_EXCL),
    ("EEXIST", os.open, "dir", O_RDONLY | O_CREAT | O_EXCL),
    ("EEXIST", os.open, "link", O_RDWR | O_CREAT | O_EXCL),
    ("EEXIST", os.open, "dangling", O_RDWR | O_CREAT | O_EXCL),
    ("EEXIST", os.open, "loop", O_RDWR | O_CREAT | O_EXCL),
    ("EEXIST", os.open, "fifo", O_RDWR | O_CREAT | O_EXCL),
    ("ELOOP", os.open, "loop", O_RDONLY),
    ("ELOOP", os.open, "loop/file", O_RDWR | O_CREAT),
    ("ELOOP", os.open, "link", O_RDONLY | O_NOFOLLOW),
    ("ELOOP", os.open, "linkdir", O_RDONLY | O_NOFOLLOW),
    ("ELOOP", os.open, "dangling", O_RDWR | O_CREAT | O_NOFOLLOW),
    ("ENXIO", os.open, "fifo", O_WRONLY | O_NONBLOCK),
    ("ENXIO", os.open, "sock", O_RDWR),
    (DIFFERENCES["device"], os.open, "null", O_RDWR),
    ("ENAMETOOLONG", os.open, LONG, O_RDONLY),
    ("ENAMETOOLONG", os.open, LONG, O_RDWR | O_CREAT),
    ("ENAMETOOLONG", os.open, f"{LONG}/file", O_RDONLY),
    ("ENAMETOOLONG", os.open, "dir/../" * 600 + "file", O_RDONLY),
    (DIFFERENCES["O_TMPFILE"], os.open, "dir", O_TMPFILE | O_RDWR),
    (DIFFERENCES["O_TMPFILE"], os.open, ".", O_TMPFILE | O_WRONLY | O_EXCL),
    ("ENOTDIR", os.open, "file", O_TMPFILE | O_RDWR),
    ("ENOENT", os.open, "none", O_TMPFILE | O_RDWR),
    ("EINVAL", os.open, "dir", O_TMPFILE | O_RDONLY),
)
def test_open(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    before = set(os.listdir("."))
    zoo.expect(expected, call, *args)
    made = set(os.listdir(".")) - before
    assert made == ({{"dangling": "nowhere"}.get(*args[:1] * 2)} if made else set())
    assert bool(made) == (expected == "OK" and args[0] in ("new", "dangling"))
    assert content("file") == ZOO_FILE


def test_a_new_file(tree: Tree) -> None:
    with opened("new", O_CREAT | O_RDWR) as fd:
        facts = os.fstat(fd)
        assert stat.S_ISREG(facts.st_mode)
        assert (facts.st_size, facts.st_nlink, facts.st_uid, facts.st_gid) == (0, 1, 0, 0)
        assert os.lstat("new").st_ino == facts.st_ino
        assert os.listdir(".") == ["new"]


@pytest.mark.parametrize("mode", [0, 0o400, 0o666, 0o777, 0o1777, 0o4755, 0o2755, 0o7777])
@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_mode_of_a_new_file(tree: Tree, mode: int, umask: int) -> None:
    os.umask(umask)
    with opened("new", O_CREAT | O_RDWR, mode) as fd:
        assert mode_of("new") == mode & ~umask
        assert os.write(fd, b"whatever the mode") == 17
    with opened("new", O_CREAT | O_RDWR, 0o123):
        assert mode_of("new") == mode & ~umask


@pytest.mark.parametrize("access", [O_RDONLY, O_WRONLY, O_RDWR])
@pytest.mark.parametrize("name", ["file", "big", "link", "linked"])
def test_truncated_by_open(zoo: Tree, name: str, access: int) -> None:
    before = os.stat(name)
    tick()
    with opened(name, access | O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
    after = os.stat(name)
    assert (after.st_size, after.st_ino, after.st_mode) == (0, before.st_ino, before.st_mode)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert content(name) == b""
    if name == "linked":
        assert content("linked too") == b""


def test_append(zoo: Tree) -> None:
    with opened("big", O_RDWR | O_APPEND) as one, opened("big") as other:
        assert os.lseek(one, 0, os.SEEK_CUR) == 0
        assert os.write(one, b"one") == 3
        assert os.lseek(one, 0, os.SEEK_CUR) == len(ZOO_BIG) + 3
        assert os.pwrite(other, b"other", len(ZOO_BIG) + 3) == 5
        os.lseek(one, 5, os.SEEK_SET)
        assert os.write(one, b"again") == 5
        assert os.pread(one, 100, len(ZOO_BIG)) == b"oneotheragain"
        assert os.pwrite(one, b"!", 0) == 1  # Linux appends, whatever POSIX says: pwrite(2), BUGS
        assert os.pread(one, 3, len(ZOO_BIG) + 13) == b"!"
        os.ftruncate(other, 2)
        assert os.write(one, b"!") == 1
        assert os.pread(other, 9, 0) == ZOO_BIG[:2] + b"!"


@rows(
    ("EBADF", os.read, O_WRONLY, 1),
    ("EBADF", os.pread, O_WRONLY, 1, 0),
    ("EBADF", os.write, O_RDONLY, b"x"),
    ("EBADF", os.pwrite, O_RDONLY, b"x", 0),
    ("EINVAL", os.ftruncate, O_RDONLY, 0),
    ("EBADF", os.read, O_PATH, 1),
    ("EBADF", os.ftruncate, O_PATH, 0),
    ("EBADF", os.fchmod, O_PATH, 0o600),
    ("EBADF", os.fsync, O_PATH),
    ("OK", os.fstat, O_PATH),
    ("OK", os.fchmod, O_RDONLY, 0o600),
    ("OK", os.fsync, O_RDONLY),
    ("OK", os.fdatasync, O_RDONLY),
    ("OK", os.fchown, O_WRONLY, 1, 1),
)
def test_what_a_descriptor_allows(
    zoo: Tree, expected: str, call: object, args: tuple[object, ...]
) -> None:
    with opened("file", args[0]) as fd:
        zoo.expect(expected, call, fd, *args[1:])


def test_calls_that_want_a_file(zoo: Tree) -> None:
    with opened("dir", O_RDONLY) as fd:
        assert err(os.read, fd, 1) == "EISDIR"
        assert err(os.write, fd, b"x") == "EBADF"
        assert err(os.ftruncate, fd, 0) == "EINVAL"
        assert err(os.fsync, fd) == err(os.fdatasync, fd) == "OK"


@pytest.mark.parametrize(
    ("mode", "flags", "expected"),
    [
        (0o600, O_RDONLY, "EACCES"),
        (0o600, O_WRONLY, "EACCES"),
        (0o604, O_RDONLY, "OK"),
        (0o604, O_RDWR, "EACCES"),
        (0o604, O_RDONLY | O_TRUNC, "EACCES"),
        (0o604, O_RDONLY | O_CREAT, "OK"),
        (0o604, O_RDONLY | os.O_NOATIME, "EPERM"),
        (0o602, O_WRONLY, "OK"),
        (0o602, O_WRONLY | O_TRUNC, "OK"),
        (0o602, O_RDWR, "EACCES"),
        (0o606, O_RDWR | O_APPEND, "OK"),
        (0o600, O_PATH, "OK"),
    ],
)
def test_permission_of_others(zoo: Tree, mode: int, flags: int, expected: str) -> None:
    os.chmod("file", mode)
    assert BOB.err(os.open, "file", flags) == expected


def test_the_class_that_fits_first_decides(tree: Tree) -> None:
    create("file", mode=0o077, owner=ANN)
    assert ANN.err(os.open, "file", O_RDONLY) == "EACCES"
    os.chmod("file", 0o707)
    assert (ANN._replace(uid=BOB.uid)).err(os.open, "file", O_RDONLY) == "EACCES"
    assert BOB.err(os.open, "file", O_RDWR) == "OK"
    assert BOB._replace(groups=(ANN.gid,)).err(os.open, "file", O_RDONLY) == "EACCES"


@pytest.mark.parametrize(
    ("mode", "made", "read", "listed"),
    [
        (0o700, "EACCES", "EACCES", "EACCES"),
        (0o701, "EACCES", "OK", "EACCES"),
        (0o702, "EACCES", "EACCES", "EACCES"),
        (0o703, "OK", "OK", "EACCES"),
        (0o704, "EACCES", "EACCES", "OK"),
        (0o705, "EACCES", "OK", "OK"),
        (0o707, "OK", "OK", "OK"),
    ],
)
def test_permission_of_directories(
    tree: Tree, mode: int, made: str, read: str, listed: str
) -> None:
    directory("d", owner=ANN)
    create("d/file", mode=0o644)
    os.chmod("d", mode)
    for call in (os.mkdir, os.mkfifo):
        assert BOB.err(call, f"d/{call.__name__}") == made
    assert BOB.err(os.open, "d/new", O_CREAT | O_RDWR) == made
    assert BOB.err(os.symlink, "x", "d/symlink") == made
    assert BOB.err(os.rename, "d/file", "d/another") == made
    create("d/another")
    assert BOB.err(os.unlink, "d/another") == made
    create("d/file")
    assert BOB.err(os.open, "d/file", O_RDONLY) == read
    assert BOB.err(os.stat, "d/file") == read
    assert BOB.err(os.listdir, "d") == listed
    assert BOB.err(os.chdir, "d") == ("OK" if mode & 1 else "EACCES")


def test_access(zoo: Tree) -> None:
    os.chmod("file", 0o641)
    assert [BOB.run(os.access, "file", want) for want in (os.R_OK, os.W_OK, os.X_OK)] == [0, 0, 1]
    assert [os.access("file", want) for want in (os.R_OK, os.W_OK, os.X_OK)] == [1, 1, 1]
    os.chmod("file", 0o600)
    assert not os.access("file", os.X_OK)  # not even root, where nobody may
    assert os.access("file", os.R_OK)
    assert not os.access("none", os.F_OK)


def test_one_of_many_makes_it(tree: Tree) -> None:
    for turn in range(5):
        name = f"new{turn}"
        children = [
            Child(lambda name=name: err(os.open, name, O_CREAT | O_EXCL | O_RDWR)) for _ in range(6)
        ]
        assert sorted(child.result() for child in children) == ["EEXIST"] * 5 + ["OK"]


def test_below_an_open_directory(zoo: Tree) -> None:
    with opened("dir", O_RDONLY) as fd:
        os.rename("dir", "full/moved")
        os.close(os.open("new", O_CREAT | O_RDWR, dir_fd=fd))
        assert os.listdir("full/moved") == os.listdir(fd) == ["new"]
        os.unlink("new", dir_fd=fd)
        os.rmdir("full/moved")
        assert err(os.open, "new", O_CREAT | O_RDWR, dir_fd=fd) == "ENOENT"
        assert err(os.mkdir, "new", dir_fd=fd) == "ENOENT"
        assert err(os.symlink, "x", "new", dir_fd=fd) == "ENOENT"
        assert os.listdir(fd) == []
        assert os.fstat(fd).st_nlink == 0
    with opened("file", O_RDONLY) as fd:
        assert err(os.open, "new", O_CREAT | O_RDWR, dir_fd=fd) == "ENOTDIR"


def test_running_programs_are_not_written_to(tree: Tree) -> None:
    shutil.copy(shutil.which("sleep") or "", "program")
    with subprocess.Popen(["./program", "60"]) as running:
        assert err(os.open, "program", O_WRONLY) == "ETXTBSY"
        assert err(os.truncate, "program", 0) == "ETXTBSY"
        running.kill()
    with opened("program", O_WRONLY):
        assert err(subprocess.run, ["./program", "0"]) == "ETXTBSY"
    assert subprocess.run(["./program", "0"], check=True).returncode == 0


def test_many_open_files(tree: Tree) -> None:
    fds = [os.open(f"f{number}", O_CREAT | O_RDWR) for number in range(300)]
    for number, fd in enumerate(fds):
        os.write(fd, b"%d" % number)
    for number, fd in enumerate(fds):
        os.unlink(f"f{number}")
        assert os.pread(fd, 9, 0) == b"%d" % number
        os.close(fd)
    assert os.listdir(".") == []
