"""Readers of a remote that hangs: who is killed ends, who is not waits, and others are answered.

What takes longer than a third of the time that a reader waits for a remote fails here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounting import wait_until
from tests.support.remote_mounts import (
    Mount,
    assert_same,
    hanging,
    is_fetching,
    mounts,
    pushed_source,
)

pytestmark = pytest.mark.mounted

NAMES = [f"{number:04}{'x' * 200}" for number in range(6000)]  # nodes of several segments
SECONDS = 20
DD_ENDS_BY = (signal.SIGTERM, signal.SIGKILL)
WORKERS = 8

CATCHING = """
import json, os, signal, sys
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
print("ready", flush=True)
names = os.listdir(sys.argv[1])
print(json.dumps([len(names), bool(caught)]))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "many").mkdir(parents=True)
    for name in NAMES:
        (source / "many" / name).touch()
    return pushed_source(tmp_path, f"file://{tmp_path}/remote")


@pytest.fixture
def mount(source: Path, tmp_path: Path) -> Iterator[Mount]:
    where = f"file://{tmp_path}/remote"
    with mounts(tmp_path, where, program="tests.support.one_by_one") as new:
        yield new


@pytest.fixture(params=["version", "hub", "branch"])
def shown(request: pytest.FixtureRequest, mount: Mount) -> Path:
    """A mount of which the top directory was looked at."""
    match request.param:
        case "version":
            shown = mount("data@v1")
        case "hub":
            shown = mount() / "data@v1"
        case _:
            shown = mount("data@main")
    os.listdir(shown)
    return shown


def test_who_is_killed_ends_and_who_catches_a_signal_waits(
    shown: Path, source: Path, tmp_path: Path
) -> None:
    commands = [
        ["ls", shown / "many"],
        ["stat", shown / "many" / NAMES[3000]],
        ["find", shown / "many", "-name", "none"],
        ["cat", shown / "large"],
    ]
    direct = ["dd", f"if={shown}/large", "bs=4k", "skip=900", "count=1", "iflag=direct"]
    commands.append(direct)
    with hanging(tmp_path / "remote"):
        catching = subprocess.Popen(
            [sys.executable, "-c", CATCHING, shown / "many"], stdout=subprocess.PIPE, text=True
        )
        assert catching.stdout is not None
        assert catching.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
            killed = [_begun(one) for one in commands if one is not direct or number in DD_ENDS_BY]
            wait_until(lambda: all(map(_waits, (*killed, catching))))  # noqa: B023 - called here
            wait_until(lambda: is_fetching(tmp_path / "cache"))
            catching.send_signal(signal.SIGUSR1)
            for one in killed:
                one.send_signal(number)
            assert [one.wait(SECONDS) for one in killed] == [-number] * len(killed)
        assert os.statvfs(shown).f_bsize
        assert catching.poll() is None
    assert json.loads(catching.communicate(timeout=60)[0]) == [len(NAMES), True]
    assert_same(source, shown)


def test_many_that_wait_keep_nobody_else_waiting(shown: Path, source: Path, tmp_path: Path) -> None:
    missing = NAMES[1000 : 1000 + 3 * WORKERS]
    with hanging(tmp_path / "remote"):
        waiting = [_begun(["stat", shown / "many" / name]) for name in missing]
        wait_until(lambda: all(map(_waits, waiting)))
        for _ in range(2 * WORKERS):
            listed = ["getfattr", "--absolute-names", "-d", shown]
            subprocess.run(listed, timeout=SECONDS, check=True)
        assert all(one.poll() is None for one in waiting)
        for one in waiting:
            one.kill()
            one.wait(SECONDS)
    assert_same(source, shown)


def _begun(command: list[str | Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _waits(process: subprocess.Popen[Any]) -> bool:
    """Say whether a process is in a call that does not return."""
    assert isinstance(process.args, list)
    directory = Path(f"/proc/{process.pid}")
    name = Path(os.fspath(process.args[0])).name
    return (directory / "comm").read_text() == f"{name}\n" and (
        (directory / "syscall").read_text().split()[0].isdecimal()
    )
