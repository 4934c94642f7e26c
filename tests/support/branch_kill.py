"""Killing the process that serves a branch, while its parent lives and starts another one."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from tests.support.branch import Branch
from tests.support.mounting import children, process_name, wait_for_end, wait_until
from vfs.daemon import mounts


def kill_server(branch: Branch) -> None:
    """Kill it; return when the mount answers again."""
    server = server_of(branch)
    os.kill(server, signal.SIGKILL)
    wait_for_end(server)
    wait_until(lambda: answers(branch))
    assert server_of(branch) != server


def server_of(branch: Branch) -> int:
    (server,) = (pid for pid in children(branch.pid) if process_name(pid) == "vfs-branch")
    return server


def answers(branch: Branch) -> bool:
    """Say whether something is mounted that does not say that nobody serves it."""
    if mounts.mount_at(branch.mountpoint) is None:
        return False
    with suppress(OSError):
        os.statvfs(branch.mountpoint)
        return mounts.mount_at(branch.mountpoint) is not None
    return False
