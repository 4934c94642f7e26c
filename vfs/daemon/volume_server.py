"""The volume plugin protocol of Docker, which Podman speaks, too: JSON over HTTP on a Unix socket.

https://docs.docker.com/engine/extend/plugins_volume/. One request at a time, and a connection for
each: runtimes keep connections open otherwise, and would wait for each other.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any, Final

from vfs.daemon import notify, sockets
from vfs.daemon.volumes import Volumes
from vfs.errors import InvalidInput, NotFound, VfsError

log = logging.getLogger(__name__)

BODY_MAX_BYTES: Final = 64 * 1024
REQUEST_SECONDS: Final = 10.0
TEXT_MAX: Final = 1024
CONTENT_TYPE: Final = "application/vnd.docker.plugins.v1.2+json"

Request = Mapping[str, Any]
Answer = dict[str, Any]
Check = Callable[[str], str]
"""Return the name of a version as it is kept. Raises VfsError where there is none."""


class Driver:
    """Answers the requests of the protocol. Each call raises VfsError."""

    def __init__(self, volumes: Volumes, check: Check) -> None:
        self._volumes = volumes
        self._check = check
        self.calls: Final[Mapping[str, Callable[[Request], Answer]]] = {
            "/Plugin.Activate": self._activate,
            "/VolumeDriver.Capabilities": self._capabilities,
            "/VolumeDriver.Create": self._create,
            "/VolumeDriver.Remove": self._remove,
            "/VolumeDriver.Mount": self._mount,
            "/VolumeDriver.Unmount": self._unmount,
            "/VolumeDriver.Path": self._path,
            "/VolumeDriver.Get": self._get,
            "/VolumeDriver.List": self._list,
        }

    def _activate(self, request: Request) -> Answer:
        return {"Implements": ["VolumeDriver"]}

    def _capabilities(self, request: Request) -> Answer:
        return {"Capabilities": {"Scope": "local"}}

    def _create(self, request: Request) -> Answer:
        options = request.get("Opts") or {}
        if not isinstance(options, dict):
            raise InvalidInput("the options are no object")
        unknown = sorted(set(options) - {"rev", "ro"})
        if unknown:
            raise InvalidInput(f"unknown option '{unknown[0][:TEXT_MAX]}'; known are: rev, ro")
        if "rev" not in options:
            raise InvalidInput("no version is given; say -o rev=data@v3")
        read_only = "ro" in options and _text(options, "ro") not in ("false", "0")
        rev = self._check(_text(options, "rev"))
        self._volumes.create(_text(request, "Name"), rev, read_only=read_only)
        return {}

    def _remove(self, request: Request) -> Answer:
        self._volumes.remove(_text(request, "Name"))
        return {}

    def _mount(self, request: Request) -> Answer:
        place = self._volumes.mount(_text(request, "Name"), _text(request, "ID"))
        return {"Mountpoint": str(place)}

    def _unmount(self, request: Request) -> Answer:
        self._volumes.unmount(_text(request, "Name"), _text(request, "ID"))
        return {}

    def _path(self, request: Request) -> Answer:
        return {"Mountpoint": self._mountpoint(_text(request, "Name"))}

    def _get(self, request: Request) -> Answer:
        volume = self._volumes.get(_text(request, "Name"))
        status = {"rev": volume.rev, "users": len(volume.users)}
        return {"Volume": {**self._listed(volume.name), "Status": status}}

    def _list(self, request: Request) -> Answer:
        return {"Volumes": [self._listed(name) for name in self._volumes.names()]}

    def _listed(self, name: str) -> Answer:
        return {"Name": name, "Mountpoint": self._mountpoint(name)}

    def _mountpoint(self, name: str) -> str:
        return str(self._volumes.mountpoint(name) or "")


class _Server(UnixStreamServer):
    request_queue_size = 64

    def __init__(self, path: Path, driver: Driver) -> None:
        self.driver = driver
        super().__init__(str(path), _Handler)

    def server_bind(self) -> None:
        before = os.umask(0o177)  # at no moment is anybody else let in
        try:
            super().server_bind()
        finally:
            os.umask(before)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a request failed: %s", sys.exc_info()[1])  # such as of a client that went away


def _text(request: Request, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX or not value.isprintable():
        raise InvalidInput(f"'{name}' is missing, or no text of at most {TEXT_MAX} characters")
    return value


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    wbufsize = -1  # one packet: Podman closes its end when it has seen the first line
    server: _Server

    def do_POST(self) -> None:
        call = self.server.driver.calls.get(self.path)
        if call is None:
            self._send(HTTPStatus.NOT_FOUND, {"Err": "the protocol has no such request"})
            return
        try:
            answer = call(self._request())
        except InvalidInput as exc:
            self._send(HTTPStatus.BAD_REQUEST, {"Err": str(exc)})
        except (VfsError, OSError) as exc:
            level = logging.INFO if isinstance(exc, NotFound) else logging.WARNING
            log.log(level, "%s: %s", self.path, exc)
            hint = f"; {exc.hint}" if isinstance(exc, VfsError) and exc.hint else ""
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"Err": f"{exc}{hint}"})
        else:
            self._send(HTTPStatus.OK, {**answer, "Err": ""})

    def _request(self) -> Request:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or not length.isascii() or "Transfer-Encoding" in self.headers:
            raise InvalidInput("the length of the request is not given")
        if len(length) > 9 or int(length) > BODY_MAX_BYTES:
            raise InvalidInput(f"a request has {BODY_MAX_BYTES} bytes at most")
        try:
            request = json.loads(self.rfile.read(int(length)) or b"{}")
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            raise InvalidInput("the request is no JSON object")
        return request

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        log.debug(format, *args)


def serve(path: Path, volumes: Volumes, check: Check, ready: Callable[[], None]) -> None:
    """Serve on the socket *path* until SIGTERM or SIGINT. Raises Conflict, OSError."""
    sockets.clear_left(path)
    with _Server(path, Driver(volumes, check)) as server:
        try:
            with _ended_by_signals(server):
                ready()
                server.serve_forever()
                notify.tell(notify.STOPPING)
        finally:
            with suppress(OSError):
                path.unlink()


@contextmanager
def _ended_by_signals(server: _Server) -> Iterator[None]:
    def end(*_: object) -> None:
        # In a thread, as it waits for the loop that this interrupts.
        threading.Thread(target=server.shutdown).start()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
