"""From an inode of the source to the fields of an entry. Knows no store.

Of the extended attributes, those that belong to the data are kept: `user.*`, `trusted.*` (which
only root sees), POSIX ACLs and `security.capability`. Labels that a host's policy puts on files
(`security.selinux`, `.ima`, `.evm`, `.SMACK64`) would be wrong on any other host and are not, and
neither is `user.vfs.*`, which a mount makes up.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from types import TracebackType
from typing import Final

from vfs.ids import NO_CONTENT
from vfs.model.entry import PAST_XATTRS, TARGET_MAX_BYTES, XATTRS_MAX_BYTES, Entry, Extra, Link
from vfs.model.node import Leaf, decode_node, encode_leaf

_KEPT_PREFIXES: Final = ("user.", "trusted.")
_KEPT: Final = frozenset(
    ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
)
_MADE_UP: Final = (PAST_XATTRS.decode("ascii"), "trusted.vfs.", "trusted.SGI_ACL_")
"""By a mount, by an export (`vfs.repo.exporter.stamp`), by XFS, which shows ACLs a second time."""
_ABSENT: Final = frozenset(
    # Gone since they were listed, or the file system has none.
    (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM)
)

TIME_MAX_NS: Final = 2**63 - 1
CHANGED: Final = "it changed while it was read"

Xattrs = tuple[tuple[bytes, bytes], ...]


class Unreadable(Exception):
    """The inode can't be imported; str() says why."""


class _Source:
    """Around calls on the source: an OSError is one of the source only here.

    A class: a generator would cost 1 us for each of several calls a file takes.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            gone = error.errno == errno.ENOENT
            reason = (
                "it vanished before it could be read" if gone else os.strerror(error.errno or 0)
            )
            raise Unreadable(reason) from error


SOURCE: Final = _Source()


def keeps_xattr(name: str) -> bool:
    """Say whether the extended attribute *name* is part of the data."""
    return name in _KEPT or (name.startswith(_KEPT_PREFIXES) and not name.startswith(_MADE_UP))


def read_xattrs(where: int | bytes) -> Xattrs:
    """Return the attributes of an open file, or of a path that is not followed.

    Raises Unreadable, also when they are larger than an entry can hold.
    """
    follow = isinstance(where, int)
    with SOURCE:
        try:
            names = os.listxattr(where, follow_symlinks=follow)
        except OSError as error:
            if error.errno in _ABSENT:
                return ()
            raise
        return _read_values(where, names, follow=follow) if names else ()


def _read_values(where: int | bytes, names: list[str], *, follow: bool) -> Xattrs:
    found = []
    for name in names:
        if not keeps_xattr(name):
            continue
        try:
            value = os.getxattr(where, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            raise
        found.append((os.fsencode(name), value))
    xattrs = tuple(sorted(found))
    check_xattrs(xattrs)
    return xattrs


def check_xattrs(xattrs: Xattrs) -> None:
    """Raise Unreadable when they are larger than an entry can hold."""
    size = sum(len(name) + len(value) + 3 for name, value in xattrs)
    if size > XATTRS_MAX_BYTES:
        raise Unreadable(
            f"its extended attributes take {size:,} bytes, {XATTRS_MAX_BYTES:,} can be kept"
        )


def entry_of(name: bytes, st: os.stat_result, xattrs: Xattrs, target: bytes = b"") -> Entry:
    """Return the entry of an inode, without content. *target* is a symlink's.

    Raises Unreadable when an entry can't hold it.
    """
    if not -TIME_MAX_NS <= st.st_mtime_ns <= TIME_MAX_NS:
        raise Unreadable(f"its time, {st.st_mtime_ns // 10**9} s, is not between 1678 and 2262")
    if len(target) > TARGET_MAX_BYTES:
        raise Unreadable(f"it is a symlink to a path of {len(target):,} bytes")
    mode = st.st_mode
    kind = stat.S_IFMT(mode)
    extra = b""
    size = 0
    if kind == stat.S_IFREG:
        size = st.st_size
        if xattrs:
            extra = Extra(xattrs=xattrs).encode()
    else:
        rdev = st.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        size = len(target)
        if xattrs or rdev or target:
            extra = Extra(rdev=rdev, target=target, xattrs=xattrs).encode()
    return Entry(name, mode, st.st_uid, st.st_gid, st.st_mtime_ns, size, NO_CONTENT, 0, extra)


def with_holes(entry: Entry, holes: int) -> Entry:
    """Return the file *entry* with *holes* bytes of its size in holes."""
    if not holes:
        return entry
    return entry._replace(extra=replace(Extra.decode(entry.extra), holes=holes).encode())


def with_link(entry: Entry, link: Link | None) -> Entry:
    """Return *entry* as one name of a set of hard links; None: as the only name of its inode."""
    return entry._replace(extra=replace(Extra.decode(entry.extra), link=link).encode())


def encode_entry(entry: Entry) -> bytes:
    """Return the bytes of one entry by itself."""
    return encode_leaf([entry])


def decode_entry(data: bytes) -> Entry:
    """Return the entry that `encode_entry` was given."""
    leaf = decode_node(data)
    assert isinstance(leaf, Leaf)
    return leaf.entry(0)
