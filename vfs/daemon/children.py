"""Forked children: whether and how they ended, and ending them. Knows nothing of what they do."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


def ended(pid: int) -> int | None:
    """Return the exit code of a child, minus the signal that killed it; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill(children: Iterable[int]) -> None:
    """Kill children that may have ended, and wait for their end."""
    left = [pid for pid in children if ended(pid) is None]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    for pid in left:
        os.waitpid(pid, 0)


def how(status: int) -> str:
    """Say how a child ended."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"
