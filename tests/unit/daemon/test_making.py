"""What a directory made in the hub stands for, and what is not made."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.versions import commit
from vfs.daemon import lockfile, making, private, sockets
from vfs.daemon.registry import RUN_DIR
from vfs.errors import AlreadyExists, Conflict, NotFound, NotPermitted, StoreError, VfsError
from vfs.fuse.messages import decode_answer
from vfs.repo.differences import Differences
from vfs.repo.repository import Repository


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        repo.create_data_set("empty")
        commit(repo, {b"a": b"b"}, tag="v1")
    return path


def branches(store: Path) -> set[str]:
    with Repository.open(store) as repo:
        return {f"{ref.data_set}@{ref.name}" for ref in repo.all_refs() if ref.kind == "branch"}


def test_a_branch_begins_at_main(store: Path) -> None:
    making.make(store, "data@exp")
    assert branches(store) == {"data@main", "data@exp"}
    with Repository.open(store) as repo:
        assert repo.resolve("data", "exp").commit == repo.resolve("data", "main").commit
        assert repo.reflog("data", "exp")[0].why == "mkdir in the mount"


def test_a_data_set(store: Path) -> None:
    making.make(store, "fresh")
    with Repository.open(store) as repo:
        assert repo.data_sets() == ["data", "empty", "fresh"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("data", AlreadyExists),
        ("data@main", AlreadyExists),
        ("data@v1", AlreadyExists),
        ("none@exp", NotFound),
        ("empty@exp", NotFound),
        ("", NotPermitted),
        ("@", NotPermitted),
        ("data@", NotPermitted),
        ("data@latest", NotPermitted),
        ("data@" + "0" * 64, NotPermitted),
        (".Trash-1000", NotPermitted),
        ("data@a@b", NotPermitted),
        ("a b", NotPermitted),
        ("x" * 101, NotPermitted),
        ("..", NotPermitted),
    ],
)
def test_what_is_not_made(store: Path, name: str, kind: type[VfsError]) -> None:
    before = branches(store)
    with pytest.raises(kind):
        making.make(store, name)
    assert branches(store) == before


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def in_child(store: Path, connection: socket.socket) -> None:
    """Answer as the keeper's child does; it sets an alarm."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            making.answer(store, connection)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_asked_through_a_socket(store: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b'"data@exp"\n')
    in_child(store, theirs)
    assert decode_answer(sockets.read_line(ours, 4096)) == {}
    assert "data@exp" in branches(store)


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"7\n", b"[" * 4000 + b"\n", b'"' + b"x" * 5000 + b'"\n', b'"data@x"']
)
def test_nonsense_through_a_socket(
    store: Path, pair: tuple[socket.socket, socket.socket], line: bytes
) -> None:
    ours, theirs = pair
    ours.sendall(line)
    ours.shutdown(socket.SHUT_WR)
    in_child(store, theirs)
    with pytest.raises(VfsError):
        decode_answer(sockets.read_line(ours, 4096))
    assert branches(store) == {"data@main"}


def test_nobody_listens(store: Path) -> None:
    with pytest.raises(StoreError, match="can't be made"):
        making.ask(store, "none.sock", "data@exp")


# what differs between two versions


def found(store: Path) -> int | None:
    with Repository.open(store) as repo:
        commit_id = repo.resolve("data", "v1").commit
        return Differences(repo.store).find("data", commit_id, commit_id)


def test_a_difference_is_made_once(store: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b'"data@v1..main"\n')
    in_child(store, theirs)
    assert decode_answer(sockets.read_line(ours, 4096)) == {}
    first = found(store)
    assert first is not None
    making.make_difference(store, "data@v1..main")
    assert found(store) == first
    assert branches(store) == {"data@main"}


def test_whoever_asked_may_be_gone(store: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b'"data@v1..main"\n')
    ours.close()
    in_child(store, theirs)
    assert found(store) is not None


@pytest.mark.parametrize("name", ["data@v1..v9", "none@v1..v1", "..", "data@v1...v1"])
def test_no_difference(store: Path, name: str) -> None:
    with pytest.raises(VfsError):
        making.make_difference(store, name)


def test_one_difference_at_a_time(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_TURN_PAUSE_SECONDS", 0)
    with (
        private.opened(store / RUN_DIR, make=True) as directory,
        (store / RUN_DIR / "differences.lock").open("w") as file,
    ):
        assert lockfile.lock(file.fileno())
        with pytest.raises(Conflict, match="another difference"):
            making.make_difference(store, "data@v1..main")
        lockfile.unlink(directory, "differences.lock")
    making.make_difference(store, "data@v1..main")


def test_one_that_takes_its_time_is_busy(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PATIENCE_SECONDS", 0.01)
    with (
        sockets.listening(store, "deaf.sock"),
        pytest.raises(Conflict, match="is still being made"),
    ):
        making.ask(store, "deaf.sock", "data@v1..main")
