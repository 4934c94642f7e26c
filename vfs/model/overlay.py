"""Rows of an overlay: what a branch holds on top of its origin. Bytes: docs/format.md, "overlay".

Knows no table and no key; only what stands in a row.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, NO_CONTENT, ObjectId
from vfs.model.entry import (
    FLAG_BLOB,
    KINDS,
    NAME_MAX_BYTES,
    TARGET_MAX_BYTES,
    Totals,
    decode_xattrs,
    encode_xattrs,
)

ROOT_INO: Final = 1
NEW_INO: Final = 1 << 61
"""Set in the number of an inode that the origin does not have; the rest counts them."""
LINKED_INO: Final = 1 << 62
"""Set in that of an inode with several names in the origin; the rest is its entry's Number."""

WHITEOUT: Final = 0
"""The inode number that a name stands for when it was removed."""

PATCH_BYTES: Final = 4096
GROUP_BYTES: Final = 8  # of what tells the sets of hard links of a version apart

_VERSION: Final = 1


class InodeRow(NamedTuple):
    """All that an overlay knows of one inode; replaced, never changed."""

    mode: int  # st_mode, file type included
    uid: int
    gid: int
    nlink: int
    rdev: int  # devices, as os.makedev() has it
    size: int  # bytes: of a regular file, or of a symlink's target; 0 for all else
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    content: ObjectId  # of a regular file: chunk or blob below all patches
    flags: int  # FLAG_BLOB
    content_bytes: int  # the size of `content`
    visible: int  # bytes of it that count: what lies behind was truncated away and reads as zeros
    holes: int  # bytes of holes known in the content
    patches: int  # patch rows there are
    parent: int  # the directory of one of its names (a directory has one; the root: 1, b"")
    name: bytes
    group: bytes  # of the hard links that it was committed with, b"" for none
    target: bytes  # of a symlink
    xattrs: tuple[tuple[bytes, bytes], ...]  # ascending names; ACLs are system.posix_acl_*

    def replaced(self, fields: Mapping[str, Any]) -> InodeRow:
        """Do what `_replace` does in half the time, for what comes with each request."""
        values = list(self)
        for name, value in fields.items():
            values[_POSITION[name]] = value
        return InodeRow._make(values)


_POSITION: Final = {name: index for index, name in enumerate(InodeRow._fields)}


class OverlayHeader(NamedTuple):
    """An overlay as a whole."""

    id: int  # in the keys of its rows; never used again
    origin: ObjectId | None  # the commit that the rows are relative to; None: an empty root
    head: ObjectId | None  # the commit that equals what the rows said at the last commit
    next_ino: int  # counts new inodes
    seq: int  # counts writes
    dirty: bool  # the rows say something else than `head`


# version; lengths of name, group, target and xattrs; the fields of InodeRow as far as `parent`
_INODE: Final = struct.Struct("<BBBHH" + "IIIIQQqqq32sBQQQQQ")
_LENGTHS: Final = 5
_SIGN: Final = 1 << 63
_KIND: Final = 0o170000

_HEADER: Final = struct.Struct("<BB32s32sQQQ")  # version, dirty, origin, head, id, next_ino, seq
_TREE: Final = struct.Struct(f"<{ID_BYTES}sIQQQ")


def encode_inode(row: InodeRow) -> bytes:
    """Return the canonical bytes."""
    *numbers, name, group, target, pairs = row
    xattrs = encode_xattrs(pairs) if pairs else b""
    lengths = len(name), len(group), len(target), len(xattrs)
    return _INODE.pack(_VERSION, *lengths, *numbers) + name + group + target + xattrs


def decode_inode(data: bytes) -> InodeRow:
    """Return the row that *data* holds. Raises CorruptObject."""
    try:
        version, in_name, in_group, in_target, in_xattrs, *numbers = _INODE.unpack_from(data)
    except struct.error:
        raise CorruptObject("an inode's row in an overlay is truncated") from None
    name_end = _INODE.size + in_name
    group_end = name_end + in_group
    target_end = group_end + in_target
    if version != _VERSION or target_end + in_xattrs != len(data):
        raise CorruptObject("an inode's row in an overlay is damaged")
    row = InodeRow._make(
        (
            *numbers,
            data[_INODE.size : name_end],
            data[name_end:group_end],
            data[group_end:target_end],
            decode_xattrs(data[target_end:]) if in_xattrs else (),
        )
    )
    if (
        row.mode & _KIND not in KINDS
        or row.mode >> 16
        or row.flags & ~FLAG_BLOB
        or row.visible > row.content_bytes
        or row.visible > row.size
        or (row.size | row.content_bytes | row.holes) & _SIGN
        or in_group not in (0, GROUP_BYTES)
        or in_target > TARGET_MAX_BYTES
    ):
        raise CorruptObject("an inode's row in an overlay is damaged")
    return row


def encode_header(header: OverlayHeader) -> bytes:
    """Return the canonical bytes."""
    return _HEADER.pack(
        _VERSION,
        header.dirty,
        header.origin or NO_CONTENT,
        header.head or NO_CONTENT,
        header.id,
        header.next_ino,
        header.seq,
    )


def decode_header(data: bytes) -> OverlayHeader:
    """Return the header that *data* holds. Raises CorruptObject."""
    if len(data) != _HEADER.size:
        raise CorruptObject("the header of an overlay is truncated")
    version, dirty, origin, head, number, next_ino, seq = _HEADER.unpack(data)
    if version != _VERSION or dirty > 1:
        raise CorruptObject("the header of an overlay is damaged")
    return OverlayHeader(
        id=number,
        origin=ObjectId(origin) if origin != NO_CONTENT else None,
        head=ObjectId(head) if head != NO_CONTENT else None,
        next_ino=next_ino,
        seq=seq,
        dirty=bool(dirty),
    )


def encode_tree(tree: ObjectId, totals: Totals) -> bytes:
    """Return the bytes of what a directory was committed as."""
    return _TREE.pack(tree, *totals)


def decode_tree(data: bytes) -> tuple[ObjectId, Totals]:
    """Return the tree and the totals that *data* holds. Raises CorruptObject."""
    if len(data) != _TREE.size:
        raise CorruptObject("the tree of a directory in an overlay is truncated")
    tree, *totals = _TREE.unpack(data)
    return ObjectId(tree), Totals._make(totals)


def check_row_name(name: bytes) -> bytes:
    """Return *name* if an entry of a directory can have it. Raises CorruptObject."""
    if not 0 < len(name) <= NAME_MAX_BYTES:
        raise CorruptObject(f"an overlay holds a name of {len(name)} bytes")
    return name
