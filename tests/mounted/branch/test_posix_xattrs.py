"""Extended attributes: flags, limits, namespaces, what they stand on."""

from __future__ import annotations

import os
from os import XATTR_CREATE, XATTR_REPLACE

import pytest

from tests.support.posix import (
    ANN,
    BOB,
    DIFFERENCES,
    LIBC,
    Tree,
    checked,
    content,
    create,
    directory,
    err,
    linkat,
    opened,
    rows,
    syncfs,
)

pytestmark = pytest.mark.mounted

NAME_LIMIT, VALUE_LIMIT = 255, 65_536
BOTH = DIFFERENCES["both flags of setxattr"]


def get_into(path: str, name: str, size: int) -> int:
    """getxattr(2) with a buffer of *size* bytes."""
    return checked(LIBC.getxattr(os.fsencode(path), name.encode(), bytes(size), size))


def list_into(path: str, size: int) -> int:
    return checked(LIBC.listxattr(os.fsencode(path), bytes(size), size))


def user_names(path: str) -> list[str]:
    """What listxattr(2) gives, but for what a security module puts on everything."""
    names = os.listxattr(path, follow_symlinks=False)
    return sorted(name for name in names if not name.startswith("security."))


@pytest.mark.parametrize("kind", ["file", "big", "dir", "full", "linked", "link"])
def test_set_get_list_remove(zoo: Tree, kind: str) -> None:
    values = {"user.a": b"1", "user.empty": b"", "user.bin": bytes(range(256)), "user.ä": b"\xff"}
    target = os.path.realpath(kind)
    for name, value in values.items():
        os.setxattr(kind, name, value)
    for _ in range(2):
        assert {
            name: os.getxattr(kind, name) for name in user_names(os.path.realpath(kind))
        } == values
        with opened(".", os.O_RDONLY) as fd:
            syncfs(fd)
    os.setxattr(kind, "user.a", b"another, longer value")
    assert os.getxattr(kind, "user.a") == b"another, longer value"
    for name in values:
        os.removexattr(kind, name)
        assert err(os.getxattr, kind, name) == "ENODATA"
    assert user_names(target) == []


@rows(
    ("ENODATA", os.getxattr, "file", "user.none"),
    ("ENODATA", os.removexattr, "file", "user.none"),
    ("ENODATA", os.setxattr, "file", "user.none", b"1", XATTR_REPLACE),
    ("OK", os.setxattr, "file", "user.none", b"1", XATTR_CREATE),
    ("OK", os.setxattr, "file", "user.set", b"1", XATTR_REPLACE),
    ("EEXIST", os.setxattr, "file", "user.set", b"1", XATTR_CREATE),
    ("EEXIST", os.setxattr, "file", "user.set", b"1", XATTR_CREATE | XATTR_REPLACE),
    ("EINVAL", os.setxattr, "file", "user.set", b"1", 4),
    (BOTH, os.setxattr, "file", "user.none", b"1", XATTR_CREATE | XATTR_REPLACE),
    ("ENOENT", os.getxattr, "none", "user.set"),
    ("ENOENT", os.setxattr, "dangling", "user.set", b"1"),
    ("ENOTDIR", os.listxattr, "file/x"),
    ("ELOOP", os.listxattr, "loop"),
    ("OK", get_into, "file", "user.set", 0),
    ("OK", get_into, "file", "user.set", 5),
    ("OK", get_into, "file", "user.set", 100),
    ("ERANGE", get_into, "file", "user.set", 4),
    ("OK", list_into, "file", 0),
    ("OK", list_into, "file", 1000),
    ("ERANGE", list_into, "file", 1),
    ("EOPNOTSUPP", os.setxattr, "file", "unknown.x", b"1"),
    ("EOPNOTSUPP", os.getxattr, "file", "unknown.x"),
    ("EOPNOTSUPP", os.setxattr, "file", "noprefix", b"1"),
    ("EOPNOTSUPP", os.removexattr, "file", "noprefix"),
    ("EINVAL", os.setxattr, "file", "user.", b"1"),
    ("ERANGE", os.setxattr, "file", "", b"1"),
    ("OK", os.setxattr, "file", "user.".ljust(NAME_LIMIT, "n"), b"1"),
    ("ERANGE", os.setxattr, "file", "user.".ljust(NAME_LIMIT + 1, "n"), b"1"),
    ("ERANGE", os.getxattr, "file", "user.".ljust(NAME_LIMIT + 1, "n")),
    ("E2BIG", os.setxattr, "file", "user.large", bytes(VALUE_LIMIT + 1)),
    (DIFFERENCES["xattr of many bytes"], os.setxattr, "file", "user.large", bytes(VALUE_LIMIT)),
    ("OK", os.setxattr, "file", "user.large", bytes(3000)),
    ("OK", os.setxattr, "fifo", "trusted.x", b"1"),
    *(
        ("EPERM", call, kind, "user.set", *args)
        for kind in ("fifo", "sock", "null")
        for call, *args in ((os.setxattr, b"1"), (os.removexattr,))
    ),
    ("ENODATA", os.getxattr, "fifo", "user.set"),
)
def test_errors(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    os.setxattr("file", "user.set", b"value")
    zoo.expect(expected, call, *args)


@pytest.mark.parametrize("name", ["link", "linkdir", "dangling"])
def test_symlinks_have_none_of_a_users(zoo: Tree, name: str) -> None:
    assert err(os.setxattr, name, "user.x", b"1", follow_symlinks=False) == "EPERM"
    assert err(os.getxattr, name, "user.x", follow_symlinks=False) == "ENODATA"
    assert err(os.removexattr, name, "user.x", follow_symlinks=False) == "EPERM"
    assert user_names(name) == []
    assert err(os.setxattr, name, "trusted.x", b"1", follow_symlinks=False) == "OK"
    assert os.getxattr(name, "trusted.x", follow_symlinks=False) == b"1"
    assert user_names(name) == ["trusted.x"]


def test_who_may(tree: Tree) -> None:
    create("file", mode=0o644, owner=ANN)
    assert BOB.err(os.setxattr, "file", "user.x", b"1") == "EACCES"
    assert ANN.err(os.setxattr, "file", "user.x", b"1") == "OK"
    assert BOB.run(os.getxattr, "file", "user.x") == b"1"
    assert BOB.err(os.removexattr, "file", "user.x") == "EACCES"
    os.chmod("file", 0o622)
    assert BOB.err(os.getxattr, "file", "user.x") == "EACCES"
    assert BOB.run(os.listxattr, "file") == ["user.x"]  # names want no permission
    assert BOB.err(os.setxattr, "file", "user.y", b"1") == "OK"


def test_trusted_is_roots(tree: Tree) -> None:
    create("file", owner=ANN)
    assert ANN.err(os.setxattr, "file", "trusted.x", b"1") == "EPERM"
    os.setxattr("file", "trusted.x", b"1")
    assert ANN.err(os.getxattr, "file", "trusted.x") == "ENODATA"
    assert os.getxattr("file", "trusted.x") == b"1"


def test_sticky_directories_are_their_owners(tree: Tree) -> None:
    directory("sticky", mode=0o1777, owner=ANN)
    directory("plain", mode=0o777, owner=ANN)
    assert BOB.err(os.setxattr, "sticky", "user.x", b"1") == "EPERM"
    assert BOB.err(os.setxattr, "plain", "user.x", b"1") == "OK"
    assert ANN.err(os.setxattr, "sticky", "user.x", b"1") == "OK"


def test_kept_by_everything_else(zoo: Tree) -> None:
    os.setxattr("linked", "user.x", b"1")
    linkat("linked", "third")
    os.rename("third", "dir/moved")
    os.chmod("dir/moved", 0o600)
    with opened("linked", os.O_RDWR | os.O_TRUNC) as fd:
        os.write(fd, b"content")
        assert os.getxattr(fd, "user.x") == b"1"
        os.setxattr(fd, "user.y", b"2")
        os.unlink("linked")
        assert os.getxattr(fd, "user.y") == b"2"
    assert os.getxattr("dir/moved", "user.y") == b"2"
    assert content("dir/moved") == b"content"
    create("new")
    assert user_names("new") == []


def test_many(tree: Tree) -> None:
    create("file")
    names = {f"user.n{number:03}" for number in range(60)}
    for name in names:
        os.setxattr("file", name, name.encode())
    assert set(user_names("file")) == names
    assert all(os.getxattr("file", name) == name.encode() for name in names)


def test_set_in_an_open_file_that_is_gone(zoo: Tree) -> None:
    with opened("file") as fd:
        os.unlink("file")
        os.setxattr(fd, "user.x", b"1")
        assert [name for name in os.listxattr(fd) if name.startswith("user.")] == ["user.x"]
        os.removexattr(fd, "user.x")
        assert err(os.getxattr, fd, "user.x") == "ENODATA"


def test_capabilities_are_dropped_by_writing(tree: Tree) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind=ep, v2
    create("file", mode=0o777)
    assert err(os.setxattr, "file", "security.capability", capability) == "OK"
    assert os.getxattr("file", "security.capability") == capability
    with opened("file", os.O_WRONLY) as fd:
        os.write(fd, b"x")
    assert err(os.getxattr, "file", "security.capability") == "ENODATA"
