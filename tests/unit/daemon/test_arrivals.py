"""Waiting for a branch that is about to be mounted, and for no other."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from vfs.daemon import arrivals, owners, private
from vfs.daemon.arrivals import Arrivals
from vfs.mountinfo import Mount

HUB = Path("/mnt")
ELSE = os.getpid() + 1  # another process than the owner in these tests


class Kernel:
    """What is mounted, from the nth time on that somebody looks."""

    def __init__(self) -> None:
        self.mounted_at = 10**9
        self.looks = 0

    def mounts(self) -> list[Mount]:
        self.looks += 1
        there = Mount(1, "/mnt/data@exp", "0:1", "fuse.vfs", "/store")
        return [there] if self.looks >= self.mounted_at else []


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(arrivals.mountinfo, "mounts", made.mounts)
    monkeypatch.setattr(arrivals, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(arrivals, "_PAUSE_SECONDS", 0.001)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_mounted(kernel: Kernel, store: Path) -> None:
    kernel.mounted_at = 1
    assert Arrivals(store, HUB, workers=1)("data", "exp", ELSE)
    assert not Arrivals(store, HUB, workers=1)("data", "other", ELSE)


def test_waited_for(kernel: Kernel, store: Path) -> None:
    kernel.mounted_at = 5
    assert Arrivals(store, HUB, workers=2)("data", "exp", ELSE)
    assert kernel.looks == 5


def test_the_process_that_mounts_is_not_kept(kernel: Kernel, store: Path) -> None:
    kernel.mounted_at = 5
    known = Arrivals(store, HUB, workers=2)
    with owners.owned(store, "data", "exp", "/mnt/data@exp"):
        assert not known("data", "exp", os.getpid())
        child = os.fork()  # as fusermount3 is one
        if child == 0:
            os._exit(known("data", "exp", os.getpid()))
        assert os.waitpid(child, 0)[1] == 0
        assert known("data", "exp", ELSE)


def test_mounted_elsewhere(kernel: Kernel, store: Path) -> None:
    with owners.owned(store, "data", "exp", "/srv"):
        assert not Arrivals(store, HUB, workers=2)("data", "exp", ELSE)
    assert kernel.looks == 1


def test_an_owner_that_has_not_said_who_it_is(kernel: Kernel, store: Path) -> None:
    kernel.mounted_at = 5
    with owners.owned(store, "data", "exp", "/srv"):
        (store / "run/branch-data@exp.lock").write_bytes(b"")
        assert Arrivals(store, HUB, workers=2)("data", "exp", ELSE)


def test_one_that_does_not_come_is_not_waited_for_again(kernel: Kernel, store: Path) -> None:
    known = Arrivals(store, HUB, workers=2)
    assert not known("data", "exp", ELSE)
    looks = kernel.looks
    assert not known("data", "exp", ELSE)
    assert kernel.looks == looks + 1
    kernel.mounted_at = 0
    assert known("data", "exp", ELSE)


def test_one_worker_alone_never_waits(kernel: Kernel, store: Path) -> None:
    assert not Arrivals(store, HUB, workers=1)("data", "exp", ELSE)
    assert kernel.looks == 1


def test_one_worker_waits_at_a_time(kernel: Kernel, store: Path) -> None:
    with private.opened(store / "run") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        began = time.monotonic()
        assert not Arrivals(store, HUB, workers=2)("data", "exp", ELSE)
        assert time.monotonic() - began < 0.1
