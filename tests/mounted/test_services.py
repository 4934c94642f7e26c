"""Mounts as services: what systemd is told, and units as docs/containers.md has them."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import COMMAND, Hub, a_hub
from tests.support.mounting import ROOT

UNITS = Path(ROOT, "docs", "containers.md")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as hub:
        source = tmp_path / "source"
        source.mkdir()
        (source / "file").write_text("v1")
        hub.import_(source, "v1")
        yield hub


@pytest.mark.mounted
@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
@pytest.mark.parametrize("what", ["data@v1", "data@main", ""], ids=["version", "branch", "hub"])
def test_the_service_manager_is_told(
    hub: Hub, tmp_path: Path, what: str, abstract: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{'@' if abstract else ''}{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        command = [*COMMAND, "--store", hub.store, "mount", "-f", *filter(None, [what])]
        command.append(hub.mountpoint)
        with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE) as daemon:
            assert manager.recv(100) == b"READY=1"
            file = hub.mountpoint / ("file" if what else "data@v1/file")
            assert file.read_text() == "v1"
            daemon.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            daemon.communicate(timeout=30)
            assert daemon.returncode == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@pytest.mark.mounted
def test_a_daemon_in_the_background_is_not_the_service(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/notify")
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        hub.mount("data@v1")
        hub.unmount()
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_units_of_the_documentation(tmp_path: Path) -> None:
    program = tmp_path / "vfs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = re.findall(
        r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", UNITS.read_text(), re.DOTALL
    )
    assert {name for name, _ in units} == {"vfs.service", "vfs-volumes.service"}
    for name, text in units:
        (tmp_path / name).write_text(text.replace("/opt/vfs/bin/vfs", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name, _ in units)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
