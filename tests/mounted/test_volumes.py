"""The volume plugin: the protocol over real HTTP, real mounts, and Podman where it is installed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMAND, Hub, a_hub_of_two
from tests.support.mounting import ROOT, lazy_unmount, wait_until
from vfs.daemon import mounts, registry

pytestmark = pytest.mark.mounted


@dataclass
class Plugin:
    """A plugin that serves the store of *hub*."""

    hub: Hub
    socket: Path
    places: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        where = ["--socket", self.socket, "--mounts", self.places]
        command = [*COMMAND, "--store", self.hub.store, "volume-plugin", *where]
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert said.startswith("volumes of "), said + self.process.stderr.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def raw(self, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("plugin", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        with suppress(BrokenPipeError):  # it need not read all of what it refuses
            connection.request("POST", path, body, headers)
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def call(self, method: str, **request: Any) -> Any:
        """Ask, and return what is answered beside `Err`, which must be empty."""
        status, answer = self.raw(f"/VolumeDriver.{method}", json.dumps(request).encode())
        assert (status, answer.pop("Err")) == (200, ""), answer
        return answer

    def refusal(self, method: str, **request: Any) -> str:
        status, answer = self.raw(f"/VolumeDriver.{method}", json.dumps(request).encode())
        assert status in (400, 500)
        return str(answer["Err"])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub_of_two(tmp_path) as hub:
        yield hub


@pytest.fixture
def plugin(hub: Hub, tmp_path: Path) -> Iterator[Plugin]:
    plugin = Plugin(hub, tmp_path / "vfs.sock", tmp_path / "volumes")
    with ExitStack() as undo:
        undo.callback(end_mounts, plugin)
        undo.callback(plugin.end, signal.SIGKILL)
        plugin.start()
        yield plugin


def end_mounts(plugin: Plugin) -> None:
    for place in plugin.places.glob("*") if plugin.places.exists() else ():
        lazy_unmount(place)
        record = registry.find(plugin.hub.store, str(place))
        if record is not None:
            os.kill(record.pid, signal.SIGTERM)
            wait_until(lambda place=place: registry.find(plugin.hub.store, str(place)) is None)


def test_the_protocol(plugin: Plugin) -> None:
    assert plugin.raw("/Plugin.Activate", b"") == (200, {"Implements": ["VolumeDriver"], "Err": ""})
    assert plugin.call("Capabilities") == {"Capabilities": {"Scope": "local"}}
    assert plugin.call("List") == {"Volumes": []}
    plugin.call("Create", Name="old", Opts={"rev": "data@v1"})
    plugin.call("Create", Name="old", Opts={"rev": "data@v1"})
    assert plugin.call("List") == {"Volumes": [{"Name": "old", "Mountpoint": ""}]}
    assert plugin.call("Path", Name="old") == {"Mountpoint": ""}

    place = Path(plugin.call("Mount", Name="old", ID="one")["Mountpoint"])
    assert (place / "file").read_text() == "v1"
    with pytest.raises(OSError, match="Read-only"):
        (place / "file").write_text("x")
    assert plugin.call("Mount", Name="old", ID="two") == {"Mountpoint": str(place)}
    volume = plugin.call("Get", Name="old")["Volume"]
    assert volume == {
        "Name": "old",
        "Mountpoint": str(place),
        "Status": {"rev": "data@v1", "users": 2},
    }
    assert "in use" in plugin.refusal("Remove", Name="old")
    plugin.call("Unmount", Name="old", ID="one")
    plugin.call("Unmount", Name="old", ID="one")
    assert (place / "file").read_text() == "v1"
    plugin.call("Unmount", Name="old", ID="two")
    assert not place.exists()
    plugin.call("Remove", Name="old")
    assert "no volume" in plugin.refusal("Get", Name="old")


def test_a_branch_is_written_to_and_committed(plugin: Plugin) -> None:
    plugin.call("Create", Name="work", Opts={"rev": "data@main"})
    place = Path(plugin.call("Mount", Name="work", ID="one")["Mountpoint"])
    (place / "file").write_text("v3")
    plugin.call("Unmount", Name="work", ID="one")
    plugin.hub.vfs("commit", "data@main", "-m", "from a container")
    assert plugin.hub.vfs("cat", "data@main:file").stdout == "v3"


def test_started_again_it_knows_who_uses_what(plugin: Plugin) -> None:
    plugin.call("Create", Name="old", Opts={"rev": "data@v1"})
    plugin.call("Create", Name="unused", Opts={"rev": "data@main", "ro": "true"})
    place = Path(plugin.call("Mount", Name="old", ID="one")["Mountpoint"])
    plugin.end(signal.SIGKILL)
    assert (place / "file").read_text() == "v1"
    plugin.start()
    assert plugin.call("Path", Name="old") == {"Mountpoint": str(place)}
    assert plugin.call("Get", Name="old")["Volume"]["Status"]["users"] == 1

    daemon = registry.find(plugin.hub.store, str(place))
    assert daemon is not None
    os.kill(daemon.pid, signal.SIGKILL)  # what is left is a dead mount
    wait_until(lambda: registry.find(plugin.hub.store, str(place)) is None)
    assert plugin.call("Path", Name="old") == {"Mountpoint": ""}
    plugin.call("Mount", Name="old", ID="two")
    assert (place / "file").read_text() == "v1"
    for user in ("one", "two"):
        plugin.call("Unmount", Name="old", ID=user)
    assert mounts.mount_at(place) is None
    assert plugin.end() == 0
    assert not plugin.socket.exists()


def test_users_of_before_a_boot_are_gone(plugin: Plugin) -> None:
    plugin.call("Create", Name="old", Opts={"rev": "data@v1"})
    plugin.call("Mount", Name="old", ID="one")
    plugin.end()
    state = plugin.hub.store / "run" / "volumes.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "boot": "another"}))
    plugin.start()
    assert plugin.call("Get", Name="old")["Volume"]["Status"]["users"] == 0
    plugin.call("Remove", Name="old")


def test_a_mount_that_fails_has_no_user(plugin: Plugin) -> None:
    plugin.call("Create", Name="gone", Opts={"rev": "data@v1"})
    plugin.hub.vfs("tag", "data", "--delete", "v1")
    assert "no revision 'v1'" in plugin.refusal("Mount", Name="gone", ID="one")
    plugin.call("Remove", Name="gone")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"Name": "x"}, "rev=data@v3"),
        ({"Name": "x", "Opts": {"rev": "data@v9"}}, "no revision 'v9'"),
        ({"Name": "x", "Opts": {"rev": "dta"}}, "dta"),
        ({"Name": "x", "Opts": {"rev": "data@v1:sub"}}, "a whole version"),
        ({"Name": "x", "Opts": {"rev": "--help"}}, "can't name"),
        ({"Name": "x", "Opts": {"rev": ["data"]}}, "no text"),
        ({"Name": "x", "Opts": {"rev": "data", "size": "1"}}, "unknown option 'size'"),
        ({"Name": "x", "Opts": [1]}, "no object"),
        ({"Name": "../x", "Opts": {"rev": "data"}}, "can't name a volume"),
        ({"Name": ".x", "Opts": {"rev": "data"}}, "can't name a volume"),
        ({"Name": "x" * 2000, "Opts": {"rev": "data"}}, "no text"),
        ({"Name": "x\0", "Opts": {"rev": "data"}}, "no text"),
        ({"Opts": {"rev": "data"}}, "'Name' is missing"),
    ],
)
def test_what_cannot_be_created(plugin: Plugin, request_: dict[str, Any], says: str) -> None:
    assert says in plugin.refusal("Create", **request_)
    assert plugin.call("List") == {"Volumes": []}


def test_hostile_requests(plugin: Plugin) -> None:
    nested = b"[" * 60_000
    for body in (b"{", b"[]", b"\xff", nested, b" " * 70_000):
        assert plugin.raw("/VolumeDriver.List", body)[0] == 400
    assert plugin.raw("/VolumeDriver.List", b"", **{"Content-Length": "-1"})[0] == 400
    assert plugin.raw("/VolumeDriver.List", b"", **{"Content-Length": "9" * 5000})[0] == 400
    assert plugin.raw("/VolumeDriver.Format", b"")[0] == 404
    with socket.socket(socket.AF_UNIX) as gone:  # in the middle of a request
        gone.connect(str(plugin.socket))
        gone.sendall(b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
    assert plugin.call("List") == {"Volumes": []}


def test_one_plugin_serves_a_store_and_a_socket(plugin: Plugin, tmp_path: Path) -> None:
    other = tmp_path / "other.sock"
    refused = plugin.hub.vfs("volume-plugin", "--socket", other, check=False)
    assert (refused.returncode, refused.stderr.split()[1]) == (1, "process")
    store = tmp_path / "another"
    plugin.hub.vfs("init", store)
    command = ["volume-plugin", "--store", store, "--socket", plugin.socket]
    assert "listens at" in plugin.hub.vfs(*command, check=False).stderr
    assert plugin.socket.stat().st_mode & 0o777 == 0o600
