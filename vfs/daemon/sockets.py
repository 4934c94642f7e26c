"""Unix sockets in `<store>/run`, for their owner alone. Knows not what is said there.

They are reached through the directory's descriptor: the path of a socket has 107 bytes at most, and
that of a store may have more.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vfs.daemon import lockfile, private
from vfs.daemon.registry import RUN_DIR
from vfs.errors import Conflict

_BACKLOG: Final = 16


@contextmanager
def listening(store: Path, name: str) -> Iterator[socket.socket]:
    """Give a socket that listens there. Raises OSError.

    What has the name is replaced: whoever asks for it holds a lock that says it is theirs.
    """
    with private.opened(store / RUN_DIR, make=True) as directory:
        lockfile.unlink(directory, name)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(_through(directory, name))
            try:
                os.chmod(name, private.FILE_MODE, dir_fd=directory)
                listener.listen(_BACKLOG)
                yield listener
            finally:
                lockfile.unlink(directory, name)


def clear_left(path: Path) -> None:
    """Remove the socket that a killed process left at *path*. Raises Conflict where one listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            pass
        else:
            raise Conflict(f"a process listens at {path} already", hint="choose another path")


def connect(store: Path, name: str, timeout: float) -> socket.socket:
    """Return a connection to who listens there. Raises OSError."""
    with private.opened(store / RUN_DIR) as directory:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout)
            connection.connect(_through(directory, name))
        except BaseException:
            connection.close()
            raise
        return connection


def read_line(connection: socket.socket, bytes_max: int) -> bytes:
    """Return what comes up to the end of a line; empty where it ended before, or is too long."""
    received = bytearray()
    while not received.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part or len(received) + len(part) > bytes_max:
            return b""
        received += part
    return bytes(received)


def _through(directory: int, name: str) -> str:
    return f"/proc/self/fd/{directory}/{name}"
