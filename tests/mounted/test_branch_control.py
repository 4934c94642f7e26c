"""What is asked of a branch's process through its socket: by commands, and by anybody else."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.branches import happens_soon, is_served, opened, owner
from tests.support.hub import Hub, a_hub
from tests.support.mounting import wait_for_end
from vfs.daemon import branches, owners, sockets
from vfs.errors import MountProblem, NotFound
from vfs.fuse import control_server
from vfs.fuse.messages import LINE_MAX_BYTES

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub, mounted, with the branch main."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("one")
    (source / "other").write_text("other")
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        made.mount()
        yield made


def test_a_checkpoint_holds_what_the_kernel_had_not_written_back(hub: Hub) -> None:
    with opened(hub["main"] / "file") as fd:
        os.write(fd, b"two")  # into the page cache, and no further
        assert branches.checkpoint(hub.store, "data", "main") is not None
        os.kill(owner(hub, "main"), signal.SIGKILL)
    happens_soon(lambda: is_served(hub, "main"))
    assert (hub["main"] / "file").read_text() == "two"


def test_nobody_serves_it(hub: Hub) -> None:
    assert branches.info(hub.store, "data", "main") == owners.Owner(
        owner(hub, "main"), str(hub["main"])
    )
    hub.unmount()
    assert branches.checkpoint(hub.store, "data", "main") is None
    assert not branches.discard(hub.store, "data", "main")
    assert branches.info(hub.store, "data", "main") is None


def test_all_is_discarded_and_the_branch_mounted_anew(hub: Hub) -> None:
    with opened(hub["main"] / "file") as fd:
        os.write(fd, b"two")
        (hub["main"] / "new").touch()
        assert branches.discard(hub.store, "data", "main")
    happens_soon(lambda: is_served(hub, "main"))
    assert sorted(os.listdir(hub["main"])) == ["file", "other"]
    assert (hub["main"] / "file").read_text() == "one"


def test_single_paths_are_discarded_in_place(hub: Hub) -> None:
    pid = owner(hub, "main")
    for name in ("file", "other", "new"):
        (hub["main"] / name).write_text("changed")
    with (hub["main"] / "file").open() as held:
        assert branches.discard(hub.store, "data", "main", [(b"file",), (b"new",)])
        assert held.read() == "changed"  # as of a file that git puts back
    assert (hub["main"] / "file").read_text() == "one"
    assert (hub["main"] / "other").read_text() == "changed"
    assert not (hub["main"] / "new").exists()
    assert owner(hub, "main") == pid
    with pytest.raises(NotFound):
        branches.discard(hub.store, "data", "main", [(b"nothing", b"there")])


def test_stopped_it_comes_back_in_a_hub_and_has_stored_all(hub: Hub) -> None:
    (hub["main"] / "file").write_text("two")
    pid = owner(hub, "main")
    assert branches.stop(hub.store, "data", "main")
    wait_for_end(pid)
    assert hub.vfs("status", "data").stdout.split() == ["M", "file"]


HOSTILE = [
    b"",
    b"\n",
    b"{\n",
    b"[" * 100_000 + b"\n",
    b"null\n",
    b'{"do": "explode"}\n',
    b'{"do": ["stop"]}\n',
    b'{"do": "discard", "paths": "file"}\n',
    b'{"do": "discard", "paths": [1]}\n',
    b'{"do": "discard", "paths": [""]}\n',
    b'{"do": "discard", "paths": ["../../etc/passwd"]}\n',
    b'{"do": "discard", "paths": ["/file"]}\n',
    b'{"do": "discard", "paths": ["\\ud800"]}\n',
    b'{"do": "discard", "paths": ["' + b"x" * 256 + b'"]}\n',
    os.urandom(5000).replace(b"\n", b"") + b"\n",
    b"x" * (LINE_MAX_BYTES + 1),
    b'{"do": "checkpoint"',
]


def test_nonsense_is_refused_and_harms_nobody(hub: Hub) -> None:
    (hub["main"] / "file").write_text("two")
    pid = owner(hub, "main")
    for line in HOSTILE:
        answer = _put(hub, line)
        assert not answer or "error" in json.loads(answer), line
        assert (hub["main"] / "file").read_text() == "two"
        assert owner(hub, "main") == pid
    assert branches.checkpoint(hub.store, "data", "main") is not None
    assert "Traceback" not in hub.log


def _put(hub: Hub, line: bytes) -> bytes:
    with sockets.connect(hub.store, owners.socket_name("data", "main"), 10) as connection:
        try:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            return sockets.read_line(connection, LINE_MAX_BYTES)
        except (BrokenPipeError, ConnectionResetError):  # it had enough of it
            return b""


def test_who_says_nothing_keeps_nobody_waiting(hub: Hub) -> None:
    name = owners.socket_name("data", "main")
    silent = [
        sockets.connect(hub.store, name, 10) for _ in range(control_server.CONNECTIONS_MAX - 1)
    ]
    try:
        assert branches.checkpoint(hub.store, "data", "main", timeout=5) is not None
    finally:
        for connection in silent:
            connection.close()


def test_a_process_that_does_not_answer(hub: Hub) -> None:
    pid = owner(hub, "main")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(MountProblem, match=f"process {pid}, which serves 'data@main'"):
            branches.checkpoint(hub.store, "data", "main", timeout=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert branches.checkpoint(hub.store, "data", "main") is not None


def test_the_socket_is_for_its_owner_alone(hub: Hub) -> None:
    for path in (hub.store / "run").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert (hub.store / "run").stat().st_mode & 0o077 == 0
