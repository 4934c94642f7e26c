"""Who serves a branch: one process at most, found by its lock and its socket in `<store>/run`.

The lock is the kernel's and falls when the process ends, however it ends. It stands in the store
and nowhere else, so that all who share a store see the same one.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vfs.daemon import lockfile, mounts, private, sockets
from vfs.daemon.registry import RUN_DIR
from vfs.errors import MountProblem

ENDING_SECONDS: Final = 30.0
"""As long is waited for an owner that is not mounted any more, and stores what was written."""

_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that serves a branch; for a moment at its start it is not known."""

    pid: int
    mountpoint: str

    @property
    def is_known(self) -> bool:
        """Say whether it has told who it is by now."""
        return self.pid > 0


@contextmanager
def owned(store: Path, data_set: str, branch: str, mountpoint: str) -> Iterator[socket.socket]:
    """Own a branch for this process; give the socket at which it is to take requests.

    Raises MountProblem while another process owns it.
    """
    with ExitStack() as undo:
        try:
            directory = undo.enter_context(private.opened(store / RUN_DIR, make=True))
            fd = _acquire(directory, data_set, branch)
            undo.callback(os.close, fd)
            undo.callback(lockfile.unlink, directory, _lock_name(data_set, branch))
            with suppress(OSError):  # a full disk: nobody learns who it is, but the lock holds
                lockfile.write(fd, asdict(Owner(os.getpid(), mountpoint)))
            name = socket_name(data_set, branch)
            listener = undo.enter_context(sockets.listening(store, name))
        except OSError as exc:
            raise MountProblem(
                f"can't write {store / RUN_DIR}: {exc.strerror}",
                hint="a branch is written to; to see what was committed, use --read-only",
            ) from exc
        yield listener


def find(store: Path, data_set: str, branch: str) -> Owner | None:
    """Return who serves a branch, or None."""
    with suppress(OSError), private.opened(store / RUN_DIR) as directory:
        fd = lockfile.look(directory, _lock_name(data_set, branch))
        try:
            return None if lockfile.lock(fd) else _owner(lockfile.read(fd))
        finally:
            os.close(fd)
    return None


def _acquire(directory: int, data_set: str, branch: str) -> int:
    name = _lock_name(data_set, branch)
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        fd, facts = lockfile.hold(directory, name, _PAUSE_SECONDS)
        if fd != -1:
            return fd
        owner = _owner(facts)
        # umount(8) returns before the process behind the mount has ended.
        is_ending = not _is_shown(owner.mountpoint)
        if not is_ending or time.monotonic() >= deadline:
            break
    raise MountProblem(
        f"'{data_set}@{branch}' is being written by process {owner.pid},"
        f" mounted at {owner.mountpoint}",
        hint=f"use it there, or unmount it first: vfs umount {owner.mountpoint}",
    )


def _is_shown(mountpoint: str) -> bool:
    if mountpoint.startswith("/proc/"):  # a descriptor, which may be mounted anywhere
        return os.path.lexists(mountpoint)
    return mounts.mount_at(Path(mountpoint)) is not None


def _owner(facts: dict[str, Any]) -> Owner:
    pid, mountpoint = facts.get("pid"), facts.get("mountpoint")
    return Owner(
        pid if isinstance(pid, int) else 0, mountpoint if isinstance(mountpoint, str) else "?"
    )


def _lock_name(data_set: str, branch: str) -> str:
    return f"branch-{data_set}@{branch}.lock"


def socket_name(data_set: str, branch: str) -> str:
    """Return the name of the socket at which the process that serves a branch listens."""
    digest = hashlib.blake2b(f"{data_set}@{branch}".encode(), digest_size=8).hexdigest()
    return f"branch-{digest}.sock"
