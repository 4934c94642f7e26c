"""mkdir, rmdir, unlink, link, symlink, readlink, mknod: all errors, what is made, links."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from tests.support.posix import (
    ANN,
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    NAME_MAX,
    PATH_MAX,
    ZOO_FILE,
    ZOO_LINKS,
    Child,
    Tree,
    content,
    create,
    err,
    linkat,
    mknod_raw,
    mode_of,
    opened,
    rows,
    unlinkat,
)

pytestmark = pytest.mark.mounted

LONG = "n" * (NAME_MAX + 1)
TOO_LONG_PATH = "dir/../" * 600 + "file"
KINDS = ("file", "dir", "full", "link", "linkdir", "dangling", "loop", "fifo", "sock", "null")


def chdir_and_back(path: str) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path)
        os.fchdir(here)
    finally:
        os.close(here)


@rows(
    *(("EEXIST", os.mkdir, kind) for kind in KINDS),
    *(("EEXIST", os.mkdir, name) for name in (".", "..", "/", "dir/.", "dir/..", "dir/", "file/")),
    *(("EEXIST", os.mkfifo, kind) for kind in KINDS),
    *(("EEXIST", os.symlink, "x", kind) for kind in KINDS),
    *(("EEXIST", linkat, "file", kind) for kind in KINDS),
    *(("ENOTDIR", os.rmdir, kind) for kind in KINDS if kind not in ("dir", "full")),
    ("ENOENT", os.mkdir, ""),
    ("ENOENT", os.mkdir, "none/new"),
    ("ENOENT", os.mkdir, "dangling/new"),
    ("ENOENT", os.mkdir, "none/."),
    ("EEXIST", os.mkdir, "dangling/"),
    ("ENOTDIR", os.mkdir, "file/new"),
    ("ENOTDIR", os.mkdir, "fifo/new"),
    ("ELOOP", os.mkdir, "loop/new"),
    ("OK", os.mkdir, "new"),
    ("OK", os.mkdir, "new/"),
    ("OK", os.mkdir, "linkdir/new"),
    ("OK", os.rmdir, "dir"),
    ("OK", os.rmdir, "dir/"),
    ("OK", os.rmdir, "full/../dir"),
    ("OK", os.rmdir, "full/sub"),
    ("OK", unlinkat, "dir", AT_REMOVEDIR),
    ("ENOTEMPTY", os.rmdir, "full"),
    ("ENOTEMPTY", os.rmdir, "full/.."),
    ("EINVAL", os.rmdir, "dir/."),
    ("EINVAL", os.rmdir, "."),
    ("ENOTEMPTY", os.rmdir, ".."),
    ("EBUSY", os.rmdir, "/"),
    ("ENOENT", os.rmdir, "none"),
    ("ENOENT", os.rmdir, ""),
    ("ENOENT", os.rmdir, "none/dir"),
    ("ENOTDIR", os.rmdir, "file/dir"),
    ("ENOTDIR", os.rmdir, "linkdir/"),
    ("ELOOP", os.rmdir, "loop/dir"),
    *(("OK", os.unlink, kind) for kind in KINDS if kind not in ("dir", "full")),
    ("OK", os.unlink, "full/inside"),
    ("OK", os.unlink, "linked"),
    ("EISDIR", os.unlink, "dir"),
    ("EISDIR", os.unlink, "full"),
    ("EISDIR", os.unlink, "dir/"),
    ("EISDIR", os.unlink, "."),
    ("ENOTDIR", os.unlink, "file/"),
    ("ENOTDIR", os.unlink, "file/x"),
    ("ENOENT", os.unlink, "none"),
    ("ENOENT", os.unlink, ""),
    ("ENOENT", os.unlink, "none/x"),
    ("ELOOP", os.unlink, "loop/x"),
    *(("OK", linkat, kind, "new") for kind in KINDS if kind not in ("dir", "full")),
    ("EPERM", linkat, "dir", "new"),
    ("EPERM", linkat, "full", "dir/new"),
    ("EEXIST", linkat, "file", "file"),
    ("EEXIST", linkat, "dir", "file"),
    ("ENOENT", linkat, "none", "new"),
    ("ENOENT", linkat, "file", "none/new"),
    ("ENOENT", linkat, "file", "new/"),
    ("ENOENT", linkat, "", "new"),
    ("ENOENT", linkat, "file", ""),
    ("ENOTDIR", linkat, "file/", "new"),
    ("ENOTDIR", linkat, "file", "fifo/new"),
    ("ELOOP", linkat, "loop/x", "new"),
    ("ELOOP", linkat, "file", "loop/x"),
    ("OK", linkat, "link", "new", AT_SYMLINK_FOLLOW),
    ("ENOENT", linkat, "dangling", "new", AT_SYMLINK_FOLLOW),
    ("EPERM", linkat, "linkdir", "new", AT_SYMLINK_FOLLOW),
    ("EINVAL", linkat, "file", "new", 0x8000),
    ("OK", os.symlink, "x", "new"),
    ("OK", os.symlink, "x", "linkdir/new"),
    ("ENOENT", os.symlink, "", "new"),
    ("ENOENT", os.symlink, "x", ""),
    ("ENOENT", os.symlink, "x", "none/new"),
    ("ENOENT", os.symlink, "x", "new/"),
    ("ENOTDIR", os.symlink, "x", "file/new"),
    ("ELOOP", os.symlink, "x", "loop/new"),
    ("ENAMETOOLONG", os.symlink, "x" * PATH_MAX, "new"),
    *(("EINVAL", os.readlink, kind) for kind in KINDS if kind not in ZOO_LINKS),
    *(("OK", os.readlink, kind) for kind in ZOO_LINKS),
    ("EINVAL", os.readlink, "linkdir/"),
    ("ENOENT", os.readlink, "none"),
    ("ENOTDIR", os.readlink, "file/x"),
    ("ELOOP", os.readlink, "loop/x"),
    ("OK", mknod_raw, "new", stat.S_IFREG | 0o600),
    ("OK", mknod_raw, "new", 0o600),
    ("OK", mknod_raw, "new", stat.S_IFSOCK | 0o600),
    ("OK", mknod_raw, "new", stat.S_IFBLK | 0o600, 0x0801),
    ("EPERM", mknod_raw, "new", stat.S_IFDIR | 0o700),
    ("EINVAL", mknod_raw, "new", stat.S_IFLNK | 0o777),
    ("EINVAL", mknod_raw, "new", 0o150600),
    ("ENOENT", mknod_raw, "none/new", stat.S_IFIFO | 0o600),
    ("ENOENT", mknod_raw, "new/", stat.S_IFIFO | 0o600),
    ("ENOTDIR", mknod_raw, "file/new", stat.S_IFIFO | 0o600),
    *(
        ("ENAMETOOLONG", call, *args, path)
        for path in (LONG, f"{LONG}/x", f"dir/{LONG}", TOO_LONG_PATH)
        for call, *args in (
            (os.mkdir,),
            (os.mkfifo,),
            (os.symlink, "x"),
            (linkat, "file"),
            (os.rename, "file"),
        )
    ),
    *(
        ("ENAMETOOLONG", call, path, *args)
        for path in (LONG, TOO_LONG_PATH)
        for call, *args in (
            (os.stat,),
            (os.lstat,),
            (os.unlink,),
            (os.rmdir,),
            (os.readlink,),
            (os.rename, "new"),
            (linkat, "new"),
            (os.chmod, 0o600),
            (os.lchown, 0, 0),
            (os.truncate, 0),
            (os.utime,),
            (os.getxattr, "user.x"),
            (os.listdir,),
            (chdir_and_back,),
            (os.statvfs,),
        )
    ),
    *(
        (expected, call, path, *args)
        for expected, path in (("ENOTDIR", "file/x"), ("ELOOP", "loop"), ("ENOENT", "none"))
        for call, *args in ((os.stat,), (os.chmod, 0), (os.utime,), (os.truncate, 0))
    ),
    ("ENOTDIR", os.listdir, "file"),
    ("ENOTDIR", chdir_and_back, "file"),
    ("EISDIR", os.truncate, "dir", 0),
    ("EINVAL", os.truncate, "fifo", 0),
    ("EINVAL", os.truncate, "file", -1),
)
def test_errors(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    before = set(os.listdir("."))
    zoo.expect(expected, call, *args)
    if expected != "OK":
        assert set(os.listdir(".")) == before
        assert os.listdir("dir") == []
    elif call in (os.unlink, os.rmdir, unlinkat):
        assert not os.path.lexists(args[0])


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0, 0o700, 0o777, 0o1777, 0o6777])
def test_mode_of_what_is_made(tree: Tree, mode: int, umask: int) -> None:
    os.umask(umask)
    os.mkdir("dir", mode)
    os.mkfifo("fifo", mode)
    os.mknod("sock", stat.S_IFSOCK | mode)
    os.symlink("x", "symlink")
    assert mode_of("dir") == mode & 0o1777 & ~umask  # mkdir(2): permission bits and sticky
    assert mode_of("fifo") == mode_of("sock") == mode & ~umask
    assert mode_of("symlink") == 0o777


def test_links_of_directories(tree: Tree) -> None:
    assert os.lstat(".").st_nlink == 2
    for number in range(5):
        os.mkdir(f"d{number}")
        create(f"f{number}")
        assert os.lstat(".").st_nlink == 3 + number
    os.mkdir("d0/sub")
    assert os.lstat("d0").st_nlink == 3
    os.rename("d0/sub", "d1/sub")
    assert [os.lstat(name).st_nlink for name in ("d0", "d1", ".")] == [2, 3, 7]
    os.rename("d1/sub", "d2")  # over an empty one
    assert [os.lstat(name).st_nlink for name in ("d1", "d2", ".")] == [2, 2, 7]
    for number in range(5):
        os.rmdir(f"d{number}")
    assert os.lstat(".").st_nlink == 2


def test_hard_links(zoo: Tree) -> None:
    ino = os.lstat("linked").st_ino
    names = ["linked", "linked too", "dir/third", "full/fourth"]
    linkat("linked", names[2])
    linkat(names[2], names[3])
    for name in names:
        assert (os.lstat(name).st_ino, os.lstat(name).st_nlink) == (ino, 4)
    with opened(names[3], os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"!")
    os.chmod(names[1], 0o604)
    os.setxattr(names[2], "user.x", b"1")
    while names:
        for name in names:
            assert content(name) == b"twice!"
            assert mode_of(name) == 0o604
            assert os.getxattr(name, "user.x") == b"1"
            assert os.lstat(name).st_nlink == len(names)
        os.unlink(names.pop(0))


def test_many_links(tree: Tree) -> None:
    create("file", b"x")
    for number in range(1000):
        linkat("file", f"l{number}")
    assert os.lstat("l999").st_nlink == 1001
    for number in range(1000):
        os.unlink(f"l{number}")
    assert os.lstat("file").st_nlink == 1


def test_links_of_what_is_open(zoo: Tree) -> None:
    with opened("file") as fd:
        linkat(f"/proc/self/fd/{fd}", "through proc", AT_SYMLINK_FOLLOW)
        linkat("", "by descriptor", AT_EMPTY_PATH, old_dir=fd)
        assert os.fstat(fd).st_nlink == 3
    assert content("by descriptor") == content("through proc") == ZOO_FILE


@pytest.mark.parametrize("size", [1, 59, 60, 255, 1000, PATH_MAX - 1])
def test_symlinks(tree: Tree, size: int) -> None:
    target = ("\udcff/" + "t" * 99) * (size // 100) + "t" * size
    target = target[:size]
    os.symlink(target, "symlink")
    facts = os.lstat("symlink")
    assert stat.S_ISLNK(facts.st_mode)
    assert (facts.st_size, facts.st_nlink) == (size, 1)
    assert os.readlink("symlink") == target
    linkat("symlink", "again")
    assert os.readlink("again") == target
    os.unlink("symlink")
    assert os.readlink("again") == target
    os.lchown("again", 1, 2)
    assert (os.lstat("again").st_uid, os.lstat("again").st_gid) == (1, 2)


@pytest.mark.parametrize(
    ("kind", "device"),
    [
        (stat.S_IFCHR, os.makedev(1, 3)),
        (stat.S_IFCHR, os.makedev(4095, 1048575)),
        (stat.S_IFBLK, os.makedev(259, 70_000)),
        (stat.S_IFBLK, os.makedev(0, 0)),
        (stat.S_IFIFO, 0),
        (stat.S_IFSOCK, 0),
    ],
)
def test_special_files(tree: Tree, kind: int, device: int) -> None:
    mknod_raw("new", kind | 0o640, device)
    facts = os.lstat("new")
    assert (facts.st_mode, facts.st_rdev, facts.st_size) == (kind | 0o640, device, 0)
    os.chown("new", ANN.uid, ANN.gid)
    os.rename("new", "moved")
    os.chmod("moved", 0o606)
    assert os.lstat("moved").st_rdev == device
    assert stat.S_IFMT(os.lstat("moved").st_mode) == kind


def test_who_may_make_special_files(tree: Tree) -> None:
    os.chmod(".", 0o777)
    for kind, expected in [
        (stat.S_IFCHR, "EPERM"),
        (stat.S_IFBLK, "EPERM"),
        (stat.S_IFIFO, "OK"),
        (stat.S_IFSOCK, "OK"),
        (stat.S_IFREG, "OK"),
    ]:
        assert ANN.err(mknod_raw, f"new{kind}", kind | 0o600, 5) == expected
        if expected == "OK":
            facts = os.lstat(f"new{kind}")
            assert (facts.st_uid, facts.st_gid) == (ANN.uid, ANN.gid)


def test_fifo_and_socket_work(zoo: Tree) -> None:
    writer = Child(lambda: os.write(os.open("fifo", os.O_WRONLY), b"through"))
    with opened("fifo", os.O_RDONLY) as fd:
        assert os.read(fd, 100) == b"through"
    assert writer.result() == 7
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("listening")
        assert stat.S_ISSOCK(os.lstat("listening").st_mode)
        server.listen()
        client.connect("listening")
        assert err(client.connect, "file") == "ECONNREFUSED"
        with socket.socket(socket.AF_UNIX) as second:
            assert err(second.bind, "listening") == "EADDRINUSE"
