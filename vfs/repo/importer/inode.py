"""From an inode of the source to the fields of an entry. Knows no store.

Of the extended attributes, those that belong to the data are kept: `user.*`, `trusted.*` (which
only root sees), POSIX ACLs and `security.capability`. Labels that a host's policy puts on files
(`security.selinux`, `.ima`, `.evm`, `.SMACK64`) would be wrong on any other host and are not.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from typing import Final

from vfs.ids import NO_CONTENT
from vfs.model.entry import XATTRS_MAX_BYTES, Entry, Extra

_KEPT_PREFIXES: Final = ("user.", "trusted.")
_KEPT: Final = frozenset(
    ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
)
_ABSENT: Final = frozenset(
    # Gone since they were listed, or the file system has none.
    (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM)
)

Xattrs = tuple[tuple[bytes, bytes], ...]


class Unreadable(Exception):
    """The inode can't be imported; str() says why."""


def keeps_xattr(name: str) -> bool:
    """Say whether the extended attribute *name* is part of the data."""
    return name in _KEPT or name.startswith(_KEPT_PREFIXES)


def read_xattrs(where: int | bytes) -> Xattrs:
    """Return the attributes of an open file, or of a path that is not followed.

    Raises OSError; Unreadable when they are larger than an entry can hold.
    """
    follow = isinstance(where, int)
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
    """Return the entry of an inode, without content. *target* is a symlink's."""
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


def without_link(entry: Entry) -> Entry:
    """Return *entry* as that of an inode with one name."""
    return entry._replace(extra=replace(Extra.decode(entry.extra), link=None).encode())
