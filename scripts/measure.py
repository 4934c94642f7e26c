"""What the benches share: timing, cold caches, memory of process trees, mounts that always end."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

KIB = 1024
MIB = 1024 * KIB
MOUNT_SECONDS = 60
UNMOUNT_SECONDS = 20
WATCH_SECONDS = 0.02
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def can_drop_caches() -> bool:
    """Say whether cold can be measured; it takes root."""
    return os.access(DROP_CACHES, os.W_OK)


def drop_caches() -> None:
    """Empty the kernel's caches of pages, names and inodes, but for the programs that measure."""
    os.sync()
    DROP_CACHES.write_text("3\n")
    for program in ("cat", "dd", "diff", "du", "find", "xargs"):
        subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=True)


def settle(view: Path) -> None:
    """Have all that was written there, and to the file system below, reach the disk."""
    fd = os.open(view, os.O_RDONLY | os.O_DIRECTORY)
    try:
        subprocess.run(["sync", "-f", view], check=True)
        os.fsync(fd)
    finally:
        os.close(fd)


def timed(command: Sequence[str | Path], cwd: Path) -> float:
    """Run *command* and return its seconds; what it prints goes nowhere."""
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def captured(command: Sequence[str | Path]) -> tuple[float, str]:
    """Run *command* and return its seconds and what it printed, whatever its exit code."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return time.perf_counter() - start, done.stdout


def clock(action: Callable[[], object]) -> float:
    """Return how many seconds *action* takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def disk_bytes(path: Path) -> int:
    """Bytes that *path* and all below it take on the disk."""
    listing = subprocess.run(
        ["du", "-s", "--block-size=1", path], capture_output=True, text=True, check=True
    )
    return int(listing.stdout.split()[0])


def process_tree(pid: int) -> list[int]:
    """Return *pid* and all processes below it."""
    found = [pid]
    for process in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def rss_anon(pid: int) -> int:
    """Anonymous memory of one process in bytes; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * KIB
    return 0


def largest_rss_anon(pid: int) -> int:
    """Anonymous memory of the largest process of a tree."""
    return max(rss_anon(process) for process in process_tree(pid))


@dataclass
class Peak:
    """The most that was seen of something."""

    bytes: int = 0


@contextlib.contextmanager
def watching(figure: Callable[[], int]) -> Iterator[Peak]:
    """Look at *figure* every now and then until the end; yield its peak so far."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_SECONDS):
            peak.bytes = max(peak.bytes, figure())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak.bytes = max(peak.bytes, figure())


def run_watched(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None
) -> tuple[float, int]:
    """Run a command; return its seconds and the peak of its processes' anonymous memory."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        with watching(lambda: sum(map(rss_anon, process_tree(process.pid)))) as peak:
            _, errors = process.communicate()
        seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed: {errors.decode(errors='replace').strip()}")
    return seconds, peak.bytes


def of_children() -> int:
    """Return the anonymous memory of the largest process that this one waits for, in bytes."""
    return max(map(rss_anon, process_tree(os.getpid())[1:]), default=0)


@contextlib.contextmanager
def mounted(
    command: Sequence[str | Path], mountpoint: Path, env: Mapping[str, str] | None
) -> Iterator[int]:
    """Run *command*, which mounts and stays in the foreground; yield its pid; unmount."""
    mountpoint.mkdir(exist_ok=True)
    log = mountpoint.with_name(mountpoint.name + ".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(mountpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not mount: {log.read_text(errors='replace')}")
            time.sleep(0.01)
        yield process.pid
    finally:
        done = subprocess.run(["fusermount3", "-u", mountpoint], capture_output=True, check=False)
        if done.returncode != 0:
            subprocess.run(
                ["fusermount3", "-u", "-z", mountpoint], capture_output=True, check=False
            )
            process.terminate()
        try:
            process.wait(UNMOUNT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """Yield a new directory that is gone afterwards, also after SIGTERM."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    path = Path(tempfile.mkdtemp(prefix="vfs-bench.", dir=parent.resolve()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def load() -> float:
    """Return how many processes wanted to run, on average over the last minute."""
    return round(os.getloadavg()[0], 1)


def processor() -> str:
    """Return what the processor says it is."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def machine() -> dict[str, str | int | float]:
    """Describe where a figure was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "load": load(),
        "processor": processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory / 1024**3),
    }
