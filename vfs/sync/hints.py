"""What is going to be read: told by the workers of a mount to the process that fetches it.

So there is one connection, one transaction for what comes together, and nothing in a worker that
wants the interpreter's lock while it answers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Self

from vfs.ids import ID_BYTES, ObjectId

IDS_AT_ONCE: Final = 512  # in a message: 16 KiB
_NOW, _LATER = b"!", b"?"


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

    def tell(self, ids: Iterable[ObjectId], *, now: bool = False) -> None:
        """Tell what is going to be read, or with *now* is waited for.

        Never waits itself: what is not heard is fetched when it is missed.
        """
        each = iter(ids)
        while some := list(islice(each, IDS_AT_ONCE)):
            try:
                self._teller.send((_NOW if now else _LATER) + b"".join(some), socket.MSG_DONTWAIT)
            except OSError:
                return

    def heard(self) -> Iterator[tuple[list[ObjectId], bool]]:
        """Yield what is told, for ever, and whether somebody waits for it."""
        while True:
            told = self._listener.recv(1 + IDS_AT_ONCE * ID_BYTES)
            ids = [ObjectId(told[at : at + ID_BYTES]) for at in range(1, len(told), ID_BYTES)]
            yield ids, told[:1] == _NOW
