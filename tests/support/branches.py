"""The processes of mounted branches: finding them, and what is to be seen of them from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.hub import Hub
from tests.support.mounting import children, process_name, wait_until
from vfs.daemon import mounts, owners

SOON_SECONDS = 1.0
"""What is promised for a branch that is made, deleted, moved or killed."""


def owner(hub: Hub, branch: str) -> int:
    """The process that serves a branch."""
    found = owners.find(hub.store, "data", branch)
    assert found is not None
    return found.pid


def is_served(hub: Hub, branch: str) -> bool:
    found = mounts.mount_at(hub[branch])
    return found is not None and found.ours and mounts.health(str(hub[branch])) == "ok"


def keeper(hub: Hub) -> int:
    """The process that keeps the hub's branches; 0 while there is none."""
    named = [pid for pid in children(hub.pid) if process_name(pid) == "vfs-branches"]
    return named[0] if named else 0


def processes(hub: Hub) -> list[int]:
    """All processes behind the hub, and the parents before their children."""
    found = [hub.pid]
    for pid in found:
        found += children(pid)
    return found


def happens_soon(condition: Callable[[], object]) -> None:
    """Wait for it, and see that it takes no longer than is promised."""
    began = time.monotonic()
    wait_until(condition)
    assert time.monotonic() - began < SOON_SECONDS


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file to read and write; its server may be gone when it is closed."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        with suppress(OSError):
            os.close(fd)


def left_in_run(store: Path) -> list[str]:
    return os.listdir(store / "run")
