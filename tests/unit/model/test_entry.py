"""Entries: what a directory can hold, and what is refused when it is read."""

from __future__ import annotations

import stat

import pytest

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, object_id
from vfs.model.entry import (
    FLAG_BLOB,
    TARGET_MAX_BYTES,
    XATTRS_MAX_BYTES,
    Entry,
    Extra,
    Link,
    Totals,
    check_entry,
    directory_entry,
    directory_totals,
)
from vfs.model.node import decode_node, encode_leaf

CHUNK = object_id(b"chunk")
FILE = Entry(b"f", stat.S_IFREG | 0o644, 1, 2, 3, 5, CHUNK, 0, b"")


def test_nothing_extra_takes_no_bytes() -> None:
    assert Extra().encode() == b""
    assert Extra.decode(b"") == Extra()


def test_a_directory_keeps_what_it_is_given() -> None:
    totals = Totals(1, 2, 3, 4)
    entry = directory_entry(b"d", CHUNK, totals, mode=0o2751, uid=7, xattrs=((b"user.a", b"b"),))
    assert (entry.is_dir, entry.is_file, stat.S_IMODE(entry.mode)) == (True, False, 0o2751)
    assert directory_totals(entry) == totals
    assert Extra.decode(entry.extra).xattrs == ((b"user.a", b"b"),)
    check_entry(entry)


@pytest.mark.parametrize("extra", [b"", b"\1", Extra(link=Link(b"12345678", 2)).encode()])
def test_a_directory_without_totals_is_corrupt(extra: bytes) -> None:
    entry = Entry(b"d", stat.S_IFDIR | 0o755, 0, 0, 0, 0, CHUNK, 0, extra)
    with pytest.raises(CorruptObject, match="totals"):
        directory_totals(entry)


@pytest.mark.parametrize(
    "entry",
    [
        FILE._replace(mode=0o644),  # no type
        FILE._replace(mode=0o170644),
        FILE._replace(mode=FILE.mode | 1 << 16),
        FILE._replace(flags=2),
        FILE._replace(size=2**63),
        FILE._replace(content=NO_CONTENT),
        FILE._replace(size=0),
        FILE._replace(mode=stat.S_IFLNK | 0o777),
        FILE._replace(mode=stat.S_IFDIR | 0o755, size=0, content=NO_CONTENT),
        FILE._replace(mode=stat.S_IFIFO, size=0, content=NO_CONTENT, flags=FLAG_BLOB),
    ],
)
def test_entries_that_nobody_wrote(entry: Entry) -> None:
    with pytest.raises(CorruptObject):
        check_entry(entry)


@pytest.mark.parametrize(
    "entry",
    [
        FILE._replace(mode=0o644),
        FILE._replace(mode=FILE.mode | 1 << 16),
        FILE._replace(flags=2),
        FILE._replace(size=2**63),
        FILE._replace(mode=stat.S_IFIFO, flags=FLAG_BLOB),
    ],
)
def test_reading_a_leaf_refuses_what_has_no_meaning(entry: Entry) -> None:
    leaf = decode_node(encode_leaf([entry]))
    with pytest.raises(CorruptObject):
        list(leaf.entries())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "raw",
    [
        b"\1",  # half a head
        b"\x07\0\0",  # an unknown tag
        b"\0\0\0",
        b"\3\x08\0" + bytes(8),  # a default, spelt out
        b"\3\x07\0" + bytes(7),  # too short
        b"\4\x08\0" + b"\1" * 8 + b"\3\x08\0" + b"\1" * 8,  # out of order
        b"\3\x08\0" + b"\1" * 8 + b"\3\x08\0" + b"\1" * 8,  # twice
        b"\5\0\0",  # an empty target
        b"\6\0\0",  # no attributes
        b"\6\x08\0" + b"\1\0\0b" + b"\1\0\0a",  # attributes out of order
        b"\6\x08\0" + b"\1\0\0a" + b"\1\0\0a",
        b"\6\3\0" + b"\0\0\0",  # an attribute without a name
        b"\6\4\0" + b"\1\0\0\0",  # NUL in the name
    ],
)
def test_extras_in_any_other_form_are_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptObject):
        Extra.decode(raw)


def test_the_largest_extras_fit() -> None:
    values = (XATTRS_MAX_BYTES // 2 - 3 - 6, XATTRS_MAX_BYTES - XATTRS_MAX_BYTES // 2 - 3 - 6)
    full = tuple((b"user.%d" % i, bytes(size)) for i, size in enumerate(values))
    for extra in (
        Extra(totals=Totals(1, 1, 1, 1), xattrs=full),
        Extra(link=Link(b"12345678", 2), holes=1, xattrs=full),
        Extra(link=Link(b"12345678", 2), rdev=1, target=b"t" * TARGET_MAX_BYTES, xattrs=full),
    ):
        entry = FILE._replace(extra=extra.encode())
        leaf = decode_node(encode_leaf([entry]))
        assert list(leaf.entries()) == [entry]  # type: ignore[union-attr]
        assert Extra.decode(entry.extra) == extra
