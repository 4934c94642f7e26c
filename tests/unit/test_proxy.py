"""The proxy that fails on purpose: what it passes on is right, and its faults happen."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.proxy import FAULTS, SENT, STATUSES, Proxy

DATA = bytes(range(256)) * 400


class Echo(BaseHTTPRequestHandler):
    """Answers with a body that it was sent, or else with DATA; in chunks if asked to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or DATA
        self.send_response(200)
        self.send_header("X-Host", self.headers["Host"])
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 10_000):
                part = body[at : at + 10_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_PUT = do_GET  # noqa: N815 - as http.server names it

    def log_message(self, *_: object) -> None:
        pass


class EchoServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that the proxy cut."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = EchoServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(proxy: Proxy, method: str = "GET", path: str = "/", body: bytes = b"") -> tuple[int, bytes]:
    line = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
    try:
        line.request(method, path, body)
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def test_what_goes_through_is_unchanged_on_one_connection(echo: str) -> None:
    with Proxy(echo) as proxy:
        line = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
        for path in ("/", "/chunked"):
            line.request("PUT", path, DATA[:99_999])
            answer = line.getresponse()
            assert answer.read() == DATA[:99_999]
            assert answer.headers["X-Host"] == proxy.url.removeprefix("http://")
        line.close()
        assert proxy.requests == {"PUT": 2}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_each_fault_happens(echo: str, fault: str, path: str) -> None:
    with Proxy(echo, fail=1, faults=(fault,)) as proxy:
        sends = fault in SENT
        try:
            outcome: object = ask(proxy, "PUT" if sends else "GET", path, DATA if sends else b"")
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error)
        assert proxy.failed == {fault: 1}
    match outcome:
        case (200, bytes(came)):
            changed = sum(one != other for one, other in zip(came, DATA, strict=False))
            found = {(len(DATA), 0): "stall", (len(DATA), 1): "flip"}.get((len(came), changed))
            assert fault.removeprefix("sent-") == (found or "short")
        case (int(status), bytes()):
            assert fault == str(status)
        case _:
            assert fault not in {*STATUSES, "stall", "flip", "short"}


def test_what_fails_before_it_arrives_is_not_passed_on_and_what_is_lost_is(echo: str) -> None:
    for faults, arrive in (((*STATUSES, "cut"), False), (("lost",), True)):
        moments: list[str] = []
        with Proxy(echo, fail=1, faults=faults, seed=3) as proxy:
            proxy.watch = moments.append
            for _ in range(20):
                with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
                    assert ask(proxy)[0] == 200
        assert moments == (["request", "answer"] if arrive else ["request"]) * 20


def test_it_is_turned_off_and_on(echo: str) -> None:
    with Proxy(echo) as proxy:
        proxy.turn("refusing")
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(proxy)
        proxy.turn("silent")
        line = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=0.2)
        line.request("GET", "/")
        with pytest.raises(TimeoutError):
            line.getresponse()
        line.close()
        proxy.turn("on")
        assert ask(proxy) == (200, DATA)
