"""Attributes of an inode, as a function of its entry."""

from __future__ import annotations

import stat
from typing import Final, NamedTuple

from vfs.model.entry import NAME_MAX_BYTES, Entry, Extra, directory_totals

FOREVER: Final = 1e9
"""Seconds that the kernel may keep what never changes."""

BLOCK_BYTES: Final = 4096
_DIRECTORY_BYTES: Final = 4096
_SECTOR_BYTES: Final = 512


class Attr(NamedTuple):
    """What the kernel wants to know of an inode. Access and change time are the modification's."""

    node: int  # the kernel's name for it
    number: int  # st_ino; for a directory another one than the node, see vfs.fs.nodes
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int  # bytes
    blocks: int  # of 512 bytes
    mtime_ns: int
    entry_timeout: float  # seconds that the name may be kept
    attr_timeout: float  # seconds that these attributes may be kept


class Statfs(NamedTuple):
    """What statvfs(3) tells, by its own names; blocks are of `bsize` bytes."""

    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int = 0
    bsize: int = BLOCK_BYTES
    namemax: int = NAME_MAX_BYTES


def file_attr(entry: Entry, number: int) -> Attr:
    """Return the attributes of an entry that is no directory."""
    nlink, rdev, on_disk = 1, 0, entry.size
    if entry.extra:
        extra = Extra.decode(entry.extra)
        rdev = extra.rdev
        on_disk -= extra.holes
        if extra.link is not None:
            nlink = extra.link.nlink
    if stat.S_ISREG(entry.mode):
        blocks = -(-on_disk // BLOCK_BYTES) * (BLOCK_BYTES // _SECTOR_BYTES)
    else:
        blocks = 0
    return Attr(
        number,
        number,
        entry.mode,
        nlink,
        entry.uid,
        entry.gid,
        rdev,
        entry.size,
        blocks,
        entry.mtime_ns,
        FOREVER,
        FOREVER,
    )


def directory_attr(entry: Entry, node: int, number: int) -> Attr:
    """Return the attributes of a directory."""
    return Attr(
        node,
        number,
        entry.mode,
        2 + directory_totals(entry).subdirs,
        entry.uid,
        entry.gid,
        0,
        _DIRECTORY_BYTES,
        _DIRECTORY_BYTES // _SECTOR_BYTES,
        entry.mtime_ns,
        FOREVER,
        FOREVER,
    )
