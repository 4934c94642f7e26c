"""Asking the process that serves a branch, for commands and for other daemons. Opens no store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from vfs.daemon import owners, sockets
from vfs.daemon.owners import Owner
from vfs.errors import MountProblem
from vfs.fuse import messages
from vfs.fuse.messages import LINE_MAX_BYTES, decode_answer, encode_request
from vfs.ids import ObjectId

TIMEOUT_SECONDS: Final = 120.0
"""As long may it take to store what a branch holds in memory, on a slow disk."""

_PAUSE_SECONDS: Final = 0.05


def checkpoint(
    store: Path, data_set: str, branch: str, *, timeout: float = TIMEOUT_SECONDS
) -> int | None:
    """Have all that was written to a branch until now stored; None where nobody serves it.

    Returns what `commit_overlay` takes as *seq*. Raises MountProblem where there is no answer in
    time, and what kept it from being stored.
    """
    answer = _ask(store, data_set, branch, encode_request("checkpoint"), timeout)
    seq = None if answer is None else answer.get("seq")
    return seq if isinstance(seq, int) else None


def discard(
    store: Path,
    data_set: str,
    branch: str,
    paths: Sequence[messages.Path] = (),
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> bool:
    """Give up the changes of some paths, or all: then the branch is mounted anew at once.

    False where nobody serves the branch. Raises as `checkpoint`.
    """
    return _ask(store, data_set, branch, encode_request("discard", paths), timeout) is not None


def restore(
    store: Path,
    data_set: str,
    branch: str,
    version: ObjectId,
    paths: Mapping[messages.Path, messages.Path],
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> bool:
    """Make paths, the values, what the keys are in a version: changes that are not committed.

    False where nobody serves the branch. Raises as `checkpoint`.
    """
    request = encode_request("restore", [*paths.values()], [*paths], version.hex())
    return _ask(store, data_set, branch, request, timeout) is not None


def stop(store: Path, data_set: str, branch: str, *, timeout: float = TIMEOUT_SECONDS) -> bool:
    """End the process that serves a branch; on return all is stored. Raises as `checkpoint`."""
    return _ask(store, data_set, branch, encode_request("stop"), timeout) is not None


def info(store: Path, data_set: str, branch: str) -> Owner | None:
    """Return who serves a branch, or None."""
    return owners.find(store, data_set, branch)


def _ask(
    store: Path, data_set: str, branch: str, request: bytes, timeout: float
) -> dict[str, object] | None:
    """Put a request until it is answered or nobody is there to answer it: all can be repeated."""
    deadline = time.monotonic() + timeout
    name = owners.socket_name(data_set, branch)
    while (owner := owners.find(store, data_set, branch)) is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise MountProblem(
                f"process {owner.pid}, which serves '{data_set}@{branch}', does not answer",
                hint=f"see its log in {store / 'log'}",
            )
        try:
            with sockets.connect(store, name, left) as connection:
                connection.sendall(request)
                answer = sockets.read_line(connection, LINE_MAX_BYTES)
            if answer:
                return decode_answer(answer)
        except OSError:  # it is starting, ending, or was killed
            pass
        time.sleep(_PAUSE_SECONDS)
    return None
