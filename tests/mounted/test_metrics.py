"""What mounts count: `vfs metrics` and `vfs top` on real mounts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import COMMAND, Hub, a_hub
from tests.support.mounting import ROOT, wait_until

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as hub:
        source = tmp_path / "source"
        source.mkdir()
        (source / "file").write_bytes(b"x" * 10_000)
        hub.import_(source, "v1")
        hub.mount("--workers", 2)
        yield hub
        hub.unmount()
        assert list((hub.store / "run").glob("*.counters")) == []


def sample(hub: Hub, name: str, mountpoint: Path, **labels: str) -> float:
    """Return one figure of `vfs metrics`."""
    wanted = [f'mountpoint="{mountpoint}"', *(f'{key}="{value}"' for key, value in labels.items())]
    for line in hub.vfs("metrics").stdout.splitlines():
        if line.startswith(f"{name}{{") and all(label in line for label in wanted):
            return float(line.rpartition(" ")[2])
    return -1


def test_a_hub_counts_and_its_branch(hub: Hub) -> None:
    for _ in range(2):  # the second is answered by the page cache
        assert len((hub["v1"] / "file").read_bytes()) == 10_000
    assert sample(hub, "vfs_mount_up", hub.mountpoint, shows="all") == 1
    assert sample(hub, "vfs_read_bytes_total", hub.mountpoint) == 10_000
    duration = "vfs_request_duration_seconds"
    assert sample(hub, f"{duration}_count", hub.mountpoint, kind="read") == 1
    assert sample(hub, f"{duration}_bucket", hub.mountpoint, kind="read", le="+Inf") == 1
    assert sample(hub, f"{duration}_sum", hub.mountpoint, kind="read") > 0

    assert 0 < sample(hub, "vfs_stored_bytes_read_total", hub.mountpoint) < 10_000  # compressed
    assert sample(hub, "vfs_segment_cache_misses_total", hub.mountpoint) > 0
    assert sample(hub, "vfs_node_cache_misses_total", hub.mountpoint) > 0
    assert sample(hub, "vfs_fetches_total", hub.mountpoint) == 0

    main = hub["main"]
    with (main / "new").open("wb") as file:
        file.write(b"y" * 5000)
        file.flush()
        os.fsync(file.fileno())
    assert sample(hub, "vfs_written_bytes_total", main) == 5000
    assert sample(hub, "vfs_checkpoints_total", main) >= 1
    assert sample(hub, "vfs_dirty_bytes", main) == 0
    assert sample(hub, f"{duration}_count", main, kind="create") == 1


def test_what_is_looked_up_again_was_decoded(hub: Hub) -> None:
    hits = "vfs_node_cache_hits_total"
    for number in range(8):  # with two workers, one of them meets the same tree again
        assert not (hub["v1"] / f"missing-{number}").exists()
    assert sample(hub, hits, hub.mountpoint) > 0


def test_a_worker_that_takes_anothers_place_goes_on_counting(hub: Hub) -> None:
    assert len((hub["v1"] / "file").read_bytes()) == 10_000
    assert sample(hub, "vfs_restarts_total", hub.mountpoint) == 0
    before = hub.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: sample(hub, "vfs_restarts_total", hub.mountpoint) == 1)
    assert sample(hub, "vfs_read_bytes_total", hub.mountpoint) == 10_000


def test_top(hub: Hub) -> None:
    said = hub.vfs("top", "--once", "--interval", "0.1").stdout
    assert said.startswith("MOUNTPOINT")
    assert str(hub.mountpoint) in said
    rows = json.loads(hub.vfs("top", "--once", "--json", "--interval", "0.1").stdout)
    row = next(row for row in rows if row["mountpoint"] == str(hub.mountpoint))
    assert row["dirty_bytes"] == row["restarts"] == 0


@pytest.mark.parametrize("where", ["port", "socket"])
def test_prometheus_asks(hub: Hub, tmp_path: Path, where: str) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = str(port) if where == "port" else str(path)
    command = [*COMMAND, "--store", str(hub.store), "metrics", "--listen", listen]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert server.stderr.readline().startswith("metrics on ")
        for target, status in (("/metrics", 200), ("/", 404)):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            if where == "socket":
                client.sock = socket.socket(socket.AF_UNIX)
                client.sock.connect(str(path))
            client.request("GET", target)
            with client.getresponse() as response:
                assert response.status == status
                assert (b"vfs_mount_up{" in response.read()) == (status == 200)
            client.close()
        if where == "socket":
            assert "listens at" in hub.vfs("metrics", "--listen", path, check=False).stderr
        server.send_signal(signal.SIGINT)
        try:
            server.communicate(timeout=30)
        finally:
            server.kill()
        assert server.returncode == 130
    assert not path.exists()
