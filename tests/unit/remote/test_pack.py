"""Filling packs: where one ends."""

from __future__ import annotations

import pytest

from vfs.ids import object_id
from vfs.remote import pack
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
