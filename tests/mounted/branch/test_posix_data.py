"""read, write, truncate, holes, mmap, fsync, copy_file_range, posix_fallocate, O_DIRECT, limits."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable
from os import O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY

import pytest

from tests.support.posix import (
    DIFFERENCES,
    FALLOC_KEEP_SIZE,
    FALLOC_PUNCH_HOLE,
    ZOO_BIG,
    Child,
    Tree,
    content,
    create,
    err,
    fallocate,
    in_child,
    limited_to,
    opened,
    rows,
    syncfs,
)

pytestmark = pytest.mark.mounted

PAGE = mmap.PAGESIZE
MIB = 1 << 20
LARGEST = (1 << 63) - 1


def patched(data: bytes, offset: int, piece: bytes) -> bytes:
    data = data.ljust(offset, b"\0")
    return data[:offset] + piece + data[offset + len(piece) :]


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, 65_537, len(ZOO_BIG) - 1, len(ZOO_BIG)])
@pytest.mark.parametrize("size", [0, 1, PAGE, 10_000, 400_000])
def test_write_into_a_file(zoo: Tree, offset: int, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with opened("big") as fd:
        before = os.fstat(fd)
        assert os.pwrite(fd, data, offset) == size
        expected = patched(ZOO_BIG, offset, data)
        assert os.fstat(fd).st_size == len(expected)
        assert os.fstat(fd).st_ino == before.st_ino
        assert os.pread(fd, MIB, 0) == expected
        os.fsync(fd)
        assert os.pread(fd, MIB, 0) == expected
    assert content("big") == expected


@pytest.mark.parametrize("gap", [1, PAGE - 1, PAGE, 3 * PAGE + 7, 5 * MIB])
def test_write_behind_the_end(zoo: Tree, gap: int) -> None:
    with opened("big") as fd:
        os.pwrite(fd, b"end", len(ZOO_BIG) + gap)
    assert content("big") == ZOO_BIG + bytes(gap) + b"end"


@pytest.mark.parametrize(
    "sizes",
    [
        (0,),
        (1, 10_000),
        (PAGE, PAGE * 3),
        (PAGE + 1, 0, 70_000),
        (100_000, 400_000, 50_000, 90_000),
        (400_000, 10),
        (MIB, 1, MIB),
    ],
)
@pytest.mark.parametrize("by", [os.truncate, os.ftruncate])
def test_truncate_both_ways(zoo: Tree, by: Callable[..., None], sizes: tuple[int, ...]) -> None:
    expected = ZOO_BIG
    with opened("big") as fd:
        for size in sizes:
            by("big" if by is os.truncate else fd, size)
            expected = expected[:size].ljust(size, b"\0")
            assert os.fstat(fd).st_size == size
            assert os.pread(fd, 2 * MIB, 0) == expected
            os.pwrite(fd, b"tail", size)
            expected += b"tail"
    assert content("big") == expected


def test_offsets(zoo: Tree) -> None:
    with opened("file") as fd:
        assert os.read(fd, 3) == b"con"
        assert os.pread(fd, 4, 3) == b"tent"
        assert os.read(fd, 3) == b"ten"
        assert os.lseek(fd, -2, os.SEEK_END) == 6
        assert os.write(fd, b"TT++") == 4
        assert os.lseek(fd, 0, os.SEEK_CUR) == 10
        assert os.read(fd, 1) == b""
        assert os.lseek(fd, 100, os.SEEK_CUR) == 110
        assert os.read(fd, 1) == b""
        assert os.fstat(fd).st_size == 10
        assert os.pread(fd, 10, 1 << 40) == b""
        assert err(os.lseek, fd, -1, os.SEEK_SET) == "EINVAL"
        assert err(os.pread, fd, 1, -1) == "EINVAL"
        assert err(os.pwrite, fd, b"x", -1) == "EINVAL"
        assert err(os.ftruncate, fd, -1) == "EINVAL"
    assert content("file") == b"contenTT++"


def test_vectors(tree: Tree) -> None:
    with opened("new", O_CREAT | O_RDWR) as fd:
        pieces = [b"one", b"", b"t" * 5000, b"three"]
        assert os.writev(fd, pieces) == 5008
        assert os.pwritev(fd, [b"AB", b"CD"], 1) == 4
        buffers = [bytearray(2), bytearray(4000), bytearray(3000)]
        assert os.preadv(fd, buffers, 0) == 5008
        assert bytes(buffers[0]) == b"oA"
        assert b"".join(buffers)[:5008] == patched(b"".join(pieces), 1, b"ABCD")


def test_two_descriptors_see_each_other_at_once(zoo: Tree) -> None:
    with opened("big") as one, opened("big", O_RDONLY) as other:
        for turn in range(50):
            os.pwrite(one, b"%04d" % turn, turn * 5000)
            assert os.pread(other, 4, turn * 5000) == b"%04d" % turn
            assert os.stat("big").st_size == max(len(ZOO_BIG), turn * 5000 + 4)
        os.ftruncate(one, 10)
        assert os.pread(other, 100, 0) == b"0000" + ZOO_BIG[4:10]


def test_sparse(tree: Tree) -> None:
    size = 1 << 40
    with opened("sparse", O_CREAT | O_RDWR) as fd:
        os.ftruncate(fd, size)
        os.pwrite(fd, b"middle", size // 2)
        os.fsync(fd)
        facts = os.fstat(fd)
        assert facts.st_size == size
        assert facts.st_blocks * 512 < MIB
        assert os.pread(fd, 8, size // 2 - 1) == b"\0middle\0"
        assert os.pread(fd, 8, size - 4) == bytes(4)
        assert os.pread(fd, 3 * PAGE, 12345) == bytes(3 * PAGE)
        os.ftruncate(fd, size // 2 + 3)
        os.ftruncate(fd, size)
        assert os.pread(fd, 8, size // 2 - 1) == b"\0mid\0\0\0\0"


def test_blocks(tree: Tree) -> None:
    data = random.Random(1).randbytes(MIB)
    with opened("new", O_CREAT | O_RDWR) as fd:
        assert os.fstat(fd).st_blocks == 0
        os.write(fd, data)
        os.fsync(fd)
        assert os.fstat(fd).st_blksize >= PAGE
    # With a writeback cache the kernel asks a FUSE server for it after a close, not before.
    assert MIB <= os.stat("new").st_blocks * 512 <= MIB + 64 * 1024
    with opened("new") as fd:
        os.ftruncate(fd, PAGE)
        os.fsync(fd)
    assert os.stat("new").st_blocks * 512 <= 16 * 1024


def test_holes_and_data(tree: Tree) -> None:
    with opened("new", O_CREAT | O_RDWR) as fd:
        os.ftruncate(fd, 4 * MIB)
        os.pwrite(fd, b"d" * MIB, MIB)
        os.fsync(fd)
        at, found = 0, set()
        while err(os.lseek, fd, at, os.SEEK_DATA) == "OK":
            data = os.lseek(fd, at, os.SEEK_DATA)
            hole = os.lseek(fd, data, os.SEEK_HOLE)
            assert at <= data < hole <= 4 * MIB
            found.update(range(data // PAGE, -(-hole // PAGE)))
            at = hole
        assert set(range(MIB // PAGE, 2 * MIB // PAGE)) <= found  # what has data is never a hole
        assert os.lseek(fd, MIB + 5, os.SEEK_DATA) == MIB + 5
        assert os.lseek(fd, 4 * MIB - 1, os.SEEK_HOLE) <= 4 * MIB
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            assert err(os.lseek, fd, 4 * MIB, whence) == "ENXIO"


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_WRITE, mmap.ACCESS_COPY])
def test_mapped(zoo: Tree, access: int) -> None:
    expected = ZOO_BIG
    with opened("big") as fd:
        with mmap.mmap(fd, 0, access=access) as mapped:
            assert mapped[:] == ZOO_BIG
            if access != mmap.ACCESS_READ:
                mapped[70_000:70_006] = b"mapped"
                assert mapped[69_999:70_006] == ZOO_BIG[69_999:70_000] + b"mapped"
            if access == mmap.ACCESS_WRITE:
                expected = patched(ZOO_BIG, 70_000, b"mapped")
                assert os.pread(fd, 6, 70_000) == b"mapped"  # without msync, too
                mapped.flush()
            os.pwrite(fd, b"written", 200_000)
            expected = patched(expected, 200_000, b"written")
            assert mapped[200_000:200_007] == b"written"
        assert os.pread(fd, MIB, 0) == expected
    assert content("big") == expected


def test_mapped_by_two_processes(tree: Tree) -> None:
    with opened("new", O_CREAT | O_RDWR) as fd:
        os.ftruncate(fd, 10 * PAGE)

        def work() -> None:
            with opened("new") as own, mmap.mmap(own, 0) as mapped:
                for page in range(1, 10, 2):
                    mapped[page * PAGE : page * PAGE + 5] = b"child"

        with mmap.mmap(fd, 0) as mapped:
            child = Child(work)
            for page in range(0, 10, 2):
                mapped[page * PAGE : page * PAGE + 5] = b"other"
            child.result()
            for page in range(10):
                assert mapped[page * PAGE :][:5] == (b"child" if page % 2 else b"other")
    assert content("new") == (b"other".ljust(PAGE, b"\0") + b"child".ljust(PAGE, b"\0")) * 5


def test_mapped_and_closed(tree: Tree) -> None:
    with opened("new", O_CREAT | O_RDWR) as fd:
        os.ftruncate(fd, 3 * PAGE)
        mapped = mmap.mmap(fd, 0)
    mapped[PAGE : PAGE + 4] = b"late"
    os.rename("new", "renamed")
    assert content("renamed")[PAGE : PAGE + 4] == b"late"
    os.unlink("renamed")
    mapped[0:4] = b"gone"
    mapped.flush()
    assert mapped[: PAGE + 4] == b"gone".ljust(PAGE, b"\0") + b"late"
    mapped.close()


@pytest.mark.parametrize(
    ("access", "protection", "expected"),
    [
        (O_RDONLY, mmap.PROT_WRITE, "EACCES"),
        (O_RDONLY, mmap.PROT_READ, "OK"),
        (O_WRONLY, mmap.PROT_READ, "EACCES"),
        (O_RDWR, mmap.PROT_READ | mmap.PROT_WRITE, "OK"),
    ],
)
def test_what_may_be_mapped(zoo: Tree, access: int, protection: int, expected: str) -> None:
    with opened("big", access) as fd:
        assert err(mmap.mmap, fd, PAGE, mmap.MAP_SHARED, protection) == expected
    with opened("dir", O_RDONLY) as fd:
        assert err(mmap.mmap, fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ) == "ENODEV"


def test_synced(zoo: Tree) -> None:
    with opened("big") as fd, opened(".", O_RDONLY) as here:
        for sync in (os.fsync, os.fdatasync, syncfs):
            os.write(fd, b"sync")
            sync(fd)
            os.mkdir(f"d{sync.__name__}")
            sync(here)
        assert os.pread(fd, MIB, 0) == b"sync" * 3 + ZOO_BIG[12:]
    with opened("fifo", O_RDONLY | os.O_NONBLOCK) as fd:
        assert err(os.fsync, fd) == "EINVAL"


@pytest.mark.parametrize("flags", [os.O_SYNC, os.O_DSYNC, os.O_SYNC | O_APPEND])
def test_synced_by_every_write(tree: Tree, flags: int) -> None:
    with opened("new", O_CREAT | O_RDWR | flags) as fd:
        for turn in range(5):
            assert os.write(fd, b"%d" % turn) == 1
    assert content("new") == b"01234"


def test_unbuffered(zoo: Tree) -> None:
    with mmap.mmap(-1, 4 * PAGE) as aligned, opened("new", O_CREAT | O_RDWR | os.O_DIRECT) as fd:
        aligned[:] = (b"0123456789abcdef" * 1024)[: 4 * PAGE]
        assert os.writev(fd, [aligned]) == 4 * PAGE
        with opened("new") as buffered:
            assert os.pread(buffered, 16, PAGE) == b"0123456789abcdef"
            os.pwrite(buffered, b"buffered", 2 * PAGE)
            aligned[:] = bytes(4 * PAGE)
            assert os.preadv(fd, [aligned], 0) == 4 * PAGE
            assert aligned[2 * PAGE : 2 * PAGE + 8] == b"buffered"
            aligned[:8] = b"unbuffer"
            assert os.pwritev(fd, [memoryview(aligned)[:PAGE]], 4 * PAGE) == PAGE
            assert os.pread(buffered, 8, 4 * PAGE) == b"unbuffer"
        assert os.fstat(fd).st_size == 5 * PAGE


def test_copied_by_the_kernel(zoo: Tree) -> None:
    create("new", b"begin")
    with opened("big", O_RDONLY) as source, opened("new") as target:
        done = 0
        while done < 200_000:
            step = os.copy_file_range(source, target, 200_000 - done, 50_000 + done, 5 + done)
            assert step > 0
            done += step
        assert os.copy_file_range(source, target, 10, len(ZOO_BIG), 0) == 0
        assert err(os.copy_file_range, target, source, 1, 0, 0) == "EBADF"
        assert content("new") == b"begin" + ZOO_BIG[50_000:250_000]
        assert err(os.copy_file_range, target, target, 10, 0, 5) == "EINVAL"
        assert os.copy_file_range(target, target, 5, 0, 100) == 5
        assert os.pread(target, 5, 100) == b"begin"
        assert os.sendfile(target, source, 0, 300) == 300
    assert content("new")[:300] == ZOO_BIG[:300]


def test_allocated(zoo: Tree) -> None:
    with opened("big") as fd:
        os.posix_fallocate(fd, 0, 100_000)
        assert os.pread(fd, MIB, 0) == ZOO_BIG
        os.posix_fallocate(fd, len(ZOO_BIG) + 10_000, 20_000)
        assert os.pread(fd, MIB, 0) == ZOO_BIG + bytes(30_000)
        assert err(os.posix_fallocate, fd, 0, 0) == "EINVAL"
        assert err(os.posix_fallocate, fd, -1, 5) == "EINVAL"
    with opened("big", O_RDONLY) as fd:
        assert err(os.posix_fallocate, fd, 0, 5) == "EBADF"


@rows(
    (DIFFERENCES["fallocate"], fallocate, 0, 0, 100),
    (DIFFERENCES["fallocate"], fallocate, FALLOC_KEEP_SIZE, 0, MIB),
    (DIFFERENCES["fallocate"], fallocate, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, 0, PAGE),
    ("EINVAL", fallocate, 0, 0, 0),
    ("EINVAL", os.pwrite, b"x", LARGEST),
    (DIFFERENCES["largest size"], os.pwrite, b"x", LARGEST - 1),
    (DIFFERENCES["largest size"], os.ftruncate, LARGEST),
)
def test_calls(zoo: Tree, expected: str, call: object, args: tuple[object, ...]) -> None:
    with opened("file") as fd:
        zoo.expect(expected, call, fd, *args)
        os.ftruncate(fd, 5)
        assert os.pread(fd, 9, 0) in (b"conte", bytes(5))


def test_size_limit_of_a_process(zoo: Tree) -> None:
    with opened("file", O_RDWR | O_APPEND) as fd, opened("file") as other:
        assert in_child(limited_to(10, lambda: os.write(fd, b"12345"))) == 2  # what fits
        assert in_child(limited_to(10, lambda: err(os.write, fd, b"x"))) == "EFBIG"
        assert in_child(limited_to(10, lambda: err(os.pwrite, other, b"x", 10))) == "EFBIG"
        assert in_child(limited_to(10, lambda: err(os.ftruncate, other, 11))) == "EFBIG"
        assert in_child(limited_to(10, lambda: err(os.truncate, "file", 11))) == "EFBIG"
        assert in_child(limited_to(10, lambda: err(os.ftruncate, other, 9))) == "OK"
        assert in_child(limited_to(10, lambda: err(os.pwrite, other, b"x", 3))) == "OK"
    assert content("file") == b"conxent\n1"


def test_appended_by_several_processes(tree: Tree) -> None:
    create("log")

    def work(writer: int) -> None:
        with opened("log", O_WRONLY | O_APPEND) as fd:
            for turn in range(200):
                line = f"{writer}:{turn}:{'x' * (turn % 90)}\n".encode()
                assert os.write(fd, line) == len(line)

    for child in [Child(lambda writer=writer: work(writer)) for writer in range(5)]:
        child.result()
    lines = content("log").decode().splitlines()
    assert len(lines) == 1000
    for writer in range(5):
        own = [line for line in lines if line.startswith(f"{writer}:")]
        assert own == [f"{writer}:{turn}:{'x' * (turn % 90)}" for turn in range(200)]


def test_numbers_stay(zoo: Tree) -> None:
    names = ("file", "big", "dir", "link", "fifo", "full/inside")
    before = {name: os.lstat(name).st_ino for name in names}
    assert len(set(before.values())) == len(names)
    with opened("file", O_RDWR | O_APPEND) as fd:
        os.write(fd, b"more")
        os.fsync(fd)
    os.truncate("big", 7)
    os.chmod("dir", 0o700)
    os.rename("full", "moved")
    create("dir/new")
    with opened(".", O_RDONLY) as fd:
        syncfs(fd)
    after = {name: os.lstat(name.replace("full", "moved")).st_ino for name in names}
    assert after == before
    listed = {row.name: row.inode() for row in os.scandir(".")}
    assert [listed[name] for name in names[:5]] == [before[name] for name in names[:5]]
