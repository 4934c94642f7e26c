"""An HTTP proxy on loopback that is slow and fails on purpose, to put a remote behind.

It knows nothing of S3. Requests go on as they came, their Host too, which signatures cover.

    python -m tests.support.proxy --to http://127.0.0.1:7480 --latency 0.05 --fail 0.1 --seed 7

says where it listens, and when it is interrupted what it counted. In a test it is a context manager
whose attributes may be changed at any time.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import select
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from io import BufferedReader
from threading import Event, Thread
from typing import Final, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

PIECE_BYTES: Final = 256 << 10
STALL_SECONDS: Final = 0.3

State: TypeAlias = Literal["on", "refusing", "silent"]
Moment: TypeAlias = Literal["request", "answer"]

STATUSES: Final = {
    "500": b"500 Internal Server Error",
    "503": b"503 Slow Down",
    "429": b"429 Too Many Requests",
}
ALWAYS: Final = (
    *STATUSES,
    "cut",  # before the request arrives
    "lost",  # the request is done, and its answer never comes
)
CAME: Final = (  # in the middle of an answer's body
    "stall",
    "half",  # the connection is cut there
    "short",  # the answer ends there, and says that it does
    "flip",  # a wrong bit
)
SENT: Final = {"sent-stall": "stall", "sent-half": "half", "sent-flip": "flip"}  # a request's
FAULTS: Final = (*ALWAYS, *CAME, *SENT)


class Cut(Exception):
    """The connection is to end here."""


class Head(NamedTuple):
    """The head of a request or an answer."""

    start: str
    fields: dict[str, str]  # by names in small letters
    raw: bytes

    @classmethod
    def read(cls, reader: BufferedReader) -> Head:
        lines = []
        while (line := reader.readline(1 << 16)) not in {b"\r\n", b""}:
            lines.append(line)
        if not line:
            raise Cut
        fields = (one.decode("latin-1").partition(":") for one in lines[1:])
        return cls(
            lines[0].decode("latin-1").rstrip(),
            {name.strip().lower(): value.strip() for name, _, value in fields},
            b"".join(lines) + line,
        )

    @property
    def is_chunked(self) -> bool:
        return self.fields.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int:
        """Bytes of the body; 0 where only its end will say."""
        return int(self.fields.get("content-length", 0))

    def has_body(self) -> bool:
        """Say whether a body follows, if this is not the answer to HEAD."""
        return self.is_chunked or self.length > 0

    def of_length(self, length: int) -> bytes:
        return re.sub(rb"(?im)^(content-length:).*\r$", b"\\1 %d\r" % length, self.raw)


class End(NamedTuple):
    """One side's connection."""

    socket: socket.socket
    reader: BufferedReader


class Proxy:
    """Stands before *to*, a URL. A context manager."""

    def __init__(
        self,
        to: str,
        *,
        latency: float = 0.0,
        fail: float = 0.0,
        faults: tuple[str, ...] = FAULTS,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        """*latency*: seconds before each request goes on; *fail*: how many of 1 fail somehow."""
        parts = urlsplit(to)
        self._upstream = (parts.hostname, parts.port or 80)
        self.latency, self.fail, self.faults = latency, fail, faults
        self.requests: Counter[str] = Counter()  # by method
        self.failed: Counter[str] = Counter()  # by fault
        self.bytes: Counter[str] = Counter()  # of bodies: "sent" and "came"
        self.watch: Callable[[Moment], None] = lambda _: None  # before either goes on
        self._random = random.Random(seed)
        self._on, self._ended = Event(), Event()
        self._on.set()
        self._state: State = "on"
        self._open: set[socket.socket] = set()
        self._threads: list[Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def turn(self, state: State) -> None:
        """Be on; cut all connections, now and as they come; or take requests without a word."""
        self._state = state
        if state == "on":
            self._on.set()
            return
        self._on.clear()
        if state == "refusing":
            self._cut_all()

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._on.set()
        _cut(self._listener)
        self._cut_all()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _begin(self, work: object, *arguments: object) -> None:
        thread = Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _cut_all(self) -> None:
        for one in list(self._open):
            _cut(one)

    def _accept(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):
                client, _ = self._listener.accept()
                self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as undo, suppress(OSError, Cut):
            asked = self._end(client, undo)
            if self._state == "refusing":
                return
            passed = self._end(socket.create_connection(self._upstream), undo)
            while not self._ended.is_set():
                # Where upstream ends the connection, so does this: nothing is asked in vain.
                if passed.socket in select.select([client, passed.socket], [], [])[0]:
                    return
                self._exchange(asked, passed)

    def _end(self, one: socket.socket, undo: ExitStack) -> End:
        undo.enter_context(one)
        undo.callback(self._open.discard, one)
        self._open.add(one)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return End(one, undo.enter_context(one.makefile("rb", PIECE_BYTES)))

    def _exchange(self, client: End, upstream: End) -> None:
        """Pass one request on, and its answer back. Raises Cut, OSError."""
        request = Head.read(client.reader)
        method = request.start.partition(" ")[0]
        self.requests[method] += 1
        self.watch("request")
        if not self._on.is_set():
            self._on.wait()
            raise Cut
        self._ended.wait(self.latency)
        fault = self._draw(method, request)
        if fault == "cut":
            raise Cut
        if fault in STATUSES:
            for piece in _pieces(client.reader, request):
                self.bytes["sent"] += len(piece)
            client.socket.sendall(
                b"HTTP/1.1 %b\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n" % STATUSES[fault]
            )
            return
        upstream.socket.sendall(request.raw)
        if request.has_body():
            at = self._random.randrange(request.length or 1)
            self._copy("sent", request, client, upstream, SENT.get(fault, ""), at)
        answer = Head.read(upstream.reader)
        while answer.start.split()[1].startswith("1"):
            answer = Head.read(upstream.reader)
        self.watch("answer")
        if fault == "lost":
            raise Cut
        fault = fault if fault in CAME else ""
        at = self._random.randrange(answer.length or 1)
        client.socket.sendall(answer.of_length(at) if fault == "short" else answer.raw)
        if method != "HEAD" and answer.has_body():
            self._copy("came", answer, upstream, client, fault, at)
        if answer.fields.get("connection", "").lower() == "close":
            raise Cut

    def _draw(self, method: str, request: Head) -> str:
        """Return a fault that can happen to a request; "" for most."""
        if self._random.random() >= self.fail:
            return ""
        possible = {*ALWAYS, *(SENT if request.has_body() else ())}
        possible |= set(CAME) if method == "GET" else set()
        chosen = [one for one in self.faults if one in possible]
        fault = self._random.choice(chosen) if chosen else ""
        self.failed[fault] += bool(fault)
        return fault

    def _copy(self, way: str, head: Head, source: End, sink: End, fault: str, at: int) -> None:
        """Pass a body on, with a fault at byte *at*. Raises Cut, OSError."""
        done = 0
        for piece in _pieces(source.reader, head):
            here = fault and done <= at < done + len(piece)
            sent = self._spoilt(piece, at - done, fault) if here else piece
            if sent:  # an empty chunk would be the end
                sink.socket.sendall(_framed(head, sent))
            self.bytes[way] += len(sent)
            done += len(piece)
            if here and fault in {"half", "short"}:
                if fault == "short" and head.is_chunked:
                    sink.socket.sendall(_framed(head, b""))
                raise Cut
        if head.is_chunked:
            sink.socket.sendall(_framed(head, b""))

    def _spoilt(self, piece: bytes, at: int, fault: str) -> bytes:
        if fault == "stall":
            self._ended.wait(STALL_SECONDS)
            return piece
        if fault == "flip":
            wrong = piece[at] ^ 1 << self._random.randrange(8)
            return piece[:at] + bytes([wrong]) + piece[at + 1 :]
        return piece[:at]


def _pieces(reader: BufferedReader, head: Head) -> Iterator[bytes]:
    """Yield a body. Raises Cut when it ends early."""
    if not head.is_chunked:
        yield from _exactly(reader, head.length)
        return
    while size := int(reader.readline().partition(b";")[0] or b"0", 16):
        yield from _exactly(reader, size)
        reader.readline()
    while reader.readline().strip():
        pass  # what may come behind the last chunk


def _exactly(reader: BufferedReader, length: int) -> Iterator[bytes]:
    while length:
        piece = reader.read1(min(length, PIECE_BYTES))
        if not piece:
            raise Cut
        length -= len(piece)
        yield piece


def _framed(head: Head, piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if head.is_chunked else piece


def _cut(one: socket.socket) -> None:
    """End a connection, also for a thread that waits for it."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.proxy")
    parser.add_argument("--to", required=True, metavar="URL")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--fail", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--faults", type=lambda text: tuple(text.split(",")), default=FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    with Proxy(**vars(parser.parse_args())) as proxy:
        print(proxy.url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        print(json.dumps({"requests": proxy.requests, "failed": proxy.failed} | proxy.bytes))


if __name__ == "__main__":
    main()
