"""chmod, chown, set-user-id and set-group-id bits, directories that give their group, sticky."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from tests.support.posix import (
    ANN,
    BOB,
    CAROL,
    DAVE,
    RENAME_EXCHANGE,
    Tree,
    User,
    create,
    directory,
    err,
    in_child,
    linkat,
    mode_of,
    opened,
    renameat2,
)

pytestmark = pytest.mark.mounted

ROOT = User(0, 0)
EVERY_KIND = ("file", "dir", "fifo", "sock", "null", "linked", "big", "full")


def owner_of(path: str) -> tuple[int, int]:
    facts = os.lstat(path)
    return facts.st_uid, facts.st_gid


@pytest.mark.parametrize("mode", [0, 0o1, 0o644, 0o1777, 0o2755, 0o4755, 0o7777])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_chmod(zoo: Tree, kind: str, mode: int) -> None:
    before = os.lstat(kind)
    os.chmod(kind, mode)
    after = os.lstat(kind)
    assert after.st_mode == stat.S_IFMT(before.st_mode) | mode
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    if kind == "linked":
        assert mode_of("linked too") == mode
    with opened(".", os.O_RDONLY) as here:
        os.fsync(here)
    assert os.lstat(kind).st_mode == after.st_mode


def test_chmod_follows_symlinks(zoo: Tree) -> None:
    os.chmod("link", 0o600)
    assert (mode_of("file"), mode_of("link")) == (0o600, 0o777)
    with opened("file") as fd:
        os.fchmod(fd, 0o640)
    assert mode_of("file") == 0o640


@pytest.mark.parametrize(
    ("user", "mode", "found"),
    [
        (ANN, 0o4711, 0o4711),
        (ANN, 0o2755, 0o2755),  # the group is hers
        (BOB, 0o755, None),
        (CAROL, 0o755, None),
        (ROOT, 0o6755, 0o6755),
    ],
)
@pytest.mark.parametrize("make", [create, directory])
def test_who_may_chmod(
    tree: Tree, make: Callable[..., str], user: User, mode: int, found: int | None
) -> None:
    make("it", mode=0o666, owner=ANN)
    assert user.err(os.chmod, "it", mode) == ("EPERM" if found is None else "OK")
    assert mode_of("it") == (0o666 if found is None else found)


@pytest.mark.parametrize("make", [create, directory])
def test_setgid_of_a_foreign_group_is_dropped(tree: Tree, make: Callable[..., str]) -> None:
    make("it", owner=User(ANN.uid, BOB.gid))
    assert ANN.err(os.chmod, "it", 0o6775) == "OK"
    assert mode_of("it") == 0o4775
    assert ANN._replace(groups=(BOB.gid,)).err(os.chmod, "it", 0o6775) == "OK"
    assert mode_of("it") == 0o6775


@pytest.mark.parametrize("kind", [*EVERY_KIND, "link", "dangling"])
def test_chown(zoo: Tree, kind: str) -> None:
    assert owner_of(kind) == (0, 0)
    os.lchown(kind, 5, 6)
    assert owner_of(kind) == (5, 6)
    os.lchown(kind, -1, 7)
    assert owner_of(kind) == (5, 7)
    os.lchown(kind, 8, -1)
    assert owner_of(kind) == (8, 7)
    os.lchown(kind, 4_000_000_000, 4_000_000_001)
    assert owner_of(kind) == (4_000_000_000, 4_000_000_001)
    os.lchown(kind, -1, -1)
    assert owner_of(kind) == (4_000_000_000, 4_000_000_001)
    if kind == "link":
        assert owner_of("file") == (0, 0)
        os.chown(kind, 1, 1)
        assert owner_of("file") == (1, 1)


@pytest.mark.parametrize(
    ("user", "uid", "gid", "expected"),
    [
        (DAVE, -1, 20_001, "OK"),
        (DAVE, -1, 20_005, "OK"),
        (DAVE, DAVE.uid, 20_001, "OK"),
        (DAVE, -1, -1, "OK"),
        (DAVE, -1, BOB.gid, "EPERM"),
        (DAVE, ANN.uid, -1, "EPERM"),
        (DAVE, 0, 20_001, "EPERM"),
        (CAROL, -1, 20_001, "EPERM"),
        (CAROL, CAROL.uid, -1, "EPERM"),
        (ROOT, BOB.uid, BOB.gid, "OK"),
    ],
)
def test_who_may_chown(tree: Tree, user: User, uid: int, gid: int, expected: str) -> None:
    create("file", mode=0o666, owner=DAVE)
    assert user.err(os.chown, "file", uid, gid) == expected
    if expected == "OK":
        assert owner_of("file") == (DAVE.uid if uid == -1 else uid, DAVE.gid if gid == -1 else gid)
    else:
        assert owner_of("file") == (DAVE.uid, DAVE.gid)


@pytest.mark.parametrize("user", [ROOT, DAVE])
@pytest.mark.parametrize(("uid", "gid"), [(-1, 20_001), (-1, -1), (DAVE.uid, DAVE.gid)])
@pytest.mark.parametrize(
    ("before", "after"),
    [(0o4755, 0o755), (0o2755, 0o755), (0o6777, 0o777), (0o6711, 0o711), (0o1755, 0o1755)],
)
def test_chown_clears_bits(
    tree: Tree, user: User, uid: int, gid: int, before: int, after: int
) -> None:
    create("file", mode=before, owner=DAVE)
    directory("dir", mode=before, owner=DAVE)
    assert user.err(os.chown, "file", uid, gid) == user.err(os.chown, "dir", uid, gid) == "OK"
    assert (mode_of("file"), mode_of("dir")) == (after, before)


def test_chown_keeps_setgid_without_execution(tree: Tree) -> None:
    create("file", mode=0o2745, owner=DAVE)
    os.chown("file", -1, 20_001)  # as root
    assert mode_of("file") == 0o2745


def overwrite(path: str) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, b"new")


def append(path: str) -> None:
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"new")


def shorten(path: str) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.ftruncate(fd, 1)


def open_empty(path: str) -> None:
    with opened(path, os.O_WRONLY | os.O_TRUNC):
        pass


def only_open(path: str) -> None:
    with opened(path, os.O_RDWR) as fd:
        os.read(fd, 1)


WRITES = (overwrite, append, shorten, open_empty, lambda path: os.truncate(path, 1000))


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("user", [ROOT, ANN, BOB])
@pytest.mark.parametrize("before", [0o4777, 0o2777, 0o6777, 0o6757])
def test_writing_clears_bits(
    tree: Tree, call: Callable[[str], None], user: User, before: int
) -> None:
    create("file", b"contents", mode=before, owner=ANN)
    user.run(call, "file")
    assert mode_of("file") == (before if user is ROOT else before & 0o777)
    with opened("file") as fd:
        os.fsync(fd)
    assert mode_of("file") == (before if user is ROOT else before & 0o777)


def test_reading_clears_nothing(tree: Tree) -> None:
    create("file", b"contents", mode=0o6777, owner=ANN)
    BOB.run(only_open, "file")
    assert mode_of("file") == 0o6777


def test_bits_stay_cleared_in_an_open_file(tree: Tree) -> None:
    create("file", b"contents", mode=0o6777, owner=ANN)

    def write_twice() -> list[int]:
        with opened("file") as fd:
            os.write(fd, b"1")
            first = os.fstat(fd).st_mode & 0o7777
            os.write(fd, b"2")
            return [first, os.fstat(fd).st_mode & 0o7777]

    assert BOB.run(write_twice) == [0o777, 0o777]
    os.chmod("file", 0o6777)
    assert BOB.run(write_twice) == [0o777, 0o777]


@pytest.mark.parametrize("user", [ROOT, ANN, BOB])
def test_a_directory_gives_its_group(tree: Tree, user: User) -> None:
    directory("plain", mode=0o777, owner=ANN)
    directory("setgid", mode=0o2777, owner=ANN)
    for parent, gid, bit in (("plain", user.gid, 0), ("setgid", ANN.gid, 0o2000)):
        user.run(os.mkdir, f"{parent}/dir", 0o750)
        user.run(create, f"{parent}/file")
        user.run(os.mkfifo, f"{parent}/fifo", 0o640)
        user.run(os.symlink, "x", f"{parent}/symlink")
        user.run(os.mkdir, f"{parent}/dir/below", 0o700)
        for name in ("dir", "file", "fifo", "symlink", "dir/below"):
            assert owner_of(f"{parent}/{name}") == (user.uid, gid), name
        assert mode_of(f"{parent}/dir") == 0o750 | bit
        assert mode_of(f"{parent}/dir/below") == 0o700 | bit
        assert mode_of(f"{parent}/fifo") == 0o640
    user.run(os.rename, "plain/file", "setgid/moved")
    assert owner_of("setgid/moved") == (user.uid, user.gid)


@pytest.mark.parametrize(
    ("user", "mode", "found"),
    [
        (ANN, 0o2755, 0o2755),
        (BOB, 0o2755, 0o755),  # not of the group that the file gets
        (BOB, 0o6711, 0o4711),
        (DAVE, 0o2755, 0o2755),
        (ROOT, 0o2755, 0o2755),
    ],
)
def test_setgid_of_new_files(tree: Tree, user: User, mode: int, found: int) -> None:
    directory("setgid", mode=0o2777, owner=ANN)

    def make() -> None:
        os.umask(0)
        with opened("setgid/new", os.O_CREAT | os.O_RDWR, mode):
            pass

    in_child(make, user)
    assert mode_of("setgid/new") == found


STICKY = [  # who, and whether they may remove Ann's file from a sticky directory of Dave's
    (ANN, "OK"),
    (BOB, "EPERM"),
    (CAROL, "EPERM"),
    (DAVE, "OK"),
    (ROOT, "OK"),
]


@pytest.mark.parametrize(("user", "expected"), STICKY)
def test_sticky(tree: Tree, user: User, expected: str) -> None:
    directory("sticky", mode=0o1777, owner=DAVE)
    directory("other", mode=0o777)
    for number in range(4):
        create(f"sticky/f{number}", mode=0o666, owner=ANN)
    directory("sticky/dir", mode=0o777, owner=ANN)
    user.run(create, "sticky/mine")
    user.run(create, "other/mine")
    assert user.err(os.unlink, "sticky/f0") == expected
    assert user.err(os.rename, "sticky/f1", "sticky/moved") == expected
    assert user.err(os.rename, "sticky/f2", "other/moved") == expected
    assert user.err(os.rename, "other/mine", "sticky/f3") == expected
    assert user.err(os.rmdir, "sticky/dir") == expected
    create("sticky/f4", owner=ANN)
    assert user.err(renameat2, "sticky/mine", "sticky/f4", RENAME_EXCHANGE) == expected
    assert user.err(os.rename, "sticky/mine", "sticky/renamed") == (
        "OK" if expected == "EPERM" or user in (ANN, DAVE, ROOT) else expected
    )
    assert user.err(linkat, "sticky/f4", "other/link") in ("OK", "EPERM")  # protected_hardlinks


def test_sticky_without_write_permission(tree: Tree) -> None:
    directory("sticky", mode=0o1755, owner=DAVE)
    create("sticky/file", owner=ANN)
    assert ANN.err(os.unlink, "sticky/file") == "EACCES"
    assert DAVE.err(os.unlink, "sticky/file") == "OK"


def test_running_needs_permission(tree: Tree) -> None:
    create("program", b"#!/bin/sh\nexit 0\n", mode=0o744)
    assert err(os.posix_spawn, "./program", ["program"], {}) == "OK"
    os.wait()
    assert BOB.err(os.execv, "./program", ["program"]) == "EACCES"
    os.chmod("program", 0o666)
    assert err(os.posix_spawn, "./program", ["program"], {}) == "EACCES"
    assert err(os.posix_spawn, "./.", ["program"], {}) == "EACCES"
