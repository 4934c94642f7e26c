"""Files that are locked while a process lives, and say who it is. Knows not what for.

The kernel drops an flock when the last process that holds it has ended, however it ended. So a file
that nobody locks is left behind, and whoever finds it may take it over or remove it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from vfs.daemon import private

_TRIES: Final = 20
_BYTES_MAX: Final = 64 * 1024  # two paths of 4 KiB, each byte 6 of JSON at most


def hold(directory: int, name: str, pause_seconds: float) -> tuple[int, dict[str, Any]]:
    """Return a descriptor of the file with its lock held; or -1, and what its holder wrote there.

    It is tried 20 times, as someone who only looks holds the lock for microseconds.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    holder: dict[str, Any] = {}
    for attempt in range(_TRIES):
        fd = os.open(name, flags, private.FILE_MODE, dir_fd=directory)
        if lock(fd):
            if is_at(fd, directory, name):
                return fd, {}
            os.close(fd)  # its owner removed it between our open and our lock
            continue
        holder = read(fd)
        os.close(fd)
        if attempt + 1 < _TRIES:
            time.sleep(pause_seconds)
    return -1, holder


def look(directory: int, name: str) -> int:
    """Return a descriptor to look at the file with; never waits, whatever it is. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)


def lock(fd: int) -> bool:
    """Lock the file; False where somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(fd: int, directory: int, name: str) -> bool:
    """Say whether the open file still has that name."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return there.st_ino == os.fstat(fd).st_ino


def unlink(directory: int, name: str) -> None:
    """Remove the file if that can be done."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


def write(fd: int, facts: Mapping[str, object]) -> None:
    """Replace what the file says. Raises OSError."""
    os.fchmod(fd, private.FILE_MODE)  # it may be one that was left behind
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(facts, indent=1).encode() + b"\n", 0)


def read(fd: int) -> dict[str, Any]:
    """Return what the file says; nothing where that is no JSON object."""
    try:
        facts = json.loads(os.pread(fd, _BYTES_MAX, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
