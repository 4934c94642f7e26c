"""What ends a process that reads a store is one line and exit code 1, in whatever thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.stores import ROOT

DIE = """
import ctypes, mmap, sys, tempfile, threading
from pathlib import Path
from vfs.store.guard import guarded

def abort():
    ctypes.CDLL(None).abort()

def wrong_address():
    ctypes.string_at(8)

def lost_page():
    with tempfile.TemporaryFile() as file:
        file.truncate(8192)
        data = mmap.mmap(file.fileno(), 8192)
        file.truncate(0)
        data[5000]

die, place, debug = globals()[sys.argv[1]], sys.argv[2], sys.argv[3] == "debug"
if place == "outside":
    with guarded(Path("/a store")):
        pass
    die()
with guarded(Path("/a store"), debug=debug):
    if place == "thread":
        threading.Thread(target=die).start()
        while True:
            sum(range(100))
    die()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DIE, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("place", ["main", "thread"])
@pytest.mark.parametrize("how", ["abort", "wrong_address", "lost_page"])
def test_a_line_and_an_exit_code(how: str, place: str) -> None:
    ended = run(how, place, "")
    assert ended.returncode == 1
    assert ended.stderr.startswith("vfs: the store /a store can't be read")
    assert ended.stderr.count("\n") == 2


def test_debug_says_the_signal() -> None:
    ended = run("abort", "main", "debug")
    assert ended.returncode == 1
    assert "signal 6" in ended.stderr
    assert "in die" in ended.stderr or "in abort" in ended.stderr


def test_afterwards_all_is_as_before() -> None:
    assert run("abort", "outside", "").returncode == -6
