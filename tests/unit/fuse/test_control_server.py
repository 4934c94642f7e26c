"""The serving end of a control socket: bounded in time, size and number."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from vfs.errors import Conflict
from vfs.fuse import control_server
from vfs.fuse.control_server import CONNECTIONS_MAX, serve_control
from vfs.fuse.messages import (
    LINE_MAX_BYTES,
    Request,
    decode_answer,
    encode_answer,
    encode_request,
)

Client = Callable[[], Awaitable[trio.SocketStream]]


def run(
    path: Path,
    answer: Callable[[Request], Awaitable[bytes]],
    client: Callable[[Client], Awaitable[None]],
) -> None:
    """Serve at a socket in *path* while *client* runs; all of it has to end by itself."""

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(10):
            listener.bind(str(path / "s"))
            listener.listen(50)
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_control, listener, answer, over)
                await client(partial(trio.open_unix_socket, path / "s"))
                over.set()

    trio.run(main)


async def reply(request: Request) -> bytes:
    if request.verb == "stop":
        raise Conflict("not now", hint="later")
    return encode_answer(verb=request.verb)


async def ask(connect: Client, line: bytes) -> bytes:
    async with await connect() as stream:
        await stream.send_all(line)
        return await all_of(stream)


async def all_of(stream: trio.SocketStream) -> bytes:
    received = b""
    while part := await stream.receive_some():
        received += part
    return received


def test_answers_and_errors(tmp_path: Path) -> None:
    async def client(connect: Client) -> None:
        answer = await ask(connect, encode_request("checkpoint"))
        assert decode_answer(answer) == {"verb": "checkpoint"}
        with pytest.raises(Conflict, match="not now"):
            decode_answer(await ask(connect, encode_request("stop")))

    run(tmp_path, reply, client)


def test_a_request_in_pieces(tmp_path: Path) -> None:
    async def client(connect: Client) -> None:
        async with await connect() as stream:
            for byte in encode_request("info"):
                await stream.send_all(bytes([byte]))
            assert decode_answer(await all_of(stream)) == {"verb": "info"}

    run(tmp_path, reply, client)


def test_who_leaves_in_the_middle_harms_nobody(tmp_path: Path) -> None:
    async def client(connect: Client) -> None:
        for line in (b"", b'{"do":', encode_request("checkpoint")):
            async with await connect() as stream:
                if line:
                    await stream.send_all(line)
        assert decode_answer(await ask(connect, encode_request("info"))) == {"verb": "info"}

    run(tmp_path, reply, client)


def test_a_request_without_an_end_is_cut_off(tmp_path: Path) -> None:
    async def client(connect: Client) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ask(connect, b"x" * (LINE_MAX_BYTES + 4096))
        assert await ask(connect, encode_request("info"))

    run(tmp_path, reply, client)


def test_who_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "LINE_SECONDS", 0.05)

    async def client(connect: Client) -> None:
        silent = [await connect() for _ in range(CONNECTIONS_MAX)]
        assert await ask(connect, encode_request("info"))  # one more than there is room for
        for stream in silent:
            assert await all_of(stream) == b""
            await stream.aclose()

    run(tmp_path, reply, client)


def test_at_the_end_who_waits_is_answered(tmp_path: Path) -> None:
    begun, may_answer = trio.Event(), trio.Event()

    async def slowly(request: Request) -> bytes:
        begun.set()
        await may_answer.wait()
        return encode_answer(verb=request.verb)

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(10):
            listener.bind(str(tmp_path / "s"))
            listener.listen(5)
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_control, listener, slowly, over)
                stream = await trio.open_unix_socket(tmp_path / "s")
                await stream.send_all(encode_request("discard"))
                await begun.wait()
                over.set()
                may_answer.set()
                assert decode_answer(await all_of(stream)) == {"verb": "discard"}
                await stream.aclose()

    trio.run(main)
