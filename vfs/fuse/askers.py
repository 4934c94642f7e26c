"""Whether who asks still waits, by what /proc tells of the thread that a request comes from.

The kernel keeps whoever asks waiting until the answer comes, also one that was killed
(request_wait_answer in fs/fuse/dev.c): so the answer has to come. A signal that a program catches
ends no wait, as for any disk; most programs could not bear it.
"""

from __future__ import annotations

import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.store.objects import surely

if TYPE_CHECKING:
    from vfs.store.objects import IsWanted

_FIELDS: Final = re.compile(rb"^(\w+):\s*(\w+)", re.MULTILINE)

_HARMLESS: Final = (  # what does not end a process that has no handler for it
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
)
_DEADLY: Final = ~sum(1 << (number - 1) for number in _HARMLESS)


def is_waiting(thread: int) -> bool:
    """Say whether a thread is there, and not about to be ended by a signal.

    True, too, where that can't be known: 0 is a thread of which the kernel does not tell.
    """
    if not thread or not _is_own_proc():
        return True
    status = _status(thread)
    if not status:
        return _is_there(thread)
    if status[b"State"] in (b"Z", b"X") and int(status[b"Threads"]) <= 1:
        return False
    own, shared, blocked, ignored, caught = (
        int(status[name], 16) for name in (b"SigPnd", b"ShdPnd", b"SigBlk", b"SigIgn", b"SigCgt")
    )
    return not (own | shared) & ~(blocked | ignored | caught) & _DEADLY


def unknown(_thread: int) -> bool:
    """Say that a thread still waits.

    Of a mount that was made in another namespace the kernel tells other numbers
    (pid_namespaces(7)).
    """
    return True


def opened_by(thread: int) -> IsWanted:
    """Return what says whether the process is there of a thread that opened a file or directory.

    It stands for who reads, where that is not told. Of a process that has ended already nothing
    follows: another one may have the file from it.
    """
    status = _status(thread) if _is_own_proc() else {}
    return partial(is_waiting, int(status[b"Tgid"])) if status else surely


def _status(thread: int) -> dict[bytes, bytes]:
    """Return the first word of each field of /proc/THREAD/status; nothing where it can't be had."""
    try:
        return dict(_FIELDS.findall(Path(f"/proc/{thread}/status").read_bytes()))
    except OSError:
        return {}


def _is_own_proc() -> bool:
    """Say whether /proc has the numbers that this process has for others."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - twice as fast
    except OSError:
        return False


def _is_there(thread: int) -> bool:
    try:
        os.kill(thread, 0)  # /proc may hide it (hidepid in proc(5))
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
