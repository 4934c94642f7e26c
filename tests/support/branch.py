"""A store with one data set, and its branch mounted alone: to write to, to kill, to mount again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.mounting import end_daemon, lazy_unmount, wait_for_end
from vfs.daemon import registry

COMMAND = [sys.executable, "-m", "vfs"]


@dataclass
class Branch:
    """The branch `data@main` of a store, mounted or not."""

    store: Path
    mountpoint: Path

    def vfs(self, *args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the store."""
        command = [*COMMAND, "--store", str(self.store), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or not check, (command[4:], done.stderr)
        return done

    def mount(self, *args: object) -> None:
        self.vfs("mount", "data@main", self.mountpoint, "--allow-other", *args)

    def unmount(self) -> None:
        """Unmount, and wait for the daemon's end."""
        pid = self.pid
        self.vfs("umount", self.mountpoint)
        wait_for_end(pid)

    def commit(self, message: str) -> None:
        self.vfs("commit", "data@main", "-m", message, "--author", "A Tester", "--allow-empty")

    @property
    def pid(self) -> int:
        record = registry.find(self.store, str(self.mountpoint))
        assert record is not None
        return record.pid

    def kill(self) -> None:
        """End every process that serves the branch at once, and take the dead mount away."""
        pids = serving(self.pid)
        for pid in pids:  # parents first: nobody brings a child back
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_for_end(pid)
        lazy_unmount(self.mountpoint)


def serving(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [pid, *(below for child in text.split() for below in serving(int(child)))]


@contextmanager
def a_branch(directory: Path, source: Path | None = None) -> Iterator[Branch]:
    """A new store, whose `data@main` is *source*; nothing is left of a mount at the end."""
    branch = Branch(directory / "store", directory / "mnt")
    branch.mountpoint.mkdir()
    if source is None:
        source = directory / "nothing"
        source.mkdir()
    branch.vfs("init")
    branch.vfs("import", "--create", source, "data", "-m", "first", "--author", "A Tester")
    with ExitStack() as undo:
        undo.callback(end_daemon, branch.store, branch.mountpoint)
        undo.callback(lazy_unmount, branch.mountpoint)
        yield branch
