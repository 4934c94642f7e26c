"""Mounts a `MemoryView`: run as a process by the mounted tests, with one JSON argument."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.memory_view import MemoryView
from vfs.daemon import MountSpec
from vfs.daemon.control import check, serve
from vfs.errors import StoreError, VfsError


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
    if wanted.get("resend") is False:
        from vfs.fuse import session

        session.RESEND_MESSAGE = session.struct.pack("IiQ", 16, 99, 0)  # as before Linux 6.9

    def open_view() -> MemoryView:
        if (spec.store / "broken").exists():
            raise StoreError("the store is broken", hint="mend it")
        if (spec.store / "crashing").exists():
            os.abort()
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
