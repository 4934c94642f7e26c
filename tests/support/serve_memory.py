"""Mounts a `MemoryView`: run as a process by the mounted tests, with one JSON argument."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

from tests.support.memory_view import MemoryView
from vfs.daemon import MountSpec, supervisor
from vfs.daemon.checks import check
from vfs.daemon.control import serve
from vfs.errors import StoreError, VfsError
from vfs.fuse import session


def set_up(wanted: dict[str, Any]) -> None:
    """Make this process as it would be on another kernel, or in more of a hurry."""
    if wanted.get("resend") is False:
        session.RESEND_MESSAGE = struct.pack("IiQ", 16, 99, 0)  # as before Linux 6.9
    if wanted.get("clone") is False:
        session.FUSE_DEV_IOC_CLONE = 0
    supervisor.READY_SECONDS = wanted.get("ready_seconds", supervisor.READY_SECONDS)
    supervisor.HOUSEKEEPING_SECONDS = wanted.get("housekeeping_seconds", 30)


def main(argument: str) -> int:
    """Return the exit code: 0, or 1 with the message and the hint in a line each."""
    wanted: dict[str, Any] = json.loads(argument)
    spec = MountSpec(
        store=Path(wanted["store"]),
        mountpoint=Path(wanted["mountpoint"]),
        workers=wanted.get("workers", 2),
        options=tuple(wanted.get("options", ())),
        foreground=wanted.get("foreground", False),
    )
    set_up(wanted)

    def open_view() -> MemoryView:
        if (spec.store / "broken").exists():
            raise StoreError("the store is broken", hint="mend it")
        if (spec.store / "crashing").exists():
            os.abort()
        if (spec.store / "hanging").exists():
            (spec.store / "control" / "go").read_bytes()
        return MemoryView(spec.store / "control", wanted.get("directories", 20))

    def housekeeping() -> None:
        (spec.store / "cleaned").touch()

    try:
        check(spec)
        serve(spec, open_view, housekeeping=housekeeping)
    except VfsError as exc:
        print(f"{exc}\n{exc.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
