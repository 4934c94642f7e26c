"""What a worker of another machine has: a directory of its own, and mounts of a remote's versions.

A version is mounted when a datum wants it, by a process of its own, and stays for the next datum.
These processes, and with them the mounts, end with the worker, however that ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from vfs.daemon import lockfile, mounts
from vfs.daemon.linux import die_with
from vfs.errors import MountProblem

MOUNT_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.2
_END_SECONDS: Final = 10.0
_PREFIX: Final = "vfs-worker-"

_STARTER: Final = ThreadPoolExecutor(1, thread_name_prefix="vfs-mounts")
"""A process gets the signal for the end of its parent when the thread ends that forked it. This one
lives as long as the worker; those that run tasks may not."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a remote."""

    url: str
    endpoint: str | None
    key_file: str | None  # a path on the worker; a passphrase comes in its VFS_PASSPHRASE
    data_set: str
    commit: str  # in hex


@dataclass(slots=True)
class _Mounted:
    place: Path
    process: subprocess.Popen[bytes]
    users: int = 0


class WorkerPlace:
    """The directory of this process, and its mounts. Thread-safe."""

    def __init__(self) -> None:
        _clear_killed()
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        lockfile.lock(self._fd)
        self._lock = threading.Lock()
        self._mounted: dict[Version, _Mounted] = {}

    @contextmanager
    def shown(self, versions: Mapping[str, Version]) -> Iterator[Mapping[str, Path]]:
        """Have versions mounted meanwhile; give their places by the same names.

        Raises MountProblem.
        """
        with ExitStack() as undo:
            yield {name: undo.enter_context(self._used(one)) for name, one in versions.items()}

    @contextmanager
    def _used(self, version: Version) -> Iterator[Path]:
        with self._lock:
            mounted = self._mounted.get(version)
            if mounted is None or mounted.process.poll() is not None:
                self._end_unused()
                mounted = self._mounted[version] = _mount(version, self.directory)
            mounted.users += 1
        try:
            yield mounted.place
        finally:
            with self._lock:
                mounted.users -= 1

    def _end_unused(self) -> None:
        """End the mounts of earlier jobs."""
        for version, mounted in list(self._mounted.items()):
            if not mounted.users:
                del self._mounted[version]
                _end(mounted)

    def close(self) -> None:
        """End all mounts, and remove the directory."""
        with self._lock:
            for mounted in self._mounted.values():
                _end(mounted)
            self._mounted.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._fd)


def _mount(version: Version, directory: Path) -> _Mounted:
    """Mount a version, and wait until it answers. Raises MountProblem."""
    place = Path(tempfile.mkdtemp(prefix="in-", dir=directory))
    log = directory / f"{place.name}.log"
    command = [sys.executable, "-m", "vfs", "mount", "--foreground", "--remote", version.url]
    command += ["--endpoint", version.endpoint] if version.endpoint else []
    command += ["--key-file", version.key_file] if version.key_file else []
    command += [f"{version.data_set}@{version.commit}", str(place)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, log.open("wb") as said:
        told.bind(b"")  # the kernel chooses a name that nobody has
        told.settimeout(_LOOK_SECONDS)
        environment = {**os.environ, "NOTIFY_SOCKET": "@" + told.getsockname()[1:].decode()}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                preexec_fn=partial(die_with, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
            )

        mounted = _Mounted(place, _STARTER.submit(start).result())
        deadline = time.monotonic() + MOUNT_SECONDS
        while mounted.process.poll() is None and time.monotonic() < deadline:
            try:
                told.recv(64)
            except TimeoutError:
                continue
            return mounted
    _end(mounted)
    said_first = log.read_text(errors="replace").strip().partition("\n")[0]
    why = said_first.removeprefix("vfs: ") or "it takes too long"
    raise MountProblem(f"{version.url} can't be mounted on {socket.gethostname()}: {why}")


def _end(mounted: _Mounted) -> None:
    """End a mount, in use or not; its process takes it away."""
    mounted.process.terminate()
    try:
        mounted.process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        mounted.process.kill()
        mounted.process.wait()


def _clear_killed() -> None:
    """Remove what workers left that were killed; their mounts have ended by themselves."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            fd = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # another user's, or gone
            continue
        try:
            is_ours = os.fstat(fd).st_uid == os.geteuid()
            if is_ours and lockfile.lock(fd) and not any(mounts.inside(left)):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(fd)
