"""What the hub's workers want made: they may not write, so it is done elsewhere.

That is what `mkdir` in the top directory asks for, and what differs between two versions. A worker
puts the name to a socket. Who listens there forks a process that makes it and answers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.daemon import lockfile, private, sockets
from vfs.daemon.registry import RUN_DIR
from vfs.errors import Conflict, InvalidInput, InvalidName, NotPermitted, StoreError, VfsError
from vfs.fuse.messages import decode_answer, encode_answer, encode_error
from vfs.model.names import DEFAULT_BRANCH, SEPARATOR

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.sync.ondemand import Patience

SECONDS: Final = 20
"""A worker waits no longer, and answers nobody else meanwhile."""

DIFFERENCE_SECONDS: Final = 600
"""As long may it take to make what differs between two versions; nobody waits for it so long ..."""

PATIENCE_SECONDS: Final = 3
"""... but is told after this that it is busy, and finds it there later."""

_BYTES_MAX: Final = 4096
_LOCK: Final = "differences.lock"
_TURN_PAUSE_SECONDS: Final = 0.1  # 20 times


def ask(store: Path, socket_name: str, name: str) -> None:
    """Have the name made. Raises VfsError; Conflict for a difference that takes its time."""
    is_difference = SEPARATOR in name
    seconds = PATIENCE_SECONDS if is_difference else SECONDS
    try:
        with sockets.connect(store, socket_name, seconds) as connection:
            connection.sendall(json.dumps(name).encode() + b"\n")
            answer = sockets.read_line(connection, _BYTES_MAX)
    except OSError as exc:
        if is_difference and isinstance(exc, TimeoutError):
            raise Conflict(f"'{name}' is still being made", hint="try again") from exc
        raise StoreError(f"'{name}' can't be made: {exc.strerror or exc}") from exc
    if not answer:
        raise StoreError(f"'{name}' could not be made")
    decode_answer(answer)


def answer(store: Path, connection: socket.socket, patience: Patience | None = None) -> None:
    """Make what is asked for, and say so. In a process of its own.

    *patience*: the store is a remote's cache, which is waited for so long.
    """
    signal.alarm(SECONDS)
    connection.settimeout(SECONDS)
    try:
        name = _name(sockets.read_line(connection, _BYTES_MAX))
        if SEPARATOR in name:
            signal.alarm(DIFFERENCE_SECONDS)
            make_difference(store, name, patience)
        else:
            make(store, name, patience)
        said = encode_answer()
    except VfsError as exc:
        said = encode_error(exc)
    with suppress(BrokenPipeError):  # nobody waits any more
        connection.sendall(said)


def _name(line: bytes) -> str:
    try:
        name = json.loads(line)
    except (ValueError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise InvalidInput("no name")
    return name


def make(path: Path, name: str, patience: Patience | None = None) -> None:
    """Make the data set *name*, or for `data@exp` the branch from data's main. Raises VfsError."""
    data_set, at, branch = name.partition("@")
    try:
        with _opened(path, patience) as repository:
            if not at:
                repository.create_data_set(data_set)
                return
            start = repository.resolve(data_set, DEFAULT_BRANCH).commit
            repository.set_branch(data_set, branch, start, expected=None, why="mkdir in the mount")
    except InvalidName as exc:
        # What file managers and the like try to make everywhere: ".Trash-1000".
        raise NotPermitted(str(exc), hint=exc.hint) from exc


def make_difference(path: Path, name: str, patience: Patience | None = None) -> None:
    """Make `data@<commit>..<commit>` if it is not there. Raises VfsError.

    One at a time: who would wait for the same one finds it made, and who can't wait tries again.
    """
    from vfs.repo import differences  # noqa: PLC0415 - whoever asks needs it not

    data_set, _, revision = name.partition("@")
    ends = revision.partition(SEPARATOR)[0::2]
    with _turn(path), _opened(path, patience) as repository:
        old, new = (repository.resolve(data_set, end).commit for end in ends)
        if differences.Differences(repository.store).find(data_set, old, new) is None:
            differences.make_difference(repository, data_set, old, new)


def _opened(path: Path, patience: Patience | None) -> Repository:
    from vfs.repo.repository import Repository  # noqa: PLC0415 - as above

    if patience is None:
        return Repository.open(path)
    from vfs.sync.cache import open_cache  # noqa: PLC0415 - most mounts know no remote

    return open_cache(path, patience)


@contextmanager
def _turn(store: Path) -> Iterator[None]:
    with private.opened(store / RUN_DIR, make=True) as directory:
        fd, _ = lockfile.hold(directory, _LOCK, _TURN_PAUSE_SECONDS)
        if fd < 0:
            raise Conflict("another difference is being made", hint="try again")
        try:
            yield
        finally:
            lockfile.unlink(directory, _LOCK)
            os.close(fd)
