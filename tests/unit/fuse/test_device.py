"""The loop of a worker, with a socket in the place of the device."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fuse_structs as kernel
from tests.support.memory_view import FILES, SPECIALS, MemoryView, file_bytes
from vfs.fuse import device, wire
from vfs.fuse.answers import Answers


class Kernel:
    """The other end: asks, and reads what is answered."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._asked = 2

    def tell(self, code: int, node: int, body: bytes = b"") -> None:
        self._asked += 2
        header = kernel.InHeader(len=40 + len(body), opcode=code, unique=self._asked, nodeid=node)
        self._end.send(bytes(header) + body)

    def ask(self, code: int, node: int, body: bytes = b"") -> tuple[int, bytes]:
        """Return the errno and the data of the answer."""
        self.tell(code, node, body)
        got = self._end.recv(1 << 20)
        head = kernel.OutHeader.from_buffer_copy(got)
        assert (head.len, head.unique) == (len(got), self._asked)
        return -head.error, got[16:]


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # What a socket calls its end; the device says ENODEV.
    real = os.readv

    def readv(fd: int, buffers: tuple[bytearray]) -> int:
        length = real(fd, buffers)
        if not length:
            raise OSError(errno.ENODEV, "unmounted")
        return length

    monkeypatch.setattr(os, "readv", readv)
    answers = Answers(MemoryView(tmp_path), opens=False)
    with ours, theirs:
        ours.settimeout(10)
        worker = threading.Thread(target=device.serve, args=(theirs.fileno(), answers, bool))
        worker.start()
        yield Kernel(ours)
        ours.shutdown(socket.SHUT_RDWR)
        worker.join(10)
        assert not worker.is_alive()


def reading(size: int) -> bytes:
    return bytes(kernel.ReadIn(size=size))


def test_requests_are_answered_one_after_the_other(asking: Kernel) -> None:
    for number in range(5):
        data = file_bytes(0, number)
        assert asking.ask(wire.READ, FILES + number, reading(1 << 17)) == (0, data)


@pytest.mark.parametrize("count", [0, 1, 2, 1022, 1023, 1024, 5000])
def test_an_answer_may_come_in_any_number_of_pieces(
    asking: Kernel, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    pieces = [b"%d," % number for number in range(count)]
    monkeypatch.setattr(MemoryView, "read", lambda *_: pieces)
    assert asking.ask(wire.READ, FILES, reading(1 << 17)) == (0, b"".join(pieces))


@pytest.mark.parametrize("code", [14, 20, 25, 30, 39, 46, 4711])
def test_what_is_not_known_is_not_asked_again(asking: Kernel, code: int) -> None:
    """open, fsync, flush, fsyncdir, ioctl, lseek, and what a kernel to come may ask."""
    assert asking.ask(code, FILES, bytes(16)) == (errno.ENOSYS, b"")


def test_what_goes_wrong_is_said_and_the_next_request_is_answered(asking: Kernel) -> None:
    assert asking.ask(wire.LOOKUP, FILES, b"x" * 300 + b"\0") == (errno.ENAMETOOLONG, b"")
    assert asking.ask(wire.READ, SPECIALS[b"broken"], reading(9)) == (errno.EIO, b"")
    assert asking.ask(wire.READ, SPECIALS[b"bug"], reading(9)) == (errno.EIO, b"")
    assert asking.ask(wire.MKDIR, FILES, bytes(8) + b"name\0") == (errno.EROFS, b"")
    assert asking.ask(wire.READ, FILES, reading(5)) == (0, file_bytes(0, 0)[:5])


@pytest.mark.parametrize("body", [b"", b"\1", bytes(7), b"no end"])
@pytest.mark.parametrize(
    "code", [wire.READ, wire.READDIR, wire.READDIRPLUS, wire.GETXATTR, wire.LISTXATTR, wire.MKDIR]
)
def test_a_request_that_is_too_short_is_an_error(asking: Kernel, code: int, body: bytes) -> None:
    error, _ = asking.ask(code, FILES, body)
    assert error == errno.EIO
    assert asking.ask(wire.READ, FILES, reading(5)) == (0, file_bytes(0, 0)[:5])


def test_nothing_is_said_where_nobody_waits(asking: Kernel) -> None:
    for code in (wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT):
        asking.tell(code, FILES, bytes(16))
    assert asking.ask(wire.READ, FILES, reading(5)) == (0, file_bytes(0, 0)[:5])
