"""Eviction: what goes, what stays, and what a kill at any of its writes leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.store import evicting
from vfs.store.clock import RUN_BLOCKS, Clock
from vfs.store.environment import Environment
from vfs.store.layout import Kind
from vfs.store.store import Store

CHUNK = 200_000
COUNT = 60


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, dict[ObjectId, bytes], ObjectId]:
    """A store with chunks and, among them, a blob node."""
    chunks: dict[ObjectId, bytes] = {}
    with Store.create(tmp_path / "store") as store, store.ingest() as ingest:
        for number in range(COUNT):
            data = os.urandom(CHUNK)
            chunks[ingest.add_chunks([data])[0]] = data
            if number == 1:
                node = ingest.add_object(Kind.BLOB, b"B" + os.urandom(900))
    return tmp_path / "store", chunks, node


def _left(store: Store, chunks: dict[ObjectId, bytes]) -> set[ObjectId]:
    """Return the chunks that are there; each of them can be read."""
    reader = store.reader()
    left = {oid for oid in chunks if store.object_size(oid) is not None}
    assert all(reader.get(oid) == chunks[oid] for oid in left)
    return left


def test_so_much_goes_and_what_stays_is_whole(
    filled: tuple[Path, dict[ObjectId, bytes], ObjectId],
) -> None:
    path, chunks, node = filled
    with Store.open(path) as store:
        before = store.used_bytes()
        assert store.evict(Clock(path), 4 << 20)
        assert before - store.used_bytes() >= 4 << 20
        left = _left(store, chunks)
        assert 0 < len(left) < COUNT
        assert store.reader().get(node)
        with store.ingest() as ingest:
            ingest.add_chunks(list(chunks.values()))
        assert _left(store, chunks) == set(chunks)


def test_what_was_read_goes_last(filled: tuple[Path, dict[ObjectId, bytes], ObjectId]) -> None:
    path, chunks, _ = filled
    clock = Clock(path)
    for block in range(4 * RUN_BLOCKS):
        clock.touch(block)
    with Store.open(path) as store:
        store.evict(clock, 4 << 20)
        first = list(chunks)[:10]  # of the runs that were read
        assert set(first) <= _left(store, chunks)
        store.evict(clock, 64 << 20)
        assert not set(first) & _left(store, chunks)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("writes", range(8))
def test_killed_anywhere_nothing_wrong_is_left(
    filled: tuple[Path, dict[ObjectId, bytes], ObjectId],
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    path, chunks, node = filled
    monkeypatch.setattr(evicting, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(evicting, "BLOCKS_AT_ONCE", 100)
    left = writes

    real = Environment.write

    def write(env: Environment, change: object) -> object:
        nonlocal left
        if not left:
            raise _Killed
        left -= 1
        return real(env, change)  # type: ignore[arg-type]

    with Store.open(path) as store:
        used = store.used_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(Environment, "write", write)
            with pytest.raises(_Killed):
                store.evict(Clock(path), 6 << 20)
        _left(store, chunks)
        assert store.evict(Clock(path), 6 << 20)
        assert used - store.used_bytes() >= 6 << 20
        assert store.reader().get(node)
        for oid in set(chunks) - _left(store, chunks):
            with pytest.raises(CorruptObject, match="missing"):
                store.reader().get(oid)
