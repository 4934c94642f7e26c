"""Extended attributes and ACLs in pax headers -> those of an entry. Knows no archive."""

from __future__ import annotations

import base64
import binascii
import grp
import pwd
import struct
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from vfs.repo.importer.inode import Xattrs, check_xattrs, keeps_xattr

_SCHILY: Final = b"SCHILY.xattr."
_LIBARCHIVE: Final = b"LIBARCHIVE.xattr."
_ACLS: Final = {
    b"SCHILY.acl.access": b"system.posix_acl_access",
    b"SCHILY.acl.default": b"system.posix_acl_default",
}
ACL_KEYS: Final = {name: key for key, name in _ACLS.items()}
_MAY_BE_EMPTY: Final = (b"user.", b"trusted.")
"""An empty value of any other key of pax says that there is no such thing."""

# linux/posix_acl_xattr.h
_ACL_HEAD: Final = struct.pack("<I", 2)
_ACL_ENTRY: Final = struct.Struct("<HHI")
_NO_ID: Final = 2**32 - 1
_OWNER, _USER, _GROUP_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_TAG_NAMES: Final = {
    _OWNER: b"user",
    _USER: b"user",
    _GROUP_OWNER: b"group",
    _GROUP: b"group",
    _MASK: b"mask",
    _OTHER: b"other",
}
_MINIMAL: Final = 3  # an access ACL of three entries says what the mode says


class BadAttribute(Exception):
    """An attribute that can't be kept; str() says why."""


def xattrs_of(headers: Mapping[bytes, bytes]) -> tuple[Xattrs, list[str]]:
    """Return the attributes in pax *headers*, and what of them can't be kept.

    Raises Unreadable when they are larger than an entry can hold.
    """
    found: dict[bytes, bytes] = {}
    lost: list[str] = []
    for key, text in headers.items():
        name, value = b"", text
        try:
            if key in _ACLS:
                name = _ACLS[key]
                value = acl_from_text(value, is_default=key.endswith(b"default"))
            elif key.startswith(_SCHILY):
                name = key[len(_SCHILY) :].replace(b"%3D", b"=").replace(b"%25", b"%")  # GNU tar's
            elif key.startswith(_LIBARCHIVE):
                name = unquote_to_bytes(key[len(_LIBARCHIVE) :])
                value = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
        except (BadAttribute, binascii.Error) as error:
            lost.append(f"its {key.decode('utf-8', 'backslashreplace')}: {error}")
            continue
        if not value and not name.startswith(_MAY_BE_EMPTY):
            continue
        if keeps_xattr(name.decode("utf-8", "surrogateescape")):
            if len(name) > 255 or b"\0" in name:
                lost.append("an extended attribute with an impossible name")
                continue
            found[name] = value
    xattrs = tuple(sorted(found.items()))
    check_xattrs(xattrs)
    return xattrs, lost


def acl_from_text(text: bytes, *, is_default: bool) -> bytes:
    """Return an ACL in the kernel's form, b"" for none or one that says no more than a mode.

    Entries are `tag:who:permissions`, where star adds `:id`. Raises BadAttribute.
    """
    entries = []
    for line in text.replace(b"\n", b",").split(b","):
        words = line.split(b"#", 1)[0].strip()
        if words:
            entries.append(_acl_entry(words.split(b":")))
    if not entries or (len(entries) <= _MINIMAL and not is_default):
        return b""
    tags = [tag for tag, _, _ in entries]
    if any(tags.count(tag) != 1 for tag in (_OWNER, _GROUP_OWNER, _OTHER)):
        raise BadAttribute("it is no complete ACL")
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    return _ACL_HEAD + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries)


def acl_to_text(value: bytes, *, is_default: bool) -> bytes:
    """Return the text of an ACL in the kernel's form; b"" where no text is read back as that.

    Users and groups are numbers in it: their names may be another's elsewhere.
    """
    lines = []
    if len(value) < len(_ACL_HEAD) or (len(value) - len(_ACL_HEAD)) % _ACL_ENTRY.size:
        return b""
    for tag, bits, who in _ACL_ENTRY.iter_unpack(value[len(_ACL_HEAD) :]):
        if tag not in _TAG_NAMES or bits > 7:
            return b""
        name = b"%d" % who if tag in (_USER, _GROUP) else b""
        rights = bytes(
            c if bits & bit else ord("-") for c, bit in zip(b"rwx", (4, 2, 1), strict=True)
        )
        lines.append(b":".join((_TAG_NAMES[tag], name, rights)))
    text = b"\n".join(lines)
    try:
        return text if acl_from_text(text, is_default=is_default) == value else b""
    except BadAttribute:
        return b""


def _acl_entry(fields: list[bytes]) -> tuple[int, int, int]:
    if fields[0] == b"default":  # some write it in front of each entry
        del fields[0]
    if len(fields) < 3:
        # `mask::rwx` is also written `mask:rwx`, and `other` likewise.
        fields = [fields[0], b"", *fields[1:]]
    if len(fields) < 3:
        raise BadAttribute("it is no ACL")
    kind, who, permissions, *more = fields
    if len(more) > 1 or len(permissions) < 3 or permissions.strip(b"rwx-"):
        raise BadAttribute("it is no ACL")
    bits = 0
    for letter, bit in ((b"r", 4), (b"w", 2), (b"x", 1)):
        bits |= bit if letter in permissions else 0
    if kind in (b"user", b"u"):
        return (_USER, bits, _acl_id(who, more, _user_id)) if who else (_OWNER, bits, _NO_ID)
    if kind in (b"group", b"g"):
        if who:
            return _GROUP, bits, _acl_id(who, more, _group_id)
        return _GROUP_OWNER, bits, _NO_ID
    if kind in (b"mask", b"m", b"other", b"o") and not who:
        return (_MASK if kind.startswith(b"m") else _OTHER), bits, _NO_ID
    raise BadAttribute("it is no ACL")


def _user_id(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group_id(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _acl_id(who: bytes, more: list[bytes], look_up: Callable[[str], int]) -> int:
    number = more[0] if more else who
    if number.isdigit():
        value = int(number)
        if value >= _NO_ID:
            raise BadAttribute("it names an impossible id")
        return value
    try:
        return look_up(who.decode("utf-8", "surrogateescape"))
    except (KeyError, UnicodeError):
        name = who.decode("utf-8", "backslashreplace")
        raise BadAttribute(f"this machine does not know '{name}'") from None
