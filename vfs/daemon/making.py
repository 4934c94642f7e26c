"""`mkdir` in the hub's top directory: asked for by a worker, which may not write; done elsewhere.

A worker puts the name to a socket. Who listens there forks a process that makes it and answers.
"""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Final

from vfs.daemon import sockets
from vfs.errors import InvalidInput, InvalidName, NotPermitted, StoreError, VfsError
from vfs.fuse.messages import decode_answer, encode_answer, encode_error
from vfs.model.names import DEFAULT_BRANCH

SECONDS: Final = 20
"""A worker waits no longer, and answers nobody else meanwhile."""

_BYTES_MAX: Final = 4096


def ask(store: Path, socket_name: str, name: str) -> None:
    """Have the name made. Raises VfsError."""
    try:
        with sockets.connect(store, socket_name, SECONDS) as connection:
            connection.sendall(json.dumps(name).encode() + b"\n")
            answer = sockets.read_line(connection, _BYTES_MAX)
    except OSError as exc:
        raise StoreError(f"'{name}' can't be made: {exc.strerror or exc}") from exc
    if not answer:
        raise StoreError(f"'{name}' could not be made")
    decode_answer(answer)


def answer(store: Path, connection: socket.socket) -> None:
    """Make what is asked for, and say so. In a process of its own."""
    signal.alarm(SECONDS)
    connection.settimeout(SECONDS)
    try:
        make(store, _name(sockets.read_line(connection, _BYTES_MAX)))
        said = encode_answer()
    except VfsError as exc:
        said = encode_error(exc)
    connection.sendall(said)


def _name(line: bytes) -> str:
    try:
        name = json.loads(line)
    except (ValueError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise InvalidInput("no name")
    return name


def make(path: Path, name: str) -> None:
    """Make the data set *name*, or for `data@exp` the branch from data's main. Raises VfsError."""
    from vfs.repo.repository import Repository  # noqa: PLC0415 - whoever asks needs it not

    data_set, at, branch = name.partition("@")
    try:
        with Repository.open(path) as repository:
            if not at:
                repository.create_data_set(data_set)
                return
            start = repository.resolve(data_set, DEFAULT_BRANCH).commit
            repository.set_branch(data_set, branch, start, expected=None, why="mkdir in the mount")
    except InvalidName as exc:
        # What file managers and the like try to make everywhere: ".Trash-1000".
        raise NotPermitted(str(exc), hint=exc.hint) from exc
