"""A backup holds the whole store; what is not whole is none, and makes none."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.full_store import make_full_store, rows
from tests.support.stores import flip_byte
from vfs.errors import AlreadyExists, Conflict, InvalidInput
from vfs.repo.fsck import check_store
from vfs.store.backup import (
    TRAILER_BYTES,
    backup_info,
    open_backup,
    read_backup,
    restore_backup,
    save_backup,
    write_backup,
)
from vfs.store.layout import Kind
from vfs.store.store import Store
from vfs.store.tables import TABLES


def ignore(size: int) -> None:
    pass


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("full"))


@pytest.fixture
def opened(full: Path) -> Iterator[Store]:
    with Store.open(full, readonly=True) as store:
        yield store


@pytest.fixture
def backup(full: Path, tmp_path: Path) -> Path:
    with Store.open(full, readonly=True) as store:
        save_backup(store, tmp_path / "backup", ignore)
    return tmp_path / "backup"


def restore(backup: Path, store: Path) -> None:
    with backup.open("rb") as file:
        restore_backup(file, "it", store, ignore)


def test_a_restored_store_is_the_same_row_by_row(full: Path, backup: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    restore(backup, store)
    for table in TABLES:
        assert rows(store, table) == rows(full, table)
    assert check_store(store, data=True).is_clean
    assert sorted(os.listdir(tmp_path)) == ["backup", "store"]
    with Store.open(store) as again, again.ingest() as ingest:  # it can be written to
        ingest.add_object(Kind.BLOB, b"more")


def test_progress_and_the_size_that_is_told_beforehand(opened: Store, tmp_path: Path) -> None:
    told: list[int] = []
    info = save_backup(opened, tmp_path / "backup", told.append)
    assert sum(told) == info.size == opened.used_bytes()
    assert (tmp_path / "backup").stat().st_size == info.size + TRAILER_BYTES
    assert str(info.uuid) == opened.uuid
    assert backup_info(tmp_path / "backup") == info


def test_it_is_one_moment_of_a_store_that_is_written_to(tmp_path: Path) -> None:
    class Sink(io.BytesIO):
        """Writes to the store while it is copied."""

        def write(self, data: object) -> int:
            with store.ingest() as ingest:
                ingest.add_chunks([os.urandom(50_000)])
            return super().write(data)  # type: ignore[arg-type]

    with Store.create(tmp_path / "store") as store:
        with store.ingest() as ingest:
            ids = ingest.add_chunks([os.urandom(200_000) for _ in range(40)])
        sink = Sink()
        write_backup(store, sink, ignore)
        (tmp_path / "backup").write_bytes(sink.getvalue())
    restore(tmp_path / "backup", tmp_path / "again")
    assert {key for key, _ in rows(tmp_path / "again", "objects")} == set(ids)
    assert check_store(tmp_path / "again", data=True).is_clean


def test_it_is_read_where_it_lies(backup: Path, opened: Store) -> None:
    before = backup.read_bytes()
    with open_backup(backup) as store:
        assert store.uuid == opened.uuid
        assert store.refs.all() == opened.refs.all()
    assert backup.read_bytes() == before
    with pytest.raises(InvalidInput), open_backup(Path(__file__)):
        pass


def test_copied_as_a_data_file_it_is_a_store(backup: Path, tmp_path: Path) -> None:
    """The trailer is in nobody's way, also of what is written later."""
    (tmp_path / "store").mkdir()
    shutil.copyfile(backup, tmp_path / "store/data.mdb")
    with Store.open(tmp_path / "store") as store, store.ingest() as ingest:
        ingest.add_chunks([os.urandom(100_000) for _ in range(10)])
    assert check_store(tmp_path / "store", data=True).is_clean


def test_any_byte_that_is_changed_is_noticed(backup: Path, tmp_path: Path) -> None:
    size = backup.stat().st_size
    for at in (0, 5000, size // 2, *range(size - TRAILER_BYTES - 1, size, 7), size - 1):
        flip_byte(backup, at)
        with backup.open("rb") as file, pytest.raises(InvalidInput):
            read_backup(file, "it", None, ignore)
        with pytest.raises(InvalidInput):
            restore(backup, tmp_path / "store")
        flip_byte(backup, at)
        assert os.listdir(tmp_path) == ["backup"]
    with backup.open("rb") as file:
        read_backup(file, "it", None, ignore)


@pytest.mark.parametrize("length", [0, 1, TRAILER_BYTES - 1, TRAILER_BYTES, 100_000, -1])
def test_what_was_cut_off_is_no_backup(backup: Path, tmp_path: Path, length: int) -> None:
    data = backup.read_bytes()
    cut = data[:length]
    with pytest.raises(InvalidInput, match="no backup"):
        restore_backup(io.BytesIO(cut), "it", tmp_path / "store", ignore)
    with pytest.raises(InvalidInput, match="damaged"):
        restore_backup(io.BytesIO(cut + b"x" + data), "it", tmp_path / "store", ignore)
    assert os.listdir(tmp_path) == ["backup"]


def test_only_a_backup_is_replaced(backup: Path, opened: Store, tmp_path: Path) -> None:
    old = backup.stat().st_ino
    save_backup(opened, backup, ignore)
    assert backup.stat().st_ino != old
    (tmp_path / "file").write_bytes(b"mine")
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(AlreadyExists):
            save_backup(opened, path, ignore)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_store_is_never_restored_over(full: Path, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists):
        restore(backup, full)
    (tmp_path / "empty").mkdir()
    restore(backup, tmp_path / "empty")
    assert rows(tmp_path / "empty", "refs") == rows(full, "refs")


def test_what_killed_processes_left_is_no_obstacle(opened: Store, tmp_path: Path) -> None:
    (tmp_path / ".new.vfs-backup").write_bytes(b"half" * 100_000)
    save_backup(opened, tmp_path / "new", ignore)
    (tmp_path / ".store.vfs-restore").mkdir()
    (tmp_path / ".store.vfs-restore/data.mdb").write_bytes(b"half" * 10_000_000)
    (tmp_path / ".store.vfs-restore/lock.mdb").write_bytes(b"half")
    restore(tmp_path / "new", tmp_path / "store")
    assert check_store(tmp_path / "store", data=False).is_clean
    assert sorted(os.listdir(tmp_path)) == ["new", "store"]


def test_two_at_once(opened: Store, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / ".new.vfs-backup").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            save_backup(opened, tmp_path / "new", ignore)
        assert (tmp_path / ".new.vfs-backup").exists()


class _Broken(io.RawIOBase):
    def __init__(self, after: int) -> None:
        self._left = after

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._left -= 1
        if self._left < 0:
            raise OSError(28, "No space left on device")
        return len(memoryview(data))  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_sink_that_fails_ends_it(opened: Store, after: int) -> None:
    with pytest.raises(OSError, match="No space"):
        write_backup(opened, _Broken(after), ignore)  # type: ignore[arg-type]
    assert opened.refs.all()
