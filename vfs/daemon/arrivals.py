"""For the hub's workers: waiting a moment for a branch that is about to be mounted."""

from __future__ import annotations

import fcntl
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from vfs import mountinfo
from vfs.daemon import owners, private
from vfs.daemon.registry import RUN_DIR

WAIT_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 30.0
"""As long nobody waits again for a branch that did not come."""

_PAUSE_SECONDS: Final = 0.004


class Arrivals:
    """Knows which branches are mounted in the hub. For one thread.

    One worker waits at a time, as mounting takes another one's answers: one alone never does.
    """

    def __init__(self, store: Path, hub: Path, *, workers: int) -> None:
        self._store = store
        self._hub = hub
        self._may_wait = workers > 1
        self._missed: dict[str, float] = {}

    def __call__(self, data_set: str, branch: str, pid: int) -> bool:
        """Say whether a branch is mounted in the hub, or will be in a moment: then wait for it.

        *pid* is who wants to know: the process that mounts it has to go on.
        """
        name = f"{data_set}@{branch}"
        if self._is_mounted(name):
            return True
        if (
            not self._may_wait
            or time.monotonic() - self._missed.get(name, -FORGET_SECONDS) < FORGET_SECONDS
        ):
            return False
        with suppress(OSError), private.opened(self._store / RUN_DIR) as turn:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._wait(data_set, branch, pid)
        return False

    def _is_mounted(self, name: str) -> bool:
        mountpoint = str(self._hub / name)
        return any(mount.ours and mount.mountpoint == mountpoint for mount in mountinfo.mounts())

    def _wait(self, data_set: str, branch: str, pid: int) -> bool:
        name = f"{data_set}@{branch}"
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            owner = owners.find(self._store, data_set, branch)
            if owner is not None and owner.is_known:
                elsewhere = owner.mountpoint != str(self._hub / name)
                if elsewhere or owner.pid in (pid, _parent(pid)):
                    return False
            if self._is_mounted(name):
                return True
            time.sleep(_PAUSE_SECONDS)
        self._missed[name] = time.monotonic()
        return False


def _parent(pid: int) -> int:
    """Return the parent of a process: fusermount3 has the one that mounts. 0 for none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
