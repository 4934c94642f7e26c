"""POSIX access control lists as extended attributes hold them; see acl(5) and posix_acl_xattr.h.

The kernel checks accesses. What is left to a file system: an access ACL and the mode say one thing,
and new files inherit the default ACL of their directory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from vfs.errors import InvalidInput

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

NAMES: Final = (ACCESS, DEFAULT)

_VERSION: Final = struct.pack("<I", 2)
_RECORD: Final = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_NAMED: Final = frozenset((_USER, _GROUP))
_REQUIRED: Final = (_USER_OBJ, _GROUP_OBJ, _OTHER)
_ALL: Final = frozenset((_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER))


class Rule(NamedTuple):
    """One entry of an ACL."""

    tag: int
    permissions: int
    who: int


def parse(value: bytes) -> list[Rule]:
    """Return the entries of an ACL. Raises InvalidInput for what acl_valid(3) would refuse."""
    body = value[len(_VERSION) :]
    if not value.startswith(_VERSION) or len(body) % _RECORD.size:
        raise InvalidInput("not an access control list")
    rules = [Rule(*record) for record in _RECORD.iter_unpack(body)]
    tags = [rule.tag for rule in rules]
    names = [(rule.tag, rule.who) for rule in rules if rule.tag in _NAMED]
    if (
        not _ALL.issuperset(tags)
        or any(rule.permissions & ~7 for rule in rules)
        or any(tags.count(tag) != 1 for tag in _REQUIRED)
        or tags.count(_MASK) > 1
        or (names and _MASK not in tags)
        or len(set(names)) != len(names)
    ):
        raise InvalidInput("not a valid access control list")
    return sorted(rules, key=lambda rule: (rule.tag, rule.who if rule.tag in _NAMED else 0))


def encode(rules: Sequence[Rule]) -> bytes:
    """Return the attribute's value."""
    return _VERSION + b"".join(_RECORD.pack(*rule) for rule in rules)


def mode_of(rules: Sequence[Rule], mode: int) -> int:
    """Return *mode* with the permissions that an access ACL stands for."""
    bits = {rule.tag: rule.permissions for rule in rules if rule.tag not in _NAMED}
    group = bits.get(_MASK, bits[_GROUP_OBJ])
    return mode & ~0o777 | bits[_USER_OBJ] << 6 | group << 3 | bits[_OTHER]


def is_plain(rules: Sequence[Rule]) -> bool:
    """Say whether the mode alone says the same."""
    return len(rules) == len(_REQUIRED)


def with_mode(rules: Sequence[Rule], mode: int) -> list[Rule]:
    """Return an access ACL after chmod(2)."""
    has_mask = any(rule.tag == _MASK for rule in rules)
    bits = {
        _USER_OBJ: mode >> 6 & 7,
        _MASK if has_mask else _GROUP_OBJ: mode >> 3 & 7,
        _OTHER: mode & 7,
    }
    return [rule._replace(permissions=bits.get(rule.tag, rule.permissions)) for rule in rules]


def inherited(default: bytes, mode: int) -> tuple[bytes, int]:
    """Return access ACL (b"" where the mode says all) and mode of what is made below *default*.

    *mode* is what open(2) or mkdir(2) was given: nobody gets more than it says.
    """
    rules = parse(default)
    allowed = {
        _USER_OBJ: mode >> 6 & 7,
        _MASK if any(rule.tag == _MASK for rule in rules) else _GROUP_OBJ: mode >> 3 & 7,
        _OTHER: mode & 7,
    }
    rules = [
        rule._replace(permissions=rule.permissions & allowed.get(rule.tag, 7)) for rule in rules
    ]
    return b"" if is_plain(rules) else encode(rules), mode_of(rules, mode)
