"""Who serves a branch: one process, until it ends however it ends."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vfs.daemon import owners, sockets
from vfs.daemon.owners import Owner
from vfs.errors import MountProblem


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_PAUSE_SECONDS", 0.001)


def in_child(store: Path, mountpoint: str, then: Callable[[], None]) -> int:
    """Own `data@main` in a child, and return it when it does; *then* is what it does next."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with owners.owned(store, "data", "main", mountpoint):
                os.write(writer, b"x")
                then()
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_found_while_it_is_owned(tmp_path: Path) -> None:
    assert owners.find(tmp_path, "data", "main") is None
    with owners.owned(tmp_path, "data", "main", "/mnt"):
        assert owners.find(tmp_path, "data", "main") == Owner(os.getpid(), "/mnt")
        assert owners.find(tmp_path, "data", "mai") is None
        for name in os.listdir(tmp_path / "run"):
            assert stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) == 0o600
    assert owners.find(tmp_path, "data", "main") is None
    assert os.listdir(tmp_path / "run") == []


def test_branches_and_data_sets_are_owned_apart(tmp_path: Path) -> None:
    with (
        owners.owned(tmp_path, "data", "main", "/a"),
        owners.owned(tmp_path, "data", "main.x", "/b"),
        owners.owned(tmp_path, "data.main", "x", "/c"),
    ):
        assert len(os.listdir(tmp_path / "run")) == 6


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    pid = in_child(tmp_path, "/", signal.pause)  # "/" is a mount point, so it is not ending
    try:
        with (
            pytest.raises(MountProblem, match=f"written by process {pid}, mounted at /") as caught,
            owners.owned(tmp_path, "data", "main", "/mnt"),
        ):
            pass
        assert "vfs umount /" in caught.value.hint
    finally:
        end(pid)
    with owners.owned(tmp_path, "data", "main", "/mnt"):
        assert owners.find(tmp_path, "data", "main") == Owner(os.getpid(), "/mnt")


def test_one_that_serves_a_descriptor_is_not_waited_for(tmp_path: Path) -> None:
    with Path(os.devnull).open() as file:
        name = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        pid = in_child(tmp_path, name, signal.pause)
        try:
            with (
                pytest.raises(MountProblem, match=f"written by process {pid}, mounted at {name}"),
                owners.owned(tmp_path, "data", "main", "/mnt"),
            ):
                pass
        finally:
            end(pid)


def test_one_that_is_not_mounted_any_more_is_waited_for(tmp_path: Path) -> None:
    pid = in_child(tmp_path, "/not-mounted", lambda: time.sleep(0.2))
    with owners.owned(tmp_path, "data", "main", "/mnt"):
        assert os.waitpid(pid, 0) == (pid, 0)


def test_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "ENDING_SECONDS", 0.05)
    pid = in_child(tmp_path, "/not-mounted", signal.pause)
    try:
        with (
            pytest.raises(MountProblem, match=str(pid)),
            owners.owned(tmp_path, "data", "main", "/mnt"),
        ):
            pass
    finally:
        end(pid)


def test_what_a_killed_one_left_is_no_obstacle(tmp_path: Path) -> None:
    end(in_child(tmp_path, "/mnt", signal.pause))
    assert len(os.listdir(tmp_path / "run")) == 2
    assert owners.find(tmp_path, "data", "main") is None
    with owners.owned(tmp_path, "data", "main", "/mnt") as listener:
        name = owners.socket_name("data", "main")
        with sockets.connect(tmp_path, name, 1) as connection:
            connection.sendall(b"hello\n")
            taken, _ = listener.accept()
            with taken:
                assert sockets.read_line(taken, 100) == b"hello\n"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "1", "mountpoint": 3}'])
def test_a_lock_that_does_not_say_who_holds_it(tmp_path: Path, content: bytes) -> None:
    """So it is for a moment at the start, and where the disk is full."""
    with owners.owned(tmp_path, "data", "main", "/mnt"):
        (tmp_path / "run/branch-data@main.lock").write_bytes(content)
        found = owners.find(tmp_path, "data", "main")
        assert found is not None
        assert not found.is_known


def test_symlinks_and_odd_files_are_not_followed(tmp_path: Path) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    store.mkdir()
    other.mkdir(mode=0o700)
    (store / "run").symlink_to(other)
    with (
        pytest.raises(MountProblem, match="can't write"),
        owners.owned(store, "data", "main", "/mnt"),
    ):
        pass
    (store / "run").unlink()
    (store / "run").mkdir()
    (store / "run/branch-data@main.lock").symlink_to(other / "target")
    assert owners.find(store, "data", "main") is None
    with pytest.raises(MountProblem), owners.owned(store, "data", "main", "/mnt"):
        pass
    assert os.listdir(other) == []
    (store / "run/branch-data@main.lock").unlink()
    os.mkfifo(store / "run/branch-data@main.lock")
    assert owners.find(store, "data", "main") is None  # at once


def test_a_store_with_a_long_path(tmp_path: Path) -> None:
    store = tmp_path / ("x" * 200) / ("y" * 200)
    store.mkdir(parents=True)
    data_set, branch = "d" * 100, "b" * 100
    with owners.owned(store, data_set, branch, "/mnt"):
        sockets.connect(store, owners.socket_name(data_set, branch), 1).close()
        assert owners.find(store, data_set, branch) == Owner(os.getpid(), "/mnt")
