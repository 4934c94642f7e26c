from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vfs.daemon import registry
from vfs.daemon.registry import Record, find, mount_id, records, registered
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
        assert records(tmp_path) == [record(tmp_path, odd)]
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
            assert len(records(tmp_path)) == 2


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
    assert records(tmp_path) == []
    assert files(tmp_path) == []


def test_a_stale_record_is_taken_over(tmp_path: Path) -> None:
    in_child(lambda: die_holding(tmp_path))
    with registered(record(tmp_path)):
        assert records(tmp_path) == [record(tmp_path)]


def test_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x.json").write_text("{")
    assert records(tmp_path) == []
    assert files(tmp_path) == []


def test_a_store_without_records(tmp_path: Path) -> None:
    assert records(tmp_path) == []
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
