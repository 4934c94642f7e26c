"""rename(2) and renameat2(2): all pairs of kinds, all flags, what stays of old and new."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from tests.support.posix import (
    ANN,
    BOB,
    DIFFERENCES,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    ZOO_BIG,
    ZOO_FILE,
    Child,
    Tree,
    check_links,
    content,
    create,
    directory,
    err,
    opened,
    renameat2,
    rows,
)

pytestmark = pytest.mark.mounted

DIRECTORIES = ("dir", "full")
OLD = ("file", "linked", "dir", "full", "link", "linkdir", "dangling", "fifo", "null")
NEW = ("big", "linked too", "dir", "full", "link", "loop", "sock", "new", "dir/new", "full/inside")


def same_object(one: str, other: str) -> bool:
    return one == other or {one, other} == {"linked", "linked too"}


def outcome(old: str, new: str) -> str:
    """What rename(2) says of a plain rename of these two."""
    if same_object(old, new):
        return "OK"
    if new.startswith(f"{old}/"):
        return "EINVAL"
    exists = os.path.lexists(new)
    if old in DIRECTORIES and exists and new not in DIRECTORIES:
        return "ENOTDIR"
    if old not in DIRECTORIES and new in DIRECTORIES:
        return "EISDIR"
    return "ENOTEMPTY" if new == "full" else "OK"


def facts_of(path: str) -> tuple[object, ...]:
    facts = os.lstat(path)
    return facts.st_ino, facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_rdev


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_every_pair(zoo: Tree, old: str, new: str) -> None:
    expected, moved = outcome(old, new), facts_of(old)
    replaced = facts_of(new) if os.path.lexists(new) else None
    with opened(new if replaced else ".", os.O_PATH | os.O_NOFOLLOW) as fd:
        links = os.fstat(fd).st_nlink
        zoo.expect(expected, os.rename, old, new)
        if expected != "OK" or same_object(old, new):
            assert facts_of(old) == moved
            assert replaced is None or facts_of(new) == replaced
            return
        assert not os.path.lexists(old)
        assert facts_of(new) == moved
        if replaced:
            left = 0 if stat.S_ISDIR(os.fstat(fd).st_mode) else links - 1
            assert os.fstat(fd).st_nlink == left
    check_links()


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_exchange_every_pair(zoo: Tree, old: str, new: str) -> None:
    if not os.path.lexists(new):
        expected = "ENOENT"
    else:
        expected = "EINVAL" if new.startswith(f"{old}/") else "OK"
    moved = facts_of(old)
    other = facts_of(new) if os.path.lexists(new) else None
    zoo.expect(expected, renameat2, old, new, RENAME_EXCHANGE)
    if expected == "OK":
        assert (facts_of(new), facts_of(old)) == (moved, other)
    else:
        assert facts_of(old) == moved
    check_links()


@rows(
    ("ENOENT", os.rename, "none", "new"),
    ("ENOENT", os.rename, "", "new"),
    ("ENOENT", os.rename, "file", ""),
    ("ENOENT", os.rename, "file", "none/new"),
    ("ENOENT", os.rename, "none", "dir"),
    ("ENOTDIR", os.rename, "file/x", "new"),
    ("ENOTDIR", os.rename, "file", "fifo/new"),
    ("ENOTDIR", os.rename, "file/", "new"),
    ("ENOTDIR", os.rename, "file", "new/"),
    ("ENOTDIR", os.rename, "dir", "file/"),
    ("ENOTDIR", os.rename, "linkdir/", "new"),
    ("OK", os.rename, "dir", "new/"),
    ("OK", os.rename, "dir/", "new"),
    ("OK", os.rename, "dir", "./new"),
    ("OK", os.rename, "file", "linkdir/new"),
    ("OK", os.rename, "full", "dir/"),
    ("ELOOP", os.rename, "loop/x", "new"),
    ("ELOOP", os.rename, "file", "loop/x"),
    ("EINVAL", os.rename, "dir", "dir/x"),
    ("EINVAL", os.rename, "full", "full/sub/x"),
    ("EINVAL", os.rename, "full", "full/sub"),
    ("EINVAL", os.rename, "full", "full/inside"),
    ("EINVAL", os.rename, "dir", "linkdir/x"),
    ("ENOTEMPTY", os.rename, "full/sub", "full"),
    ("ENOTEMPTY", os.rename, "full/inside", "full"),
    ("EBUSY", os.rename, ".", "new"),
    ("EBUSY", os.rename, "dir/.", "new"),
    ("EBUSY", os.rename, "dir/..", "new"),
    ("EBUSY", os.rename, "dir", "."),
    ("EBUSY", os.rename, "dir", "full/.."),
    ("OK", renameat2, "file", "new", RENAME_NOREPLACE),
    ("OK", renameat2, "dir", "full/new", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "file", "big", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "file", "file", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "file", "dir", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "file", "dangling", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "dir", "full", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "linked", "linked too", RENAME_NOREPLACE),
    ("EEXIST", renameat2, "file", ".", RENAME_NOREPLACE),
    ("EINVAL", renameat2, "dir", "dir/x", RENAME_NOREPLACE),
    ("ENOENT", renameat2, "none", "new", RENAME_NOREPLACE),
    ("ENOENT", renameat2, "none", "file", RENAME_NOREPLACE),
    ("OK", renameat2, "dir/", "full/", RENAME_EXCHANGE),
    ("OK", renameat2, "full/inside", "dir", RENAME_EXCHANGE),
    ("OK", renameat2, "full/inside", "full/sub", RENAME_EXCHANGE),
    ("ENOENT", renameat2, "none", "file", RENAME_EXCHANGE),
    ("ENOENT", renameat2, "file", "none", RENAME_EXCHANGE),
    ("EINVAL", renameat2, "full", "full/sub", RENAME_EXCHANGE),
    ("EINVAL", renameat2, "full/sub", "full", RENAME_EXCHANGE),
    ("OK", renameat2, "file", "dir/", RENAME_EXCHANGE),
    ("ENOTDIR", renameat2, "dir", "file/", RENAME_EXCHANGE),
    ("EBUSY", renameat2, "dir", ".", RENAME_EXCHANGE),
    ("EINVAL", renameat2, "file", "new", RENAME_EXCHANGE | RENAME_NOREPLACE),
    ("EINVAL", renameat2, "file", "big", RENAME_EXCHANGE | RENAME_WHITEOUT),
    ("EINVAL", renameat2, "file", "new", 8),
    ("EINVAL", renameat2, "file", "new", 1 << 31),
    (DIFFERENCES["RENAME_WHITEOUT"], renameat2, "file", "new", RENAME_WHITEOUT),
)
def test_errors(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    before = set(os.listdir("."))
    zoo.expect(expected, call, *args)
    if expected not in ("OK", DIFFERENCES["RENAME_WHITEOUT"]):
        assert set(os.listdir(".")) == before
        assert content("file") == ZOO_FILE


def test_contents_move_along(zoo: Tree) -> None:
    os.rename("full", "moved")
    os.rename("big", "moved/sub/large")
    os.rename("moved", "dir")
    assert content("dir/sub/large") == ZOO_BIG
    assert sorted(os.listdir("dir")) == ["inside", "sub"]
    renameat2("dir/sub", "file", RENAME_EXCHANGE)
    assert content("file/large") == ZOO_BIG
    assert content("dir/sub") == ZOO_FILE
    assert (os.lstat("dir").st_nlink, os.lstat("file").st_nlink) == (2, 2)


def test_open_across_renames(zoo: Tree) -> None:
    with opened("file") as moved, opened("big") as replaced:
        os.rename("file", "big")
        os.write(moved, b"CON")
        os.pwrite(replaced, b"gone", 70_000)
        assert content("big") == b"CONtent\n"
        assert os.pread(replaced, 5, 69_999) == ZOO_BIG[69_999:70_000] + b"gone"
        assert os.pread(replaced, 1 << 20, 70_004) == ZOO_BIG[70_004:]
        assert (os.fstat(moved).st_nlink, os.fstat(replaced).st_nlink) == (1, 0)
        os.rename("big", "full/elsewhere")
        os.ftruncate(moved, 3)
    assert content("full/elsewhere") == b"CON"


def test_deep_directories_move_at_once(tree: Tree) -> None:
    os.makedirs("a/b/c/d/e")
    create("a/b/c/d/e/f", b"deep")
    os.makedirs("x/y/z")
    ino = os.lstat("a/b").st_ino
    with opened("a/b/c/d/e/f", os.O_RDONLY) as fd:
        os.rename("a/b", "x/y/z/b")
        assert os.read(fd, 9) == b"deep"
    assert content("x/y/z/b/c/d/e/f") == b"deep"
    assert os.lstat("x/y/z/b").st_ino == ino
    assert err(os.stat, "a/b/c") == "ENOENT"
    assert err(os.rename, "x/y", "x/y/z/b/c/d/e/y") == "EINVAL"
    os.rename("x/y/z/b/c/d", "d")
    os.rename("x", "d/e/x")  # what was above is now below
    assert os.listdir("d/e/x/y/z/b/c") == []


def test_the_case_of_a_name(tree: Tree) -> None:
    create("name", b"x")
    os.rename("name", "Name")
    assert os.listdir(".") == ["Name"]


def test_a_directory_that_moves_must_be_writable(tree: Tree) -> None:
    for name in ("one", "two"):
        directory(name, mode=0o777)
    directory("one/d", owner=ANN)
    assert BOB.err(os.rename, "one/d", "one/e") == "OK"  # dot-dot does not change
    assert BOB.err(os.rename, "one/e", "two/e") == "EACCES"
    assert ANN.err(os.rename, "one/e", "two/e") == "OK"


@pytest.mark.parametrize("flags", [0, RENAME_EXCHANGE])
def test_both_directories_must_be_writable(tree: Tree, flags: int) -> None:
    directory("mine", owner=ANN)
    directory("not mine")
    for name in ("mine", "not mine"):
        create(f"{name}/file")
        create(f"{name}/other")
    assert ANN.err(renameat2, "mine/file", "not mine/file", flags) == "EACCES"
    assert ANN.err(renameat2, "not mine/file", "mine/file", flags) == "EACCES"
    assert ANN.err(renameat2, "not mine/file", "not mine/other", flags) == "EACCES"
    assert ANN.err(renameat2, "mine/file", "mine/other", flags) == "OK"


def hammer(turns: int, step: Callable[[int], str]) -> set[str]:
    return {step(turn) for turn in range(turns)}


def test_the_name_is_there_at_every_moment(tree: Tree) -> None:
    create("name", b"first")
    writer = Child(
        lambda: [os.rename(create(f"new{turn}", b"next!"), "name") for turn in range(300)]
    )
    found = hammer(600, lambda _: err(os.stat, "name") if _ % 2 else content("name").decode())
    writer.result()
    assert found <= {"OK", "first", "next!"}


def test_two_directories_cannot_swallow_each_other(tree: Tree) -> None:
    for turn in range(20):
        os.mkdir(f"a{turn}")
        os.mkdir(f"b{turn}")
        there = Child(lambda t=turn: err(os.rename, f"a{t}", f"b{t}/a"))
        back = err(os.rename, f"b{turn}", f"a{turn}/b")
        assert sorted((there.result(), back)) in (["EINVAL", "OK"], ["ENOENT", "OK"])
