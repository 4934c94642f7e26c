"""Filling packs: where one ends, and where a segment in it."""

from __future__ import annotations

import pytest

from vfs.ids import object_id
from vfs.remote import pack
from vfs.remote.layout import PackIndex
from vfs.remote.pack import PackBuilder
from vfs.store.layout import Kind


def test_a_pack_ends_after_so_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PACK_OBJECTS", 3)
    builder = PackBuilder()
    for number in range(3):
        assert not builder.is_full
        data = b"%d" % number
        builder.add(Kind.CHUNK, object_id(data), data)
    assert builder.is_full


def test_a_segment_ends_after_so_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "SEGMENT_OBJECTS", 3)
    builder = PackBuilder()
    data = [b"%d" % number for number in range(7)]
    for one in data:
        builder.add(Kind.CHUNK, object_id(one), one)
    sealed = builder.seal()
    index = PackIndex(sealed.id, sealed.index_data)
    places = [index.find(object_id(one), is_node=False) for one in data]
    starts = [place.segment.start for place in places if place is not None]
    assert [starts.count(start) for start in sorted(set(starts))] == [3, 3, 1]
