"""The kernel's FUSE protocol as bytes: what a request says and how it is answered. No I/O.

Layouts and numbers are those of <linux/fuse.h>, whose names stand in the comments; integers are in
the machine's own order. Only what a file system that is never written to is asked.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from vfs.fs.attrs import Attr, Statfs

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
READLINK: Final = 5
SYMLINK: Final = 6
MKNOD: Final = 8
MKDIR: Final = 9
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
LINK: Final = 13
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
SETXATTR: Final = 21
GETXATTR: Final = 22
LISTXATTR: Final = 23
REMOVEXATTR: Final = 24
OPENDIR: Final = 27
READDIR: Final = 28
RELEASEDIR: Final = 29
CREATE: Final = 35
INTERRUPT: Final = 36
DESTROY: Final = 38
BATCH_FORGET: Final = 42
FALLOCATE: Final = 43
READDIRPLUS: Final = 44
RENAME2: Final = 45
TMPFILE: Final = 51

UNMOUNTED: Final = (errno.ENODEV, errno.ECONNABORTED)
"""What reading and writing the device fail with once the file system is gone."""

FOPEN_KEEP_CACHE: Final = 1 << 1
FOPEN_CACHE_DIR: Final = 1 << 3

HEADER: Final = struct.Struct("=IIQQIIIHH")  # fuse_in_header
ANSWER: Final = struct.Struct("=IiQ")  # fuse_out_header

READ_IN: Final = struct.Struct("=QQI")  # the beginning of fuse_read_in: handle, offset, size
OPEN_IN: Final = struct.Struct("=I")  # the beginning of fuse_open_in: flags
OPEN_OUT: Final = struct.Struct("=QII")  # fuse_open_out
GETXATTR_IN: Final = struct.Struct("=II")  # fuse_getxattr_in: size
GETXATTR_OUT: Final = GETXATTR_IN
MKDIR_IN: Final = struct.Struct("=II")  # fuse_mkdir_in: mode, umask

_NOTIFY_STORE: Final = 4
_STORE_OUT: Final = struct.Struct("=IiQQQII")  # fuse_out_header, fuse_notify_store_out
_ATTR: Final = "QQQqqqIIIIIIIIII"  # fuse_attr
_ATTR_BYTES: Final = struct.calcsize("=" + _ATTR)
_ATTR_OUT_HEAD: Final = struct.Struct("=QII")  # fuse_attr_out, before the fuse_attr
_ENTRY_OUT: Final = struct.Struct("=QQQQII" + _ATTR)  # fuse_entry_out
_DIRENT: Final = struct.Struct("=QQII")  # fuse_dirent, before the name
_STATFS: Final = struct.Struct("=QQQQQIII28x")  # fuse_kstatfs

_BLOCK_BYTES: Final = 4096
_SECOND_NS: Final = 10**9
_RDEV_MASK: Final = 0xFFFFFFFF  # dev_t as the kernel has it; glibc's is the same in these bits
_TYPE_SHIFT: Final = 12  # from a mode to a type of dirent
_NO_ENTRY: Final = bytes(_ENTRY_OUT.size)


class Request(NamedTuple):
    """Who asks for what; `fuse_in_header`."""

    length: int  # bytes, with this header
    opcode: int
    unique: int  # to be said in the answer
    node: int
    uid: int
    gid: int
    pid: int
    extensions: int
    padding: int


def answer(unique: int, length: int, error: int = 0) -> bytes:
    """Return what stands before an answer of *length* bytes; or all of it, if it is an error's."""
    return ANSWER.pack(ANSWER.size + length, -error, unique)


def stored(node: int, length: int) -> bytes:
    """Return what stands before *length* bytes, the beginning of a file, for the page cache."""
    size = _STORE_OUT.size + length
    return _STORE_OUT.pack(size, _NOTIFY_STORE, 0, node, 0, length, 0)


def text(body: bytes, start: int = 0) -> bytes:
    """Return the string that begins at *start*. Raises ValueError where it has no end."""
    return body[start : body.index(0, start)]


def entry(attr: Attr) -> bytes:
    """Return `fuse_entry_out`: a node, what it is, and for how long the kernel may think so."""
    (
        node,
        number,
        mode,
        nlink,
        uid,
        gid,
        rdev,
        size,
        blocks,
        mtime_ns,
        entry_timeout,
        attr_timeout,
    ) = attr
    seconds, part_ns = divmod(mtime_ns, _SECOND_NS)
    return _ENTRY_OUT.pack(
        node,
        0,
        int(entry_timeout),
        int(attr_timeout),
        int(entry_timeout % 1 * _SECOND_NS),
        int(attr_timeout % 1 * _SECOND_NS),
        number,
        size,
        blocks,
        seconds,
        seconds,
        seconds,
        part_ns,
        part_ns,
        part_ns,
        mode,
        nlink,
        uid,
        gid,
        rdev & _RDEV_MASK,
        _BLOCK_BYTES,
        0,
    )


def no_entry(timeout: float) -> bytes:
    """Return `fuse_entry_out` that says: there is none of that name, for *timeout* seconds."""
    seconds, part_ns = int(timeout), int(timeout % 1 * _SECOND_NS)
    return _ENTRY_OUT.pack(0, 0, seconds, 0, part_ns, *(0,) * 17)


def attributes(attr: Attr) -> bytes:
    """Return `fuse_attr_out`."""
    # What an entry says of the attributes stands at its end, in the same form.
    whole = entry(attr)
    timeout = attr.attr_timeout
    head = _ATTR_OUT_HEAD.pack(int(timeout), int(timeout % 1 * _SECOND_NS), 0)
    return head + whole[-_ATTR_BYTES:]


def name_entry(name: bytes, attr: Attr, position: int) -> bytes:
    """Return what `READDIR` answers of one name; *position* is where the next one is found."""
    dirent = _DIRENT.pack(attr.number, position, len(name), attr.mode >> _TYPE_SHIFT)
    return dirent + name + bytes(-len(name) % 8)


def full_entry(name: bytes, attr: Attr, position: int) -> bytes:
    """Return what `READDIRPLUS` answers of one name: what a look-up would, too."""
    # Of `.` and `..` the kernel takes the names alone.
    first = _NO_ENTRY if name in (b".", b"..") else entry(attr)
    return first + name_entry(name, attr, position)


def statfs(facts: Statfs) -> bytes:
    """Return `fuse_kstatfs`."""
    return _STATFS.pack(
        facts.blocks,
        facts.bfree,
        facts.bavail,
        facts.files,
        facts.ffree,
        facts.bsize,
        facts.namemax,
        facts.bsize,
    )
