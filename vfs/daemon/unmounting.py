"""Ending mounts from outside, as the command line and scripts ask for it."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from vfs import mountinfo
from vfs.daemon import branches, mounts, registry
from vfs.daemon.checks import clear, is_hidden
from vfs.daemon.linux import MNT_EXPIRE, umount2
from vfs.daemon.registry import Record
from vfs.errors import MountProblem
from vfs.mountinfo import Mount

END_SECONDS: Final = 10.0
STORE_SECONDS: Final = 100.0
"""As long may branches take to store what was written."""

BUSY_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.02
_LAZY_WAIT_SECONDS: Final = 1.0


def unmount(mountpoint: Path, *, lazy: bool = False) -> None:
    """Unmount, and wait until the daemon has ended. A dead mount is cleared with a warning.

    *lazy*: take it out of the tree at once; its daemon serves files that are open until they are
    closed. Raises MountProblem where nothing of ours is mounted, or it is in use, and what keeps
    changes of a branch from being stored: then it stays mounted.
    """
    path = mounts.real_path(mountpoint)
    found = _ours_at(path)
    record = registry.find(Path(found.source), found.mountpoint)
    inside = [mount for mount in mounts.inside(path) if mount.ours]
    seconds = STORE_SECONDS if inside or (record and record.writable) else END_SECONDS
    if mounts.health(found.mountpoint) == "stale":
        clear(found)
    elif lazy:
        mounts.detach(found.mountpoint, lazy=True)
    else:
        _store(found, inside, record)
        if inside:
            _end_hub(found, inside, record)
        else:
            mounts.detach(found.mountpoint, lazy=False)
    if record is None or _wait_for_end(record.pid, _LAZY_WAIT_SECONDS if lazy else seconds):
        return
    if not lazy:
        raise MountProblem(
            f"{path} is unmounted, but its daemon (process {record.pid}) has not ended",
            hint="something may hold a copy of the mount, such as a container",
        )


def _store(found: Mount, inside: list[Mount], record: Record | None) -> None:
    """Have branches store what was written while their programs can still be told."""
    targets = [Path(mount.mountpoint).name for mount in inside]
    if record is not None and record.writable and record.target is not None:
        targets.append(record.target)
    for target in targets:
        data_set, _, name = target.partition("@")
        branches.checkpoint(Path(found.source), data_set, name, timeout=STORE_SECONDS)


def _ours_at(path: Path) -> Mount:
    found = mounts.mount_at(path)
    if found is None or not found.ours:
        if (hidden := mounts.hidden_at(path)) is not None:
            raise is_hidden(hidden, found)
        raise MountProblem(f"no version is mounted at {path}", hint=_where_instead())
    hub = mounts.mount_at(path.parent)
    if hub is not None and hub.ours and hub.source == found.source:
        raise MountProblem(
            f"{path} belongs to the mount at {hub.mountpoint}, which would mount it again",
            hint=f"unmount all of it: vfs umount {hub.mountpoint}",
        )
    return found


def _end_hub(hub: Mount, inside: list[Mount], record: Record | None) -> None:
    """Have the daemon end, which unmounts the branches first; not while anything is in use."""
    if record is None:
        raise MountProblem(
            f"{hub.mountpoint} is another user's, and has branches mounted in it",
            hint="let that user unmount it, or use --lazy",
        )
    for mount in inside:
        with suppress(OSError):
            _require_unused(mount.mountpoint)
    if mounts.holders(hub.mountpoint):
        raise mounts.busy(hub.mountpoint)
    os.kill(record.pid, signal.SIGTERM)


def _require_unused(mountpoint: str) -> None:
    """Raise MountProblem where a mount is in use; only root can ask so.

    Its own process uses it for moments, to have the kernel write back.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            umount2(mountpoint, MNT_EXPIRE)
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            if time.monotonic() >= deadline:
                raise mounts.busy(mountpoint) from exc
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _where_instead() -> str:
    ours = sorted({mount.mountpoint for mount in mountinfo.mounts() if mount.ours})
    return f"mounted are: {', '.join(ours)}" if ours else "nothing is mounted"


def _wait_for_end(pid: int, timeout: float) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout)[0])
    finally:
        os.close(fd)
