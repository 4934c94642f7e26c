"""What runs commands is killed: nothing that they started lives on, wherever it went."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounting import ROOT, children, wait_for_end, wait_until

pytestmark = pytest.mark.crash

RUNNER = """
import os, sys
from pathlib import Path
from vfs.pipeline.executor import LocalExecutor, Task
from vfs.run import guard as module
from vfs.run.guard import Guard

module._SEND_SECONDS = 0.2
here, parallelism, *scripts = sys.argv[1:]
with Guard() as guard:
    executor = LocalExecutor(int(parallelism), guard)
    for number, script in enumerate(scripts):
        own = str(Path(here, str(number)))
        executor.submit(Task(
            name=own, command=["sh", "-euc", script], directory=Path(here), log=Path(own + ".log"),
            environment={"PATH": os.environ["PATH"], "OWN": own}, mark="OWN=" + own,
        ))
    while executor.wait():
        pass
"""
POOL = """
import multiprocessing, os, sys, time

def work(file):
    open(file + ".new", "w").write(f"{os.getpid()}")
    os.rename(file + ".new", file)
    time.sleep(1000)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    multiprocessing.Process(target=work, args=(sys.argv[2],)).start()
"""
KEEP = '''sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 1000' "$OWN"'''
"""What writes its number to the file $OWN, and sleeps."""

EXCUSES = {
    "a child": f"{KEEP} & wait",
    "a grandchild whose parent has ended": f"({KEEP} &); exec sleep 1000",
    "a group of its own": f"timeout 1000 {KEEP} & wait",
    "an environment of its own": f"env -i {KEEP} & wait",
}


@contextmanager
def runner(here: Path, *scripts: str, parallelism: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", RUNNER, str(here), str(parallelism), *scripts]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def started(file: Path) -> int:
    """Wait until KEEP runs; return its number."""
    wait_until(file.exists)
    return int(file.read_text())


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def guards(process: subprocess.Popen[bytes]) -> list[int]:
    def is_guard(pid: int) -> bool:
        return b"vfs.run.guard" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")

    return [pid for pid in children(process.pid) if is_guard(pid)]


@pytest.mark.parametrize("excuse", EXCUSES)
def test_what_a_command_started_ends_with_the_runner(excuse: str, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"an odd\n\xffplace")
    odd.mkdir()
    with runner(odd, EXCUSES[excuse]) as process:
        left = started(odd / "0")
        process.kill()
        wait_for_end(left)


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool_end_with_the_runner(how: str, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    with runner(tmp_path, f'{shlex.quote(sys.executable)} pool.py {how} "$OWN"') as process:
        left = started(tmp_path / "0")
        process.kill()
        wait_for_end(left)


def test_who_left_the_session_is_left_alone_and_so_are_others(tmp_path: Path) -> None:
    script = f"setsid {KEEP} & {KEEP}.b & wait"
    with runner(tmp_path, script) as process, subprocess.Popen(["sleep", "1000"]) as other:
        server, left = started(tmp_path / "0"), started(tmp_path / "0.b")
        try:
            (guard,) = guards(process)
            process.kill()
            for pid in (left, guard):
                wait_for_end(pid)
            assert lives(server)
            assert lives(other.pid)
        finally:
            os.kill(server, signal.SIGKILL)
            other.kill()


def test_a_guard_that_was_killed_has_a_successor_that_knows_all(tmp_path: Path) -> None:
    until_told = "while [ ! -e go ]; do sleep 0.01; done"
    with runner(tmp_path, f"{KEEP} & wait", until_told, f"{KEEP} & wait") as process:
        first = started(tmp_path / "0")
        (guard,) = guards(process)
        os.kill(guard, signal.SIGKILL)
        wait_for_end(guard)
        (tmp_path / "go").touch()
        second = started(tmp_path / "2")
        process.kill()
        for pid in (first, second):
            wait_for_end(pid)


def test_a_guard_that_was_stopped_holds_nobody_up(tmp_path: Path) -> None:
    scripts = ["true"] * 2 + ["while [ ! -e go ]; do sleep 0.01; done"] + ["true"] * 150
    with runner(tmp_path, *scripts, f"{KEEP} & wait", parallelism=1) as process:
        wait_until((tmp_path / "2.log").exists)
        wait_until(lambda: guards(process))
        (guard,) = guards(process)
        os.kill(guard, signal.SIGSTOP)
        (tmp_path / "go").touch()
        left = started(tmp_path / "153")
        assert guards(process) != [guard]
        process.kill()
        wait_for_end(left)


def test_no_guard_is_left_of_a_runner_that_ends_in_order(tmp_path: Path) -> None:
    with runner(tmp_path, "while [ ! -e go ]; do sleep 0.01; done") as process:
        wait_until(lambda: guards(process))
        (guard,) = guards(process)
        (tmp_path / "go").touch()
        assert process.wait(timeout=60) == 0
    assert not Path(f"/proc/{guard}").exists()
