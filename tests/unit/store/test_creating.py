"""Making a store: half a one is no obstacle, and nothing of anybody's is written over."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from vfs.errors import AlreadyExists
from vfs.store.environment import Environment
from vfs.store.store import Store


def test_what_a_killed_attempt_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.mkdir()
    env = Environment(path, create=True)
    env.open_tables(["meta", "objects"], missing="make")
    env.close()
    Store.create(path).close()
    Store.open(path).close()


def test_a_store_is_never_made_over_another(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.create(path) as store:
        uuid = store.uuid
    with pytest.raises(AlreadyExists):
        Store.create(path)
    with Store.open(path) as store:
        assert store.uuid == uuid


def test_other_data_is_left_alone(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=1) as env, env.begin(write=True) as txn:
        txn.put(b"somebody's", b"data")
    with pytest.raises(AlreadyExists):
        Store.create(tmp_path)
    with lmdb.open(str(tmp_path)) as env, env.begin() as txn:
        assert [bytes(key) for key, _ in txn.cursor()] == [b"somebody's"]


def test_the_lock_file_has_its_room(tmp_path: Path) -> None:
    Store.create(tmp_path / "store").close()
    lock = (tmp_path / "store" / "lock.mdb").stat()
    assert lock.st_blocks * 512 >= lock.st_size
