"""Requests read from the FUSE device, and answers written to it, one after the other.

pyfuse3 mounts and shakes hands, and serves branches whole. A worker of versions reads the device
itself, for what pyfuse3 can't say: which inode is read where no file was opened. So the kernel need
not ask to open and release files at all (`FUSE_NO_OPEN_SUPPORT`), and a file whose pages it has is
read again without a request: docs/decisions/0008-wire.md.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from vfs.fuse import counters, wire
from vfs.fuse.errnos import errno_of
from vfs.fuse.parking import Parking, Waiting
from vfs.store.objects import NotHere

if TYPE_CHECKING:
    from vfs.fuse.answers import Answers
    from vfs.fuse.parking import IsWaiting

REQUEST_MAX_BYTES: Final = (1 << 20) + 4096
"""What the kernel wants to have room for; a request of a version is shorter, as nothing is written
to it."""

_PAGE_BYTES: Final = 4096
_PIECES_MAX: Final = os.sysconf("SC_IOV_MAX")  # of one writev, with the header


def serve(fd: int, answers: Answers, is_waiting: IsWaiting) -> None:
    """Answer the requests read from *fd* until the file system is unmounted."""
    buffer = bytearray(REQUEST_MAX_BYTES)
    # The kernel fails a request with EIO that it can't copy, and it can't where a page is not there
    # yet and the process was killed just now, which may fault nothing in any more.
    buffer[::_PAGE_BYTES] = bytes(len(range(0, len(buffer), _PAGE_BYTES)))
    room = (buffer,)
    header, header_bytes, make = wire.HEADER.unpack_from, wire.HEADER.size, wire.Request._make
    known, other = answers.of, counters.block("other")
    parking = Parking(answers.view, is_waiting, partial(_reply, fd))
    turn = parking.turn
    while True:
        try:
            length = os.readv(fd, room)
        except OSError as exc:
            if exc.errno == errno.ENOENT:  # it was interrupted before it was read
                continue
            if exc.errno in wire.UNMOUNTED:
                parking.close()
                return
            raise
        begun = perf_counter_ns()
        request = make(header(buffer))
        answer, block = known.get(request.opcode, (None, other))
        if answer is None:
            _reply(fd, request.unique, error=errno.ENOSYS)
        else:
            body = bytes(memoryview(buffer)[header_bytes:length])
            try:
                with turn:
                    data = answer(request, body)
            except NotHere as absent:
                parking.park(Waiting(request, body, answer, block, begun), absent)
                continue
            except Exception as exc:  # noqa: BLE001 - said in the log, and to who asked
                _reply(fd, request.unique, error=errno_of(exc, answer.__name__.strip("_")))
            else:
                if data is not None:
                    _reply(fd, request.unique, data)
        counters.request(block, perf_counter_ns() - begun)


def _reply(fd: int, unique: int, data: bytes | list[bytes] = b"", error: int = 0) -> None:
    pieces = data if isinstance(data, list) else [data]
    if len(pieces) >= _PIECES_MAX:
        pieces = [b"".join(pieces)]
    try:
        os.writev(fd, (wire.answer(unique, sum(map(len, pieces)), error), *pieces))
    except OSError as exc:
        # Nobody waits for it any more: the request was interrupted, or handed out again after a
        # worker's death and answered by another; or the file system is gone.
        if exc.errno not in (errno.ENOENT, *wire.UNMOUNTED):
            raise
