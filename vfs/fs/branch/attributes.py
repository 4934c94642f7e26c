"""Attributes of a branch's inodes: what chmod, chown, utimes, truncate and setxattr change."""

from __future__ import annotations

import stat
from typing import Any, Final, TypedDict

from vfs.errors import (
    FileTooLarge,
    InvalidInput,
    IsADirectory,
    NoData,
    NoRoom,
    NotPermitted,
    NotSupported,
)
from vfs.fs.branch import acl
from vfs.fs.branch.files import OpenFiles
from vfs.fs.branch.inodes import Inodes, now_ns
from vfs.model.entry import PAST_XATTRS, SIZE_MAX_BYTES, XATTRS_MAX_BYTES
from vfs.model.overlay import InodeRow

_TIMES: Final = frozenset(("atime_ns", "mtime_ns", "ctime_ns"))
_UNCOUNTED: Final = frozenset(("atime_ns", "ctime_ns"))
_TIME_MIN_NS: Final = -(1 << 63)
_TIME_MAX_NS: Final = (1 << 63) - 1
"""Times beyond are brought in, as Linux does it for file systems with less room for them."""

_NAMESPACES: Final = (b"user.", b"trusted.", b"security.")


class SetAttr(TypedDict, total=False):
    """What setattr is to change."""

    mode: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class Attributes:
    """Changes attributes."""

    def __init__(self, inodes: Inodes, files: OpenFiles) -> None:
        self._inodes = inodes
        self._files = files

    def setattr(self, ino: int, change: SetAttr) -> InodeRow:
        """Change attributes; return all."""
        row = self._inodes.row(ino)
        fields: dict[str, Any] = {**change}
        for name in _TIMES.intersection(change):
            if not _TIME_MIN_NS <= fields[name] <= _TIME_MAX_NS:
                fields[name] = _TIME_MIN_NS if fields[name] < 0 else _TIME_MAX_NS
        counts = not _UNCOUNTED.issuperset(change)
        if counts:
            fields.setdefault("ctime_ns", now_ns())
        if "mode" in fields:
            fields["mode"] = stat.S_IFMT(row.mode) | stat.S_IMODE(fields["mode"])
            fields["xattrs"] = _acl_after_chmod(row.xattrs, fields["mode"])
        elif "uid" in fields or "gid" in fields:
            fields["mode"] = _without_privileges(row.mode)
        if "size" in change:
            self._truncate(ino, row, change["size"])
        row = row.replaced(fields)
        if counts:
            return self._inodes.change(ino, row)
        self._inodes.state.put(ino, row, counts=False)
        return row

    def truncate(self, ino: int, *, privileged: bool) -> None:
        """Empty a file that is being opened (O_TRUNC)."""
        mode = self._inodes.row(ino).mode
        self.setattr(ino, SetAttr(size=0, mode=mode if privileged else _without_privileges(mode)))

    def _truncate(self, ino: int, row: InodeRow, size: int) -> None:
        if not stat.S_ISREG(row.mode):
            raise IsADirectory("only regular files have a size to set")
        if size > SIZE_MAX_BYTES:
            raise FileTooLarge(f"a file of {size} bytes")
        if size < row.size:
            self._files.truncate(ino, size)

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises NoData."""
        _check_name(name)
        for key, value in self._inodes.row(ino).xattrs:
            if key == name:
                return value
        raise NoData(f"there is no attribute {name!r}")

    def listxattr(self, ino: int) -> list[bytes]:
        """Return the names of the extended attributes."""
        return [key for key, _ in self._inodes.row(ino).xattrs if not key.startswith(PAST_XATTRS)]

    def setxattr(self, ino: int, name: bytes, value: bytes, *, in_group: bool = True) -> None:
        """Set an extended attribute; an access ACL sets the mode as well.

        *in_group*: who asks may keep a set-gid bit, as root and members of the group may.
        """
        _check_writable(name)
        row = self._inodes.row(ino)
        attributes = dict(row.xattrs)
        mode = row.mode
        if name not in acl.NAMES:
            attributes[name] = value
        elif not value:
            attributes.pop(name, None)
        else:
            if name == acl.DEFAULT and not stat.S_ISDIR(mode):
                raise NotSupported("only directories have a default ACL")
            rules = acl.parse(value)
            if name == acl.ACCESS:
                mode = acl.mode_of(rules, mode)
                if not in_group:
                    mode &= ~stat.S_ISGID
            if name == acl.ACCESS and acl.is_plain(rules):
                attributes.pop(name, None)
            else:
                attributes[name] = acl.encode(rules)
        if sum(3 + len(key) + len(data) for key, data in attributes.items()) > XATTRS_MAX_BYTES:
            raise NoRoom(f"more than {XATTRS_MAX_BYTES} bytes of attributes")
        self._set_xattrs(ino, row._replace(mode=mode), attributes)

    def removexattr(self, ino: int, name: bytes) -> None:
        """Remove an extended attribute. Raises NoData; not for an ACL, which is then the mode."""
        _check_writable(name)
        row = self._inodes.row(ino)
        attributes = dict(row.xattrs)
        if attributes.pop(name, None) is None and name not in acl.NAMES:
            raise NoData(f"there is no attribute {name!r}")
        self._set_xattrs(ino, row, attributes)

    def _set_xattrs(self, ino: int, row: InodeRow, attributes: dict[bytes, bytes]) -> None:
        xattrs = tuple(sorted(attributes.items()))
        self._inodes.change(ino, row._replace(xattrs=xattrs, ctime_ns=now_ns()))


def _acl_after_chmod(
    xattrs: tuple[tuple[bytes, bytes], ...], mode: int
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (name, acl.encode(acl.with_mode(acl.parse(value), mode)) if name == acl.ACCESS else value)
        for name, value in xattrs
    )


def _check_writable(name: bytes) -> None:
    _check_name(name)
    if name.startswith(PAST_XATTRS):
        raise NotPermitted(f"{name!r} tells of the past, which nobody changes")


def _check_name(name: bytes) -> None:
    if name in acl.NAMES:
        return
    if not name.startswith(_NAMESPACES):
        raise NotSupported(f"attributes like {name!r} can't be had")
    if name in _NAMESPACES:
        raise InvalidInput("a namespace is no attribute")


def _without_privileges(mode: int) -> int:
    """Return the mode that is left when the owner changes: nobody else's privileges."""
    if stat.S_ISDIR(mode):
        return mode
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode
