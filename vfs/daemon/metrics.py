"""What all mounts have counted, as Prometheus reads it: as text, and over HTTP on this machine.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import accumulate
from pathlib import Path
from socketserver import BaseServer, UnixStreamServer
from typing import Any, Final

from vfs.daemon import counting, sockets
from vfs.daemon.control import MountInfo, list_mounts
from vfs.fuse.counters import LIMITS_SECONDS, Requests, Totals

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LOOPBACK: Final = "127.0.0.1"
REQUEST_SECONDS: Final = 10.0

_HISTOGRAM: Final = "vfs_request_duration_seconds"
_NUMBERS: Final[tuple[tuple[str, str, str, Callable[[Totals], int]], ...]] = (
    ("vfs_read_bytes_total", "counter", "Bytes that were read.", lambda t: t.bytes_read),
    ("vfs_written_bytes_total", "counter", "Bytes that were written.", lambda t: t.bytes_written),
    ("vfs_dirty_bytes", "gauge", "Bytes written and not stored yet.", lambda t: t.dirty_bytes),
    ("vfs_checkpoints_total", "counter", "Checkpoints of branches.", lambda t: t.checkpoints),
    ("vfs_node_cache_hits_total", "counter", "Tree nodes found decoded.", lambda t: t.node_hits),
    ("vfs_node_cache_misses_total", "counter", "Tree nodes decoded.", lambda t: t.node_misses),
    (
        "vfs_segment_cache_hits_total",
        "counter",
        "Segments found decompressed.",
        lambda t: t.segment_hits,
    ),
    (
        "vfs_segment_cache_misses_total",
        "counter",
        "Segments decompressed.",
        lambda t: t.segment_misses,
    ),
    (
        "vfs_stored_bytes_read_total",
        "counter",
        "Bytes read from the store, as stored.",
        lambda t: t.stored_bytes,
    ),
    ("vfs_fetches_total", "counter", "Times that a remote was asked.", lambda t: t.fetches),
    (
        "vfs_restarts_total",
        "counter",
        "Processes that died and were replaced.",
        lambda t: t.restarts,
    ),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """A mount and what it has counted; None where that can't be seen."""

    mount: MountInfo
    totals: Totals | None


def collect() -> list[Counted]:
    """Return all mounts that this process can see."""
    return [
        Counted(info, None if info.pid is None else counting.read(info.store, str(info.mountpoint)))
        for info in list_mounts()
    ]


def prometheus(counted: Iterable[Counted]) -> str:
    """Return the text of one scrape."""
    mounts = list(counted)
    lines = _head("vfs_mount_up", "gauge", "Whether the mount's daemon lives.")
    lines += [
        f"vfs_mount_up{{{_labels(each.mount)}}} {int(each.mount.state == 'ok')}" for each in mounts
    ]
    known = [(_labels(each.mount), each.totals) for each in mounts if each.totals is not None]
    for name, kind, what, number in _NUMBERS:
        lines += _head(name, kind, what)
        lines += [f"{name}{{{labels}}} {number(totals)}" for labels, totals in known]
    lines += _head(_HISTOGRAM, "histogram", "Requests of the kernel, by kind.")
    for labels, totals in known:
        for requests in totals.requests:
            lines += _histogram(f'{labels},kind="{requests.kind}"', requests)
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _histogram(labels: str, requests: Requests) -> Iterator[str]:
    limits = [*map(str, LIMITS_SECONDS), "+Inf"]
    for limit, count in zip(limits, accumulate(requests.buckets), strict=True):
        yield f'{_HISTOGRAM}_bucket{{{labels},le="{limit}"}} {count}'
    yield f"{_HISTOGRAM}_sum{{{labels}}} {requests.seconds}"
    yield f"{_HISTOGRAM}_count{{{labels}}} {requests.count}"


def _labels(mount: MountInfo) -> str:
    shows = "?" if mount.pid is None else mount.target or "all"
    facts = (("mountpoint", mount.mountpoint), ("store", mount.store), ("shows", shows))
    return ",".join(f'{name}="{_escape(str(value))}"' for name, value in facts)


def _escape(value: str) -> str:
    text = os.fsencode(value).decode(errors="replace")
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = prometheus(collect()).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a client"  # that of a Unix socket has no address

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing: scrapes come every few seconds."""


def server(where: int | Path) -> BaseServer:
    """Return what serves /metrics: on a port of the loopback address, or on a socket.

    The socket lets in whom its directory and the umask let in. Raises OSError, and Conflict
    where another process listens there.
    """
    if isinstance(where, int):
        return HTTPServer((LOOPBACK, where), _Handler)
    sockets.clear_left(where)
    return UnixStreamServer(str(where), _Handler)
