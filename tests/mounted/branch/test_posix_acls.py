"""POSIX ACLs: stored, enforced, inherited, and bound to the mode. After acl(5)."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess

import pytest

from tests.support.posix import (
    ANN,
    BOB,
    CAROL,
    DAVE,
    Child,
    Tree,
    User,
    create,
    directory,
    err,
    in_child,
    mode_of,
    opened,
    rows,
    syncfs,
)

pytestmark = pytest.mark.mounted

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
TAGS = {"u": 1, "U": 2, "g": 4, "G": 8, "m": 16, "o": 32}  # U and G: of a named user or group
NOBODY = 0xFFFFFFFF


def acl(text: str) -> bytes:
    """The attribute's value, as Linux has it: `u:7 U10001:6 g:4 m:6 o:0`."""
    entries = []
    for word in text.split():
        who, perm = word.split(":")
        entries.append((TAGS[who[0]], int(perm), int(who[1:]) if who[1:] else NOBODY))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def text_of(path: str, kind: str = ACCESS) -> str:
    """The inverse; an empty text for none."""
    found = err(os.getxattr, path, kind)
    if found == "ENODATA":
        return ""
    data, letters = os.getxattr(path, kind), {tag: who for who, tag in TAGS.items()}
    assert data[:4] == struct.pack("<I", 2)
    return " ".join(
        f"{letters[tag]}{'' if who == NOBODY else who}:{perm}"
        for tag, perm, who in struct.iter_unpack("<HHI", data[4:])
    )


def set_acl(path: str, text: str, kind: str = ACCESS) -> None:
    os.setxattr(path, kind, acl(text))


def may(path: str, user: User) -> int:
    """What the user may do, as a digit."""
    return sum(want for want in (4, 2, 1) if user.run(os.access, path, want))


NAMED = "u:6 U10002:7 U10003:0 g:4 G20005:5 m:5 o:2"


def test_stored(zoo: Tree) -> None:
    for path in ("file", "big", "dir", "fifo"):
        set_acl(path, NAMED)
        for _ in range(2):
            assert text_of(path) == NAMED
            assert mode_of(path) == 0o652  # the group's bits show the mask
            with opened(".", os.O_RDONLY) as fd:
                syncfs(fd)
        assert ACCESS in os.listxattr(path)
        os.removexattr(path, ACCESS)
        assert text_of(path) == ""
        assert err(os.removexattr, path, ACCESS) == "OK"
        assert mode_of(path) == 0o652


def test_one_that_says_no_more_than_a_mode_becomes_one(zoo: Tree) -> None:
    set_acl("file", "u:7 g:5 o:1")
    assert (mode_of("file"), text_of("file")) == (0o751, "")
    assert ACCESS not in os.listxattr("file")
    set_acl("file", NAMED)
    set_acl("file", "u:6 g:0 o:0")
    assert (mode_of("file"), text_of("file")) == (0o600, "")
    set_acl("file", "u:6 g:6 m:4 o:0")  # a mask makes it one that stays
    assert (mode_of("file"), text_of("file")) == (0o640, "u:6 g:6 m:4 o:0")


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [  # Ann, Bob, Carol (of Ann's group), Dave (of Ann's group too, and of 20005)
        ("u:6 g:4 o:2", (6, 2, 4, 4)),
        ("u:0 U10001:7 g:7 m:7 o:7", (0, 7, 7, 7)),
        ("u:7 U10002:6 g:4 m:7 o:0", (7, 6, 4, 4)),
        ("u:7 U10002:6 g:4 m:4 o:7", (7, 4, 4, 4)),
        # Linux does not look at an ACL where the group's bits, that is the mask, are all zero.
        ("u:7 U10002:6 g:4 m:0 o:7", (7, 7, 0, 0)),
        ("u:7 U10003:0 g:7 m:7 o:7", (7, 7, 0, 7)),
        ("u:7 g:4 G20005:2 m:7 o:1", (7, 1, 4, 6)),
        ("u:7 g:0 G20001:6 m:6 o:1", (7, 1, 6, 6)),
        ("u:7 g:0 G20005:0 m:7 o:7", (7, 7, 0, 0)),
        ("u:7 U10004:1 g:6 G20005:6 m:7 o:7", (7, 7, 6, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["access", "fifo", "dir"])
def test_enforced(tree: Tree, kind: str, entries: str, allowed: tuple[int, ...]) -> None:
    if kind == "dir":
        directory("it", owner=ANN)
    else:
        os.mkfifo("it") if kind == "fifo" else create("it")
        os.chown("it", ANN.uid, ANN.gid)
    set_acl("it", entries)
    found = tuple(may("it", user) for user in (ANN, BOB, CAROL, DAVE))
    assert found == allowed


# Any group entry that allows all that is asked is enough.
def test_group_entries_are_not_added_up(tree: Tree) -> None:
    create("file", owner=ANN)
    set_acl("file", "u:7 g:4 G20005:2 m:7 o:0")
    assert DAVE.err(os.open, "file", os.O_RDONLY) == "OK"
    assert DAVE.err(os.open, "file", os.O_WRONLY) == "OK"
    assert DAVE.err(os.open, "file", os.O_RDWR) == "EACCES"


def test_enforced_by_every_call(tree: Tree) -> None:
    directory("dir", mode=0o700, owner=ANN)
    create("dir/file", b"x", mode=0o600, owner=ANN)
    assert BOB.err(os.stat, "dir/file") == "EACCES"
    set_acl("dir", "u:7 U10002:1 g:0 m:7 o:0")
    assert BOB.err(os.stat, "dir/file") == "OK"
    assert BOB.err(os.listdir, "dir") == "EACCES"
    assert BOB.err(os.open, "dir/file", os.O_RDONLY) == "EACCES"
    set_acl("dir/file", "u:6 U10002:4 g:0 m:7 o:0")
    assert BOB.err(os.open, "dir/file", os.O_RDONLY) == "OK"
    assert BOB.err(os.open, "dir/file", os.O_WRONLY) == "EACCES"
    assert BOB.err(os.truncate, "dir/file", 0) == "EACCES"
    assert BOB.err(os.mkdir, "dir/new") == "EACCES"
    set_acl("dir", "u:7 U10002:7 g:0 m:7 o:0")
    assert BOB.err(os.mkdir, "dir/new") == "OK"
    assert BOB.err(os.unlink, "dir/file") == "OK"


def test_taken_back_at_once(tree: Tree) -> None:
    create("file", mode=0o600)
    for _ in range(5):
        set_acl("file", "u:6 U10002:6 g:0 m:6 o:0")
        assert BOB.err(os.open, "file", os.O_RDWR) == "OK"
        os.removexattr("file", ACCESS)
        os.chmod("file", 0o600)
        assert BOB.err(os.open, "file", os.O_RDWR) == "EACCES"


@pytest.mark.parametrize(
    ("mode", "text", "bob"),
    [
        (0o600, "u:6 U10002:7 U10003:0 g:4 G20005:5 m:0 o:0", 0),
        (0o777, "u:7 U10002:7 U10003:0 g:4 G20005:5 m:7 o:7", 7),
        (0o642, "u:6 U10002:7 U10003:0 g:4 G20005:5 m:4 o:2", 4),
        (0o2775, "u:7 U10002:7 U10003:0 g:4 G20005:5 m:7 o:5", 7),
    ],
)
def test_chmod_sets_the_mask(tree: Tree, mode: int, text: str, bob: int) -> None:
    create("file")
    set_acl("file", NAMED)
    os.chmod("file", mode)
    assert (text_of("file"), mode_of("file")) == (text, mode)
    assert may("file", BOB) == bob


def test_chown_keeps_it(tree: Tree) -> None:
    create("file")
    set_acl("file", NAMED)
    os.chown("file", BOB.uid, BOB.gid)
    assert text_of("file") == NAMED
    assert may("file", BOB) == 6  # as the owner


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize(
    ("default", "mode", "access"),
    [
        ("u:7 U10002:7 g:5 m:7 o:5", 0o777, "u:7 U10002:7 g:5 m:7 o:5"),
        ("u:7 U10002:7 g:5 m:7 o:5", 0o640, "u:6 U10002:7 g:5 m:4 o:0"),
        ("u:6 U10002:7 g:5 m:4 o:1", 0o777, "u:6 U10002:7 g:5 m:4 o:1"),
        ("u:7 g:5 o:1", 0o666, ""),
        ("u:7 g:5 m:7 o:1", 0o666, "u:6 g:5 m:6 o:0"),
    ],
)
def test_inherited_whatever_the_umask(
    tree: Tree, umask: int, default: str, mode: int, access: str
) -> None:
    directory("dir", mode=0o777)
    set_acl("dir", default, DEFAULT)
    assert (text_of("dir", DEFAULT), text_of("dir")) == (default, "")
    os.umask(umask)
    with opened("dir/file", os.O_CREAT | os.O_RDWR, mode):
        pass
    os.mkdir("dir/sub", mode)
    os.mkfifo("dir/fifo", mode)
    os.mknod("dir/node", mode)
    os.symlink("file", "dir/symlink")
    parts = dict(word.split(":") for word in (access or default).split())
    wanted = int(parts["u"] + parts.get("m", parts["g"]) + parts["o"], 8)
    for name in ("file", "sub", "fifo", "node"):
        assert text_of(f"dir/{name}") == access
        assert mode_of(f"dir/{name}") == (wanted & mode)
    assert text_of("dir/sub", DEFAULT) == default
    assert [text_of(f"dir/{name}", DEFAULT) for name in ("file", "fifo", "node")] == [""] * 3
    assert mode_of("dir/symlink") == 0o777
    os.mkdir("dir/sub/deeper", 0o777)
    assert text_of("dir/sub/deeper", DEFAULT) == default


def test_what_is_inherited_holds(tree: Tree) -> None:
    directory("dir", mode=0o777)
    set_acl("dir", "u:7 U10002:6 g:0 m:7 o:0", DEFAULT)
    ANN.run(create, "dir/written", b"x", mode=0o640)  # mode 0600, then chmod
    with opened("dir/file", os.O_CREAT | os.O_RDWR, 0o666):
        pass
    assert BOB.err(os.open, "dir/file", os.O_RDWR) == "OK"
    assert CAROL.err(os.open, "dir/file", os.O_RDONLY) == "EACCES"
    assert BOB.err(os.open, "dir/written", os.O_RDONLY) == "OK"
    assert BOB.err(os.open, "dir/written", os.O_RDWR) == "EACCES"
    os.removexattr("dir", DEFAULT)
    with opened("dir/later", os.O_CREAT | os.O_RDWR, 0o666):
        pass
    assert (text_of("dir/later"), mode_of("dir/later")) == ("", 0o644)


def test_inherited_in_a_setgid_directory(tree: Tree) -> None:
    directory("dir", mode=0o2777, owner=User(0, ANN.gid))
    set_acl("dir", "u:7 U10002:7 g:7 m:7 o:0", DEFAULT)
    os.mkdir("dir/sub")
    assert mode_of("dir/sub") == 0o2770
    assert os.lstat("dir/sub").st_gid == ANN.gid
    assert text_of("dir/sub") == "u:7 U10002:7 g:7 m:7 o:0"


@rows(
    ("EINVAL", set_acl, "file", "u:7 U10002:7 g:5 o:5"),  # named, without a mask
    ("EINVAL", set_acl, "file", "u:7 g:5"),
    ("EINVAL", set_acl, "file", "g:5 o:5"),
    ("EINVAL", set_acl, "file", "u:7 u:7 g:5 o:5"),
    ("EINVAL", set_acl, "file", "g:5 u:7 o:5"),
    ("EINVAL", set_acl, "file", "u:9 g:5 o:5"),
    ("EACCES", set_acl, "file", "u:7 g:5 o:5", DEFAULT),
    ("EACCES", set_acl, "fifo", "u:7 g:5 o:5", DEFAULT),
    ("OK", set_acl, "dir", "u:7 g:5 o:5", DEFAULT),
    ("OK", os.removexattr, "file", DEFAULT),
    ("ENODATA", os.getxattr, "file", DEFAULT),
    ("ENODATA", os.getxattr, "dir", ACCESS),
    ("ENOENT", set_acl, "none", "u:7 g:5 o:5"),
    ("EINVAL", os.setxattr, "file", ACCESS, b"\x02\0\0"),
    ("EINVAL", os.setxattr, "file", ACCESS, b"\x02\0\0\0\x01"),
    ("EOPNOTSUPP", os.setxattr, "file", ACCESS, b"\x01\0\0\0"),
    ("OK", os.setxattr, "file", ACCESS, b""),
)
def test_errors(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    zoo.expect(expected, call, *args)
    assert mode_of("file") == 0o644


def test_symlinks_have_none(zoo: Tree) -> None:
    value = acl("u:7 g:5 o:5")
    assert err(os.setxattr, "link", ACCESS, value, follow_symlinks=False) == "EOPNOTSUPP"
    assert err(os.getxattr, "link", ACCESS, follow_symlinks=False) == "EOPNOTSUPP"


def test_only_the_owner_may(tree: Tree) -> None:
    create("file", mode=0o666, owner=ANN)
    directory("dir", mode=0o777, owner=ANN)
    assert BOB.err(set_acl, "file", NAMED) == "EPERM"
    assert BOB.err(set_acl, "dir", NAMED, DEFAULT) == "EPERM"
    assert BOB.err(os.removexattr, "file", ACCESS) == "EPERM"
    assert ANN.err(set_acl, "file", NAMED) == "OK"
    assert ANN.err(set_acl, "dir", NAMED, DEFAULT) == "OK"
    assert BOB.run(text_of, "file") == NAMED


def test_setgid_of_a_foreign_group_is_dropped(tree: Tree) -> None:
    for user, mode in ((ANN, 0o755), (User(0, 0), 0o2755)):
        create("file", mode=0o2755, owner=User(ANN.uid, BOB.gid))
        assert user.err(set_acl, "file", "u:7 U10002:7 g:5 m:5 o:5") == "OK"
        assert mode_of("file") == mode
        os.unlink("file")


def test_the_umask_holds_without_a_default(tree: Tree) -> None:
    def make() -> None:
        os.umask(0o027)
        with opened("file", os.O_CREAT | os.O_RDWR, 0o666):
            pass
        os.mkdir("dir", 0o777)
        os.mkfifo("fifo", 0o666)

    in_child(make)
    assert [mode_of(name) for name in ("file", "dir", "fifo")] == [0o640, 0o750, 0o640]


def test_two_processes_agree(tree: Tree) -> None:
    create("file", mode=0o600)
    Child(lambda: set_acl("file", "u:6 U10002:6 g:0 m:6 o:0")).result()
    assert may("file", BOB) == 6
    Child(lambda: os.chmod("file", 0o600)).result()
    assert may("file", BOB) == 0


def test_the_tools(tree: Tree) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("no setfacl here")
    os.mkdir("dir")
    create("dir/file", b"x")
    subprocess.run(["setfacl", "-R", "-m", "u:10002:rwX,d:u:10003:r-x", "dir"], check=True)
    said = subprocess.run(
        ["getfacl", "-nRcE", "dir"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "user:10002:rwx" in said
    assert "default:user:10003:r-x" in said
    assert text_of("dir/file") == "u:6 U10002:6 g:4 m:6 o:4"
    subprocess.run(["cp", "-a", "dir", "copy"], check=True)
    assert text_of("copy", DEFAULT) == text_of("dir", DEFAULT) != ""
    subprocess.run(["setfacl", "-R", "-b", "dir"], check=True)
    assert (text_of("dir"), text_of("dir", DEFAULT), text_of("dir/file")) == ("", "", "")
