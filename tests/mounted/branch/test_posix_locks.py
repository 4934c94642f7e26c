"""flock(2), record locks of fcntl(2), of processes and of open file descriptions."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
from typing import Any

import pytest

from tests.support.posix import Child, Tree, create, err, in_child, opened

pytestmark = pytest.mark.mounted

READ, WRITE, UNLOCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
OFD_SET, OFD_GET = 37, 36  # F_OFD_SETLK, F_OFD_GETLK
FLOCK = "hhqqi4x"


def record(
    fd: int, kind: int, start: int = 0, length: int = 0, *, by: int = fcntl.F_SETLK
) -> tuple[int, int, int, int]:
    """Set or get a record lock; return kind, start, length and owner as the kernel gives them."""
    asked = struct.pack(FLOCK, kind, os.SEEK_SET, start, length, 0)
    kind, _, start, length, pid = struct.unpack(FLOCK, fcntl.fcntl(fd, by, asked))
    return kind, start, length, pid


def elsewhere(call: Callable[..., Any], *args: Any, flags: int = os.O_RDWR) -> str:
    """The errno of a call on the file, opened anew by another process."""

    def work() -> str:
        with opened("file", flags) as fd:
            return err(call, fd, *args)

    return in_child(work)


@pytest.fixture
def fd(tree: Tree) -> Iterator[int]:
    create("file", b"0123456789")
    with opened("file") as fd:
        yield fd


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        (LOCK_SH, LOCK_SH, "OK"),
        (LOCK_SH, LOCK_EX, "EAGAIN"),
        (LOCK_EX, LOCK_SH, "EAGAIN"),
        (LOCK_EX, LOCK_EX, "EAGAIN"),
        (LOCK_UN, LOCK_EX, "OK"),
    ],
)
def test_flock(fd: int, held: int, wanted: int, expected: str) -> None:
    fcntl.flock(fd, held)
    assert elsewhere(fcntl.flock, wanted | LOCK_NB) == expected
    with opened("file", os.O_RDONLY) as other:  # of another open, in the same process
        assert err(fcntl.flock, other, wanted | LOCK_NB) == expected
    fcntl.flock(fd, LOCK_UN)
    assert elsewhere(fcntl.flock, LOCK_EX | LOCK_NB) == "OK"


def test_flock_belongs_to_the_open_file(fd: int) -> None:
    copy = os.dup(fd)
    fcntl.flock(fd, LOCK_EX)
    fcntl.flock(copy, LOCK_SH)
    assert elsewhere(fcntl.flock, LOCK_SH | LOCK_NB) == "OK"
    assert in_child(lambda: err(fcntl.flock, copy, LOCK_EX | LOCK_NB)) == "OK"  # inherited
    os.close(copy)
    assert elsewhere(fcntl.flock, LOCK_SH | LOCK_NB) == "EAGAIN"
    fcntl.flock(fd, LOCK_UN)


def test_flock_of_directories(tree: Tree) -> None:
    with opened(".", os.O_RDONLY) as one, opened(".", os.O_RDONLY) as other:
        fcntl.flock(one, LOCK_EX)
        assert err(fcntl.flock, other, LOCK_SH | LOCK_NB) == "EAGAIN"


def waits_for_lock(lock: Callable[[int], object], unlock: Callable[[], object]) -> None:
    """A child that waits for a lock gets it when the holder lets it go."""
    ready_read, ready_write = os.pipe()

    def work() -> bytes:
        with opened("file") as own:
            os.write(ready_write, b"r")
            lock(own)
            return os.pread(own, 3, 0)

    child = Child(work)
    os.read(ready_read, 1)
    with opened("file") as own:
        os.write(own, b"new")
    unlock()
    assert child.result() == b"new"
    os.close(ready_read)
    os.close(ready_write)


def test_flock_is_waited_for(fd: int) -> None:
    fcntl.flock(fd, LOCK_EX)
    waits_for_lock(lambda own: fcntl.flock(own, LOCK_EX), lambda: fcntl.flock(fd, LOCK_UN))


def test_record_lock_is_waited_for(fd: int) -> None:
    record(fd, WRITE)
    waits_for_lock(
        lambda own: record(own, READ, 5, 1, by=fcntl.F_SETLKW), lambda: record(fd, UNLOCK)
    )


@pytest.mark.parametrize(
    ("held", "wanted", "start", "length", "expected"),
    [
        (READ, READ, 0, 0, "OK"),
        (READ, WRITE, 0, 0, "EAGAIN"),
        (WRITE, READ, 104, 1, "EAGAIN"),
        (WRITE, WRITE, 99, 1, "OK"),
        (WRITE, WRITE, 99, 2, "EAGAIN"),
        (WRITE, WRITE, 109, 1, "EAGAIN"),
        (WRITE, WRITE, 110, 0, "OK"),
        (WRITE, WRITE, 0, 0, "EAGAIN"),
        (WRITE, UNLOCK, 100, 10, "OK"),
    ],
)
@pytest.mark.parametrize("call", [fcntl.F_SETLK, OFD_SET])
def test_ranges(
    fd: int, call: int, held: int, wanted: int, start: int, length: int, expected: str
) -> None:
    record(fd, held, 100, 10, by=call)  # behind the end of the file is allowed
    assert elsewhere(record, wanted, start, length) == expected
    record(fd, UNLOCK, 0, 0, by=call)
    assert elsewhere(record, WRITE, 0, 0) == "OK"


def test_ranges_split_and_merge(fd: int) -> None:
    record(fd, WRITE, 0, 30)
    record(fd, UNLOCK, 10, 10)
    assert elsewhere(record, WRITE, 10, 10) == "OK"
    assert elsewhere(record, WRITE, 9, 1) == elsewhere(record, WRITE, 20, 1) == "EAGAIN"
    record(fd, READ, 5, 20)
    assert elsewhere(record, READ, 5, 20) == "OK"
    assert elsewhere(record, READ, 4, 1) == elsewhere(record, READ, 25, 1) == "EAGAIN"


def test_who_holds_it(fd: int) -> None:
    record(fd, WRITE, 10, 5)

    def ask() -> list[tuple[int, int, int, int]]:
        with opened("file") as own:
            return [
                record(own, WRITE, 0, 0, by=fcntl.F_GETLK),
                record(own, WRITE, 50, 1, by=fcntl.F_GETLK)[:1],
            ]

    assert in_child(ask) == [(WRITE, 10, 5, os.getpid()), (UNLOCK,)]


def test_a_process_loses_all_by_any_close(fd: int) -> None:
    record(fd, WRITE)
    assert elsewhere(record, READ) == "EAGAIN"
    with opened("file"):
        pass
    assert elsewhere(record, READ) == "OK"


def test_an_open_file_keeps_its_own(fd: int) -> None:
    record(fd, WRITE, by=OFD_SET)
    with opened("file") as other:
        assert err(record, other, READ, by=OFD_SET) == "EAGAIN"
        assert record(other, READ, by=OFD_GET)[3] == -1
    assert elsewhere(record, READ) == "EAGAIN"
    assert in_child(lambda: err(record, fd, WRITE, by=OFD_SET)) == "OK"  # inherited


def test_not_inherited_and_gone_with_the_process(fd: int) -> None:
    record(fd, WRITE)
    assert in_child(lambda: err(record, fd, READ)) == "EAGAIN"
    record(fd, UNLOCK)
    assert in_child(lambda: err(record, fd, WRITE)) == "OK"
    assert err(record, fd, WRITE) == "OK"


def test_deadlocks_are_found(fd: int) -> None:
    record(fd, WRITE, 0, 1)
    ready_read, ready_write = os.pipe()

    def work() -> str:
        with opened("file") as own:
            record(own, WRITE, 1, 1)
            os.write(ready_write, b"r")
            return err(record, own, WRITE, 0, 1, by=fcntl.F_SETLKW)

    child = Child(work)
    os.read(ready_read, 1)
    found = err(record, fd, WRITE, 1, 1, by=fcntl.F_SETLKW)
    record(fd, UNLOCK)
    assert sorted((found, child.result())) == ["EDEADLK", "OK"]
    os.close(ready_read)
    os.close(ready_write)


@pytest.mark.parametrize(
    ("flags", "kind", "expected"),
    [
        (os.O_RDONLY, WRITE, "EBADF"),
        (os.O_WRONLY, READ, "EBADF"),
        (os.O_RDONLY, READ, "OK"),
        (os.O_WRONLY, WRITE, "OK"),
    ],
)
def test_needs_the_right_access(fd: int, flags: int, kind: int, expected: str) -> None:
    assert elsewhere(record, kind, flags=flags) == expected
    with opened("file", flags) as other:
        assert err(fcntl.flock, other, LOCK_EX | LOCK_NB) == "OK"


def test_of_files_without_a_name(fd: int) -> None:
    os.unlink("file")
    with opened(f"/proc/self/fd/{fd}") as other:
        record(fd, WRITE, by=OFD_SET)
        assert err(record, other, WRITE, by=OFD_SET) == "EAGAIN"
        fcntl.flock(fd, LOCK_EX)
        assert err(fcntl.flock, other, LOCK_SH | LOCK_NB) == "EAGAIN"


def test_a_counter_under_a_lock(tree: Tree) -> None:
    create("file", b"0")

    def work(lock: Callable[[int], object]) -> None:
        for _ in range(60):
            with opened("file") as own:
                lock(own)
                os.pwrite(own, b"%d" % (int(os.pread(own, 20, 0)) + 1), 0)

    locks = [
        lambda own: fcntl.flock(own, LOCK_EX),
        lambda own: record(own, WRITE, by=fcntl.F_SETLKW),
    ]
    for lock in locks:
        os.truncate("file", 0)
        with opened("file") as own:
            os.write(own, b"0")
        for child in [Child(lambda lock=lock: work(lock)) for _ in range(4)]:
            child.result()
        with opened("file") as own:
            assert os.read(own, 20) == b"240"
