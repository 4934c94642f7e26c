"""Files for the page cache, with a pipe in the place of the device."""

from __future__ import annotations

import errno
import os
import struct
import threading

import pytest

from vfs.fuse.pushing import Pusher

STORE_OUT = struct.Struct("=IiQQQII")  # fuse_out_header, fuse_notify_store_out


def test_what_is_said_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bytes] = []
    monkeypatch.setattr(os, "writev", lambda fd, parts: said.append(b"".join(parts)))
    Pusher(-1).push([(5, b"five"), (2**62 - 1, bytes(5000))])
    assert [STORE_OUT.unpack(one[:40]) for one in said] == [
        (44, 4, 0, 5, 0, 4, 0),
        (5040, 4, 0, 2**62 - 1, 0, 5000, 0),
    ]
    assert [one[40:] for one in said] == [b"five", bytes(5000)]


def test_where_the_kernel_knows_no_such_file_no_more_are_put(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def writev(fd: int, parts: tuple[bytes, bytes]) -> None:
        asked.append(STORE_OUT.unpack(parts[0])[3])
        if asked[-1] == 2:
            raise OSError(errno.ENOENT, "unknown")

    monkeypatch.setattr(os, "writev", writev)
    pusher = Pusher(-1)
    pusher.push([(1, b"a"), (2, b"b"), (3, b"c")])
    pusher.push([(4, b"d")])
    assert asked == [1, 2, 4]


def test_nobody_waits_for_a_page_that_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers requests has to go on: one of them may be for that page."""
    asked: list[int] = []
    unlocked, locked = threading.Event(), threading.Event()

    def writev(fd: int, parts: tuple[bytes, bytes]) -> None:
        asked.append(STORE_OUT.unpack(parts[0])[3])
        if asked == [1]:
            locked.set()
            assert unlocked.wait(10)

    monkeypatch.setattr(os, "writev", writev)
    pusher = Pusher(-1)
    pusher.push([(1, b"a")])
    assert locked.wait(10)
    pusher.push([(2, b"b")])  # left out: there is somebody to wait for
    assert asked == [1]
    unlocked.set()
    while 3 not in asked:
        pusher.push([(3, b"c")])
    assert 2 not in asked


def test_what_the_kernel_refuses_for_good_is_told_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def writev(fd: int, parts: tuple[bytes, bytes]) -> None:
        asked.append(STORE_OUT.unpack(parts[0])[3])
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "writev", writev)
    pusher = Pusher(-1)
    pusher.push([(1, b"a")])
    assert pusher._thread is not None
    pusher._thread.join(10)
    assert not pusher._thread.is_alive()
    pusher.push([(2, b"b")])
    assert asked == [1]
    (record,) = caplog.records
    assert record.message == "no more files are put into the page cache"
