"""Rows of overlays: what was put in comes out, and damage is said."""

from __future__ import annotations

import stat

import pytest

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, object_id
from vfs.model.entry import FLAG_BLOB, Totals
from vfs.model.overlay import (
    InodeRow,
    OverlayHeader,
    decode_header,
    decode_inode,
    decode_tree,
    encode_header,
    encode_inode,
    encode_tree,
)

FILE = InodeRow(
    mode=stat.S_IFREG | 0o644,
    uid=1000,
    gid=100,
    nlink=2,
    rdev=0,
    size=5000,
    mtime_ns=-1,
    ctime_ns=2,
    atime_ns=3,
    content=object_id(b"content"),
    flags=FLAG_BLOB,
    content_bytes=6000,
    visible=4000,
    holes=0,
    patches=1,
    parent=1 << 61 | 7,
    name=b"caf\xe9",
    group=b"12345678",
    target=b"",
    xattrs=((b"user.a", b"1"), (b"user.b", b"")),
)
BARE = InodeRow(
    stat.S_IFIFO | 0o600, 0, 0, 1, 0, 0, 0, 0, 0, NO_CONTENT, 0, 0, 0, 0, 0, 1, b"", b"", b"", ()
)
LINK = BARE._replace(mode=stat.S_IFLNK | 0o777, size=4, target=b"../x", name=b"l" * 255)
HEADER = OverlayHeader(7, object_id(b"origin"), object_id(b"head"), 12, 34, dirty=True)


@pytest.mark.parametrize("row", [FILE, BARE, LINK])
def test_an_inode_comes_back(row: InodeRow) -> None:
    assert decode_inode(encode_inode(row)) == row


@pytest.mark.parametrize("name", InodeRow._fields)
def test_fields_are_replaced_as_a_named_tuple_does_it(name: str) -> None:
    changes = {"uid": 7, name: 8}
    assert FILE.replaced(changes) == FILE._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", [HEADER, HEADER._replace(origin=None, head=None, dirty=False)])
def test_a_header_comes_back(header: OverlayHeader) -> None:
    assert decode_header(encode_header(header)) == header


def test_a_tree_comes_back() -> None:
    tree = object_id(b"tree"), Totals(1, 2, 3, 4)
    assert decode_tree(encode_tree(*tree)) == tree


def test_what_is_cut_off_is_refused() -> None:
    for data, decode in (
        (encode_inode(FILE), decode_inode),
        (encode_header(HEADER), decode_header),
        (encode_tree(NO_CONTENT, Totals(0, 1, 0, 0)), decode_tree),
    ):
        for wrong in (*(data[:at] for at in range(len(data))), data + b"\0"):
            with pytest.raises(CorruptObject):
                decode(wrong)  # type: ignore[operator]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": 0o644},
        {"mode": 1 << 16 | stat.S_IFREG},
        {"flags": 2},
        {"visible": 6001},
        {"size": 3999},
        {"size": 1 << 63},
        {"group": b"1234"},
        {"target": b"x" * 4096},
        {"xattrs": ((b"user.b", b""), (b"user.a", b""))},
    ],
)
def test_what_no_inode_can_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CorruptObject):
        decode_inode(encode_inode(FILE._replace(**wrong)))  # type: ignore[arg-type]


def test_another_version_is_refused() -> None:
    with pytest.raises(CorruptObject):
        decode_inode(b"\2" + encode_inode(FILE)[1:])
    with pytest.raises(CorruptObject):
        decode_header(b"\2" + encode_header(HEADER)[1:])
