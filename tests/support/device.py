"""A FUSE device that was mounted by somebody else than who serves it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def mounted_device(store: Path, mountpoint: Path, user: int, *, writable: bool = False) -> int:
    """Do what a privileged helper does: open the device and mount it. Return the descriptor."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={user},group_id={user}"
    options += ",allow_other,default_permissions"
    flags = 2 | 4 | (0 if writable else 1)  # nosuid, nodev, read-only
    arguments = (str(store), str(mountpoint), "fuse.vfs", options)
    source, target, kind, data = map(os.fsencode, arguments)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, target, kind, flags, data) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return device
