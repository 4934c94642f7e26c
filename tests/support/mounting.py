"""Mounts for tests that end cleanly or fail the test; nothing is left behind either way."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfs.daemon import mounts, registry

ROOT = Path(__file__).parents[2]
SERVE = [sys.executable, "-m", "tests.support.serve_memory"]


@dataclass
class MemoryMount:
    """A `MemoryView` to be mounted by `start`: see tests/support/serve_memory.py."""

    mountpoint: Path
    store: Path

    @classmethod
    def make(cls, directory: Path) -> MemoryMount:
        made = cls(directory / "mnt", directory / "store")
        made.mountpoint.mkdir()
        (made.store / "control").mkdir(parents=True)
        for fifo in ("arrived", "go"):
            os.mkfifo(made.store / "control" / fifo)
        return made

    def command(self, **wanted: Any) -> list[str]:
        spec = {"store": str(self.store), "mountpoint": str(self.mountpoint), **wanted}
        return [*SERVE, json.dumps(spec)]

    def mount(self, **wanted: Any) -> subprocess.CompletedProcess[str]:
        """Mount in the background: done once the mount answers."""
        return run(self.command(**wanted), check=False)

    def mount_in_foreground(self, **wanted: Any) -> subprocess.Popen[str]:
        """Start a daemon in the foreground and wait until it says that it serves."""
        daemon = subprocess.Popen(
            self.command(foreground=True, **wanted), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert daemon.stderr is not None
        for line in daemon.stderr:
            if line.rstrip().endswith("answers"):
                return daemon
        raise AssertionError("it ended")

    @property
    def record(self) -> registry.Record | None:
        return registry.find(self.store, str(self.mountpoint))

    @property
    def pid(self) -> int:
        record = self.record
        assert record is not None
        return record.pid

    def workers(self) -> list[int]:
        return [pid for pid in children(self.pid) if process_name(pid) == "vfs-worker"]

    @property
    def is_mounted(self) -> bool:
        return mounts.mount_at(self.mountpoint) is not None

    @property
    def log(self) -> str:
        return next((self.store / "log").glob("*.log")).read_text()

    def arrival(self) -> int:
        """Wait until a worker reads the file `gate`; return the worker."""
        return int((self.store / "control" / "arrived").read_text())

    def let_go(self) -> None:
        """Let it go on."""
        (self.store / "control" / "go").write_text("gone through")


@contextmanager
def memory_mount(directory: Path) -> Iterator[MemoryMount]:
    """A mount to be; whatever is there at the end is taken away, and processes are ended."""
    made = MemoryMount.make(directory)
    with ExitStack() as undo:
        undo.callback(end_daemon, made.store, made.mountpoint)
        undo.callback(lazy_unmount, made.mountpoint)
        yield made


def lazy_unmount(mountpoint: Path) -> None:
    while mounts.mount_at(mountpoint) is not None:
        mounts.detach(str(mountpoint), lazy=True)


def run(command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=check, timeout=60
    )


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what nobody signals, such as another process having been forked."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        select.select([], [], [], 0.01)


def end_daemon(store: Path, mountpoint: Path) -> None:
    """End the daemon of a mount, if there is one, in order; wait until it is gone."""
    record = registry.find(store, str(mountpoint))
    if record is not None:
        os.kill(record.pid, signal.SIGTERM)
        wait_for_end(record.pid)
    wait_until(lambda: registry.find(store, str(mountpoint)) is None)


def wait_for_end(pid: int, seconds: float = 20) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], seconds)[0], f"process {pid} has not ended"
    finally:
        os.close(fd)


def children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in listed.split()]


def process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
