"""What every store of objects does: the one on disk, and the one in memory that tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stores import MemoryObjects
from vfs.errors import CorruptObject
from vfs.ids import object_id
from vfs.store.layout import Kind
from vfs.store.store import Store


@pytest.fixture(params=["memory", "disk"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """A pair: what objects are added to, and what they are read from."""
    if request.param == "memory":
        memory = MemoryObjects()
        yield memory, memory
        return
    with Store.create(tmp_path / "store") as store, store.ingest() as ingest:
        yield ingest, store.reader()


def test_what_is_added_comes_back(objects: tuple[Any, Any]) -> None:
    ingest, reader = objects
    bodies = [b"", b"a", bytes(1 << 20), bytes(range(256)) * 500]
    ids = ingest.add_chunks([memoryview(body) for body in bodies])
    node = ingest.add_object(Kind.BLOB, b"a node")
    ingest.flush()
    assert ids == [object_id(body) for body in bodies]
    assert [reader.get(oid) for oid in ids] == bodies
    assert reader.get(node) == b"a node"
    assert reader.has(node)


def test_what_was_never_added_is_not_found(objects: tuple[Any, Any]) -> None:
    _, reader = objects
    with pytest.raises(CorruptObject, match=bytes(32).hex()):
        reader.get(bytes(32))
    assert not reader.has(bytes(32))


def test_what_is_added_twice_has_one_id(objects: tuple[Any, Any]) -> None:
    ingest, reader = objects
    first, second = ingest.add_chunks([b"same", b"same"])
    ingest.flush()
    (third,) = ingest.add_chunks([b"same"])
    assert first == second == third
    assert reader.get(third) == b"same"
