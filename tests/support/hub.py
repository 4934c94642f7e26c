"""A real store, a real hub, and a source tree of every kind of entry."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.mounting import (
    children,
    end_daemon,
    lazy_unmount,
    process_name,
)
from vfs.daemon import registry
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.importer.api import ImportResult
from vfs.repo.repository import Repository

COMMAND = [sys.executable, "-m", "vfs"]


@dataclass
class Hub:
    """A store with the data set `data`, and a mount of all its versions (not made yet)."""

    store: Path
    mountpoint: Path

    def import_(self, source: Path, tag: str) -> ImportResult:
        """Import a directory as a version."""
        with Repository.open(self.store) as repo:
            options = ImportOptions(message=tag, author="A Tester", tag=tag)
            return import_source(repo, source, parse_target("data"), options)

    def vfs(self, *args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the store."""
        command = [*COMMAND, "--store", str(self.store), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, (command[4:], done.stderr)
        return done

    def mount(self, *args: object) -> None:
        """Mount; *args* come before the mount point."""
        self.vfs("mount", *args, self.mountpoint)

    def unmount(self) -> None:
        """Unmount, and wait for the daemon's end."""
        self.vfs("umount", self.mountpoint)

    def __getitem__(self, version: str) -> Path:
        return self.mountpoint / f"data@{version}"

    @property
    def pid(self) -> int:
        record = registry.find(self.store, str(self.mountpoint))
        assert record is not None
        return record.pid

    def workers(self) -> list[int]:
        """Return the workers that serve now."""
        return [pid for pid in children(self.pid) if process_name(pid) == "vfs-worker"]

    @property
    def log(self) -> str:
        """Return what the daemon has logged."""
        return "".join(path.read_text() for path in (self.store / "log").glob("*.log"))


@contextmanager
def a_hub(directory: Path) -> Iterator[Hub]:
    """An empty data set and a mount point; nothing is left of a mount at the end."""
    hub = Hub(directory / "store", directory / "mnt")
    hub.mountpoint.mkdir()
    with Repository.create(hub.store) as repo:
        repo.create_data_set("data")
    with ExitStack() as undo:
        undo.callback(end_daemon, hub.store, hub.mountpoint)
        undo.callback(lazy_unmount, hub.mountpoint)
        yield hub


@contextmanager
def a_hub_of_two(directory: Path) -> Iterator[Hub]:
    """A hub with the versions v1 and v2, in whose `file` their names stand."""
    with a_hub(directory) as hub:
        source = directory / "source"
        source.mkdir()
        for name in ("v1", "v2"):
            (source / "file").write_text(name)
            hub.import_(source, name)
        yield hub


def make_odd_tree(root: Path) -> Path:
    """Make a directory with every kind of entry and attribute that a user may make; return it."""
    (root / "a/b/c").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a/file").write_bytes(b"hi\n")
    (root / "a/b/hard").hardlink_to(root / "a/file")
    (root / "other").write_bytes(b"hi\n")
    (root / "a/b/symlink").symlink_to("../file")
    (root / "dangling").symlink_to("/nowhere/" + "x" * 900)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # a socket's path has 107 bytes at most
        listener.bind("socket")
        os.chdir(here)
    (root / os.fsdecode(b"bad\xff\xfename")).write_bytes(b"x")
    (root / "new\nline").write_bytes(b"n")
    (root / ("n" * 255)).write_bytes(b"long name")
    with (root / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(3 << 20)
        file.write(b"middle")
        file.truncate(20 << 20)
    (root / "nothing").touch()
    (root / "large").write_bytes(bytes(range(256)) * 12_000)
    os.setxattr(root / "large", "user.note", b"a value")
    os.setxattr(root / "large", "user.empty", b"")
    os.utime(root / "a/file", ns=(1, 1_234_567_890_123_456_789))
    os.utime(root / "empty", ns=(0, 987_654_321_098_765_432))
    (root / "a/file").chmod(0o4755)
    (root / "empty").chmod(0o2775)
    if os.getuid() == 0:
        os.mknod(root / "device", 0o020600, os.makedev(1, 3))
        os.chown(root / "large", 1234, 4321)
    return root
