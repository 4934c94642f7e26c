"""Names of all bytes and lengths, long paths, chains of symlinks, dot-dot, other file systems."""

from __future__ import annotations

import os
import unicodedata

import pytest

from tests.support.posix import (
    DIFFERENCES,
    NAME_MAX,
    PATH_MAX,
    ZOO_FILE,
    Tree,
    content,
    create,
    err,
    linkat,
    opened,
)

pytestmark = pytest.mark.mounted

LONGEST = "n" * NAME_MAX

ODD = [
    *(bytes([byte]) for byte in range(1, 256) if byte not in b"./"),
    *(b"...", b".hidden", b" ", b"-", b"a\nb", b"\xff\xfe", b"con", b"*?[", b"A", b"a"),
    *(unicodedata.normalize(form, "é").encode() for form in ("NFC", "NFD")),
    *("ñ".encode() * 127, b"x" * 255),
]


def test_odd_names(tree: Tree) -> None:
    for name in ODD:
        os.makedirs(name, exist_ok=True)
        create(os.path.join(os.fsdecode(name), os.fsdecode(name)), name)
    assert set(os.listdir(b".")) == set(ODD)
    for name in set(ODD):
        assert os.listdir(name) == [name]
        assert content(os.path.join(os.fsdecode(name), os.fsdecode(name))) == name


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, create])
def test_the_longest_name(tree: Tree, make: object) -> None:
    assert os.pathconf(".", "PC_NAME_MAX") == os.statvfs(".").f_namemax == NAME_MAX
    other = "o" * NAME_MAX
    make(LONGEST)  # type: ignore[operator]
    os.rename(LONGEST, other)
    assert os.listdir(".") == [other]
    if make is not os.mkdir:
        linkat(other, LONGEST)
        os.unlink(LONGEST)
    os.symlink(other, LONGEST)
    assert os.stat(LONGEST).st_ino == os.lstat(other).st_ino


def test_the_longest_path(tree: Tree) -> None:
    room = PATH_MAX - 1
    path = "./" * ((room - 4) // 2)
    path += "f" * (room - len(path))
    create(path, b"here")
    assert content(path) == b"here"
    assert err(os.stat, "." + "/" + path) == "ENAMETOOLONG"
    here = os.getcwd()
    for _ in range(20):  # beyond PATH_MAX, one step at a time
        os.mkdir(LONGEST)
        os.chdir(LONGEST)
    create("deep", b"deep")
    assert content("deep") == b"deep"
    os.chdir(here)


def test_chains_of_symlinks(zoo: Tree) -> None:
    os.symlink("file", "s1")
    for number in range(2, 42):
        os.symlink(f"s{number - 1}", f"s{number}")
    assert content("s40") == ZOO_FILE
    assert err(os.stat, "s41") == "ELOOP"
    assert os.lstat("s41").st_size == 3


def test_dot_dot(zoo: Tree) -> None:
    ino = os.stat(".").st_ino
    assert os.stat("full/sub/../..").st_ino == ino
    assert os.stat("linkdir/..").st_ino == ino
    with opened("full/sub", os.O_RDONLY) as fd:
        os.rename("full/sub", "dir/moved")
        assert os.stat("..", dir_fd=fd).st_ino == os.stat("dir").st_ino
        assert os.stat("../..", dir_fd=fd).st_ino == ino
    assert os.path.realpath("dir/moved") == os.path.join(os.getcwd(), "dir/moved")
    assert [os.stat(f"{path}.").st_dev for path in ("", "dir/moved/")] == [os.stat(".").st_dev] * 2


def test_other_file_systems_and_mount_points(tree: Tree) -> None:
    create("file")
    other = str(tree.elsewhere / f"vfs-test-{os.getpid()}")
    assert err(linkat, "file", other) == "EXDEV"
    assert err(os.rename, "file", other) == "EXDEV"
    root = str(tree.root)
    tree.expect(DIFFERENCES["mount point, not empty"], os.rmdir, root)
    tree.expect(DIFFERENCES["mount point"], os.rename, root, root + "x")
    if tree.kind == "reference":
        os.rename(root + "x", root)
