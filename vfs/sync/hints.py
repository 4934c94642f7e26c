"""What is going to be read: told by the workers of a mount to the process that fetches it.

So there is one connection, one transaction for what comes together, and nothing in a worker that
wants the interpreter's lock while it answers.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Self

from vfs.ids import ID_BYTES, ObjectId

IDS_AT_ONCE: Final = 512  # in a message: 16 KiB
_FD: Final = struct.Struct("@i")

Left = Callable[[], float]
"""Says for how many seconds to wait before it is asked again; 0: no longer."""


class Waiting:
    """Somebody who waits for an object, until this is closed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Wake him: it is here, or is not going to be."""
        os.close(self._fd)


class Heard(NamedTuple):
    """What is going to be read; with somebody who waits for it, it is one object."""

    ids: list[ObjectId]
    waiting: Waiting | None


class Hints:
    """A way from any process to one other, to be made before they are forked.

    A context manager, for the process that forks them.
    """

    def __init__(self) -> None:
        self._listener, self._teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let go of it in this process."""
        self._listener.close()
        self._teller.close()

    def tell(self, ids: Iterable[ObjectId]) -> None:
        """Tell what is going to be read.

        Never waits itself: what is not heard is fetched when it is missed.
        """
        each = iter(ids)
        while some := list(islice(each, IDS_AT_ONCE)):
            try:
                self._teller.send(b"".join(some), socket.MSG_DONTWAIT)
            except OSError:
                return

    def ask(self, oid: ObjectId, left: Left) -> bool:
        """Have an object fetched; return when it is here, or is not going to be: False if too late.

        What *left* raises ends it, too. Along goes the end of a pipe that nothing is written to.
        When all who have that end have closed it, the kernel tells whoever has the other one, also
        where they were killed.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                is_sent = self._send(oid, writer, left)
            finally:
                os.close(writer)
            return is_sent and _await(reader, select.POLLIN, left)
        finally:
            os.close(reader)

    def _send(self, oid: ObjectId, fd: int, left: Left) -> bool:
        """Send a request when there is room for it; give whether there was in time."""
        way = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _FD.pack(fd))]
        while _await(self._teller.fileno(), select.POLLOUT, left):
            try:
                self._teller.sendmsg([oid], way, socket.MSG_DONTWAIT)
            except BlockingIOError:  # somebody else was faster
                continue
            except OSError:
                return False
            return True
        return False

    def heard(self) -> Iterator[Heard]:
        """Yield what is told, for ever."""
        room = socket.CMSG_LEN(_FD.size)
        while True:
            told, came, *_ = self._listener.recvmsg(
                IDS_AT_ONCE * ID_BYTES, room, socket.MSG_CMSG_CLOEXEC
            )
            waiting = [Waiting(*_FD.unpack(data)) for _, _, data in came]
            ids = [ObjectId(told[at : at + ID_BYTES]) for at in range(0, len(told), ID_BYTES)]
            yield Heard(ids, waiting[0] if waiting else None)


def _await(fd: int, event: int, left: Left) -> bool:
    """Wait for *event* or the end of the other side; give whether it came in time."""
    poll = select.poll()
    poll.register(fd, event)
    while seconds := left():
        if poll.poll(seconds * 1000):
            return True
    return False
