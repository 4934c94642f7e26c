from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from vfs.daemon import registry
from vfs.daemon.registry import Record, find, mount_id, registered
from vfs.errors import MountProblem


def record(store: Path, mountpoint: str = "/mnt") -> Record:
    return Record(
        pid=os.getpid(),
        mountpoint=mountpoint,
        store=str(store),
        target="data@v1",
        workers=2,
        started_ns=1,
    )


def files(store: Path) -> list[str]:
    return [path.name for path in (store / "run").iterdir()]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_PAUSE_SECONDS", 0)


def test_found_while_it_is_held(tmp_path: Path) -> None:
    odd = "/mnt/a b/\udcff"
    with registered(record(tmp_path, odd)):
        assert find(tmp_path, odd) == record(tmp_path, odd)
        assert find(tmp_path, "/mnt") is None
    assert find(tmp_path, odd) is None
    assert files(tmp_path) == []


def test_one_daemon_a_mount_point(tmp_path: Path, impatient: None) -> None:
    with registered(record(tmp_path)):
        with (
            pytest.raises(MountProblem, match=f"process {os.getpid()}"),
            registered(record(tmp_path)),
        ):
            pass
        with registered(record(tmp_path, "/other")):
            assert len(files(tmp_path)) == 2


def in_child(task: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            task()
        finally:
            os._exit(1)
    os.waitpid(pid, 0)


def die_holding(store: Path) -> None:
    with registered(record(store)):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_stale_record_is_removed_by_who_finds_it(tmp_path: Path) -> None:
    in_child(lambda: die_holding(tmp_path))
    assert len(files(tmp_path)) == 1
    assert find(tmp_path, "/other") is None
    assert len(files(tmp_path)) == 1
    assert find(tmp_path, "/mnt") is None
    assert files(tmp_path) == []


def test_a_stale_record_is_taken_over(tmp_path: Path) -> None:
    in_child(lambda: die_holding(tmp_path))
    with registered(record(tmp_path)):
        assert find(tmp_path, "/mnt") == record(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 60_000,
        b'{"name": "not ours"}',
        json.dumps(asdict(record(Path("/s"), "/other"))).encode(),
        json.dumps({**asdict(record(Path("/s"))), "pid": "1"}).encode(),
    ],
)
def test_a_file_that_is_no_record_of_the_mount_point_stays(tmp_path: Path, content: bytes) -> None:
    """Whoever mounts names any directory as the source, and root looks there."""
    path = record_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    (path.parent / "x.json").write_text("{")
    assert find(tmp_path, "/mnt") is None
    assert path.read_bytes() == content
    assert len(files(tmp_path)) == 2


def record_path(store: Path) -> Path:
    return store / "run" / f"{mount_id('/mnt')}.json"


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    store.mkdir()
    in_child(lambda: die_holding_in(other))
    (store / "run").symlink_to(other / "run")
    assert find(store, "/mnt") is None
    with pytest.raises(MountProblem, match="can't write"), registered(record(store)):
        pass
    (store / "run").unlink()
    (store / "run").mkdir()
    record_path(store).symlink_to(record_path(other))
    assert find(store, "/mnt") is None
    assert len(files(other)) == 1


def die_holding_in(store: Path) -> None:
    store.mkdir()
    die_holding(store)


def test_a_fifo_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(record_path(tmp_path))
    assert find(tmp_path, "/mnt") is None


def test_records_are_for_their_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    record_path(tmp_path).touch(mode=0o644)
    with registered(record(tmp_path)):
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE(record_path(tmp_path).stat().st_mode) == 0o600


def test_a_store_without_records(tmp_path: Path) -> None:
    assert find(tmp_path, "/mnt") is None


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(MountProblem, match="can't write"),
        registered(record(tmp_path / "none")),
    ):
        pass


def test_names_of_mount_points() -> None:
    assert mount_id("/mnt/data").startswith("mnt-data-")
    assert mount_id("/mnt/data") != mount_id("/mnt-data")
    assert len(mount_id("/" + "x" * 5000)) < 60
    assert "/" not in mount_id("/a b/\udcff")
