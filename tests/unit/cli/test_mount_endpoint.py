"""A remote at a service of one's own is mounted by its URL, without a store that knows it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMAND

pytest.importorskip("obstore")


class Empty(BaseHTTPRequestHandler):
    """A service with nothing in it, which notes what it is asked for."""

    asked: tuple[str, ...] = ()

    def do_GET(self) -> None:
        type(self).asked += (self.path,)
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_service_is_asked(endpoint: str, tmp_path: Path) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    options = ["--remote", "s3://bucket/data", "--endpoint", endpoint, "--cache", tmp_path / "c"]
    done = subprocess.run(
        [*COMMAND, "mount", *options, "data", tmp_path],
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no vfs remote" in done.stderr
    assert any(path.startswith("/bucket/data/") for path in Empty.asked)
