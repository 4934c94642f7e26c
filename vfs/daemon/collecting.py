"""What a process of a mount does before it collects garbage: it gives way to all others."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

from vfs.daemon.linux import set_process_name

_NICENESS: Final = 19
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13  # class idle: the disk is ours when nobody else wants it
_SYS_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}


def yield_to_others() -> None:
    """Let this process go on for as long as it takes, behind all others."""
    signal.alarm(0)  # housekeeping is short otherwise, and ended when it is not
    set_process_name("vfs-gc")
    os.nice(_NICENESS)
    number = _SYS_IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)
