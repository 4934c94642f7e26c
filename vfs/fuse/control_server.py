"""The serving end of a branch's control socket, on trio. Knows the messages, not what they do."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from vfs.errors import InvalidInput, StoreError, VfsError
from vfs.fuse.messages import LINE_MAX_BYTES, Request, decode_request, encode_error

log = logging.getLogger(__name__)

LINE_SECONDS: Final = 10.0  # for a request to come, or an answer to be taken
CONNECTIONS_MAX: Final = 16
_PEER: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred

Answer = Callable[[Request], Awaitable[bytes]]


async def serve_control(listener: socket.socket, answer: Answer, over: trio.Event) -> None:
    """Answer one request per connection; from *over* on take no new ones, and end with the last."""
    async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
        accepting.start_soon(_accept, listener, answer, connections)
        await over.wait()
        accepting.cancel_scope.cancel()


async def _accept(listener: socket.socket, answer: Answer, connections: trio.Nursery) -> None:
    room = trio.Semaphore(CONNECTIONS_MAX)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    while True:
        await room.acquire()
        try:
            stream = await accepting.accept()
        except OSError as exc:  # as when there are too many open files
            log.warning("the control socket takes no request: %s", exc.strerror)
            room.release()
            await trio.sleep(1)
            continue
        connections.start_soon(_serve_one, stream, answer, room)


async def _serve_one(stream: trio.SocketStream, answer: Answer, room: trio.Semaphore) -> None:
    try:
        async with stream:
            if not _is_ours(stream):
                return
            with trio.fail_after(LINE_SECONDS):
                line = await _line(stream)
            try:
                said = await answer(decode_request(line))
            except VfsError as exc:
                said = encode_error(exc)
            except Exception as exc:
                log.exception("a request to the control socket failed")
                said = encode_error(StoreError(f"the request failed: {exc!r}"))
            with trio.fail_after(LINE_SECONDS):
                await stream.send_all(said)
    except (trio.TooSlowError, trio.BrokenResourceError, InvalidInput) as exc:
        log.warning("a request to the control socket was dropped: %r", exc)
    finally:
        room.release()


def _is_ours(stream: trio.SocketStream) -> bool:
    """Say whether it is this user, or root, who asks; the socket's mode says the same."""
    peer = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(peer)[1] in (0, os.geteuid())


async def _line(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        if len(received) >= LINE_MAX_BYTES:
            raise InvalidInput("a request without an end")
        part = await stream.receive_some(LINE_MAX_BYTES - len(received))
        if not part:
            raise InvalidInput("a request that ends in the middle")
        received += part
    return bytes(received)
