"""Files without a name that are open still, and files that others were renamed over."""

from __future__ import annotations

import mmap
import os
import stat

import pytest

from tests.support.posix import (
    ANN,
    AT_EMPTY_PATH,
    AT_SYMLINK_FOLLOW,
    ZOO_BIG,
    Child,
    Tree,
    content,
    create,
    err,
    linkat,
    opened,
    syncfs,
)

pytestmark = pytest.mark.mounted


@pytest.mark.parametrize("name", ["file", "big"])
@pytest.mark.parametrize("by", ["unlink", "rename over"])
def test_all_works_without_a_name(zoo: Tree, by: str, name: str) -> None:
    expected = content(name)
    with opened(name) as fd:
        ino = os.fstat(fd).st_ino
        if by == "unlink":
            os.unlink(name)
        else:
            create("other", b"other")
            os.rename("other", name)
        assert os.pread(fd, 1 << 20, 0) == expected
        assert os.fstat(fd).st_nlink == 0
        assert os.pwrite(fd, b"written", 100_000) == 7
        os.fsync(fd)
        expected = expected[:100_000].ljust(100_000, b"\0") + b"written" + expected[100_007:]
        assert os.pread(fd, 1 << 20, 0) == expected
        os.ftruncate(fd, 50)
        os.ftruncate(fd, 100)
        assert os.pread(fd, 200, 0) == expected[:50] + bytes(50)
        os.fchmod(fd, 0o600)
        os.fchown(fd, ANN.uid, ANN.gid)
        os.utime(fd, ns=(1, 2))
        facts = os.fstat(fd)
        assert (facts.st_ino, facts.st_nlink, facts.st_size) == (ino, 0, 100)
        assert (facts.st_mode, facts.st_uid) == (stat.S_IFREG | 0o600, ANN.uid)
        assert facts.st_mtime_ns == 2
        with opened(".", os.O_RDONLY) as here:
            syncfs(here)
        assert os.pread(fd, 3, 49) == expected[49:50] + bytes(2)
    assert os.path.lexists(name) == (by != "unlink")


def test_cannot_get_a_name_again(zoo: Tree) -> None:
    with opened("file") as fd:
        os.unlink("file")
        assert err(linkat, f"/proc/self/fd/{fd}", "again", AT_SYMLINK_FOLLOW) == "ENOENT"
        assert err(linkat, "", "again", AT_EMPTY_PATH, old_dir=fd) == "ENOENT"
        assert os.readlink(f"/proc/self/fd/{fd}").endswith("/file (deleted)")


def test_can_be_opened_again_by_descriptor(zoo: Tree) -> None:
    with opened("big") as fd:
        os.unlink("big")
        os.pwrite(fd, b"later", 10)
        with opened(f"/proc/self/fd/{fd}") as again:
            assert os.pread(again, 1 << 20, 0) == ZOO_BIG[:10] + b"later" + ZOO_BIG[15:]
            os.ftruncate(again, 3)
        assert os.fstat(fd).st_size == 3


def test_a_new_one_of_the_same_name_is_another(zoo: Tree) -> None:
    with opened("file") as old:
        os.unlink("file")
        create("file", b"new")
        with opened("file") as new:
            assert os.fstat(old).st_ino != os.fstat(new).st_ino
            os.write(old, b"OLD")
            os.write(new, b"NEW")
            assert os.pread(old, 9, 0) == b"OLDtent\n"
    assert content("file") == b"NEW"


def test_last_of_several_names(zoo: Tree) -> None:
    with opened("linked") as fd:
        os.unlink("linked")
        assert os.fstat(fd).st_nlink == 1
        linkat("linked too", "third")
        os.unlink("linked too")
        linkat(f"/proc/self/fd/{fd}", "fourth", AT_SYMLINK_FOLLOW)
        assert os.fstat(fd).st_nlink == 2
        os.unlink("third")
        os.write(fd, b"TW")
        os.unlink("fourth")
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 9, 0) == b"TWice"


def test_held_by_a_mapping_alone(zoo: Tree) -> None:
    with opened("big") as fd:
        mapped = mmap.mmap(fd, 0)
    os.unlink("big")
    mapped[5000:5005] = b"still"
    mapped.flush()
    assert mapped[:] == ZOO_BIG[:5000] + b"still" + ZOO_BIG[5005:]
    mapped.close()


def test_held_by_another_process(zoo: Tree) -> None:
    ready_read, ready_write = os.pipe()
    gone_read, gone_write = os.pipe()

    def work() -> tuple[bytes, int]:
        with opened("file") as fd:
            os.write(ready_write, b"r")
            os.read(gone_read, 1)
            os.write(fd, b"CON")
            return os.pread(fd, 99, 0), os.fstat(fd).st_nlink

    child = Child(work)
    os.read(ready_read, 1)
    os.unlink("file")
    assert err(os.stat, "file") == "ENOENT"
    os.write(gone_write, b"g")
    assert child.result() == (b"CONtent\n", 0)
    for fd in (ready_read, ready_write, gone_read, gone_write):
        os.close(fd)


def test_a_directory_that_is_gone(zoo: Tree) -> None:
    with opened("full/sub", os.O_RDONLY) as fd:
        os.rmdir("full/sub")
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fd) == []
        os.fchmod(fd, 0o700)
        assert os.fstat(fd).st_mode & 0o7777 == 0o700
        os.fsync(fd)
        for call, *args in ((os.mkdir,), (os.mknod,), (os.symlink, "x")):
            assert err(call, *args, "new", dir_fd=fd) == "ENOENT"
        assert err(os.link, "file", "new", dst_dir_fd=fd) == "ENOENT"
        assert err(os.rename, "file", "new", dst_dir_fd=fd) == "ENOENT"


def test_a_directory_renamed_over(zoo: Tree) -> None:
    with opened("dir", os.O_RDONLY) as fd:
        os.rename("full", "dir")
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fd) == []
        assert err(os.mkdir, "new", dir_fd=fd) == "ENOENT"
    assert sorted(os.listdir("dir")) == ["inside", "sub"]


def test_many_rounds(tree: Tree) -> None:
    """A file is written, opened, replaced and read to the end, over and over."""
    create("name", b"0")
    held = []
    for turn in range(1, 100):
        held.append(os.open("name", os.O_RDONLY))
        os.rename(create("temporary", b"%d" % turn), "name")
    for turn, fd in enumerate(held):
        assert os.read(fd, 9) == b"%d" % turn
        os.close(fd)
    assert os.listdir(".") == ["name"]
