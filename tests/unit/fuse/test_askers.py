"""Whether who asks still waits, of processes in the states that can be had without a mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from vfs.fuse import askers
from vfs.fuse.askers import is_waiting, opened_by, unknown

Start = Callable[[str], int]

SLEEPS = "import signal; print(1, flush=True); signal.pause()"
CATCHES = "import signal; signal.signal(signal.SIGQUIT, lambda *_: 1); " + SLEEPS
BLOCKS = "import signal; signal.pthread_sigmask(0, [signal.SIGQUIT]); " + SLEEPS
IGNORES = "import signal; signal.signal(signal.SIGQUIT, signal.SIG_IGN); " + SLEEPS


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> int:
        one = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        begun.append(one)
        assert one.stdout is not None
        one.stdout.readline()
        return one.pid

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def stopped(pid: int) -> None:
    """Have a process keep what is sent to it."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


def test_who_is_not_known_waits() -> None:
    assert is_waiting(0)
    assert opened_by(0)()
    assert unknown(1)


def test_each_thread_waits() -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(is_waiting(threading.get_native_id())))
    thread.start()
    thread.join()
    assert seen == [True]
    assert is_waiting(os.getpid())


def test_who_is_gone_does_not_wait(start: Start) -> None:
    pid = start(SLEEPS)
    opener = opened_by(pid)
    assert is_waiting(pid)
    assert opener()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # nobody has waited for it yet
    assert not is_waiting(pid)
    assert not opener()
    os.waitpid(pid, 0)
    assert not is_waiting(pid)
    assert not opener()
    assert opened_by(pid)()  # who else has it from there may wait


def test_a_thread_that_opened_a_file_and_ended_leaves_it_to_its_process() -> None:
    opener: list[Callable[[], bool]] = []
    thread = threading.Thread(target=lambda: opener.append(opened_by(threading.get_native_id())))
    thread.start()
    thread.join()
    assert opener[0]()


@pytest.mark.parametrize("program", [CATCHES, BLOCKS, IGNORES])
def test_a_signal_that_ends_nothing_ends_no_wait(start: Start, program: str) -> None:
    pid = start(program)
    stopped(pid)
    os.kill(pid, signal.SIGQUIT)
    os.kill(pid, signal.SIGWINCH)
    assert is_waiting(pid)


def test_who_is_about_to_be_ended_does_not_wait(start: Start) -> None:
    pid = start(SLEEPS)
    stopped(pid)
    assert is_waiting(pid)
    os.kill(pid, signal.SIGQUIT)
    assert not is_waiting(pid)


def test_where_proc_can_not_be_read_all_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = start(SLEEPS)
    monkeypatch.setattr(askers, "_status", lambda _: {})
    assert is_waiting(pid)  # it may be hidden
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not is_waiting(pid)
    monkeypatch.setattr(os, "readlink", lambda _: "1")  # of another namespace
    assert is_waiting(pid)
