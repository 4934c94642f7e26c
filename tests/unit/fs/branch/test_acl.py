"""Access control lists: what the mode and they say together, and what new files inherit."""

from __future__ import annotations

import struct

import pytest

from vfs.errors import InvalidInput
from vfs.fs.branch import acl


def make(*rules: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *rule) for rule in rules)


NOBODY = 0xFFFFFFFF
PLAIN = make((1, 7, NOBODY), (4, 5, NOBODY), (32, 1, NOBODY))
NAMED = make((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY))


def test_the_mode_of_a_plain_list() -> None:
    rules = acl.parse(PLAIN)
    assert acl.is_plain(rules)
    assert acl.mode_of(rules, 0o100644) == 0o100751


def test_the_mask_is_the_group_of_the_mode() -> None:
    rules = acl.parse(NAMED)
    assert not acl.is_plain(rules)
    assert acl.mode_of(rules, 0o104000) == 0o104660


def test_chmod_changes_the_mask_and_not_the_group() -> None:
    changed = acl.with_mode(acl.parse(NAMED), 0o751)
    assert acl.encode(changed) == make(
        (1, 7, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (16, 5, NOBODY), (32, 1, NOBODY)
    )


def test_new_files_inherit_no_more_than_they_were_made_with() -> None:
    access, mode = acl.inherited(NAMED, 0o100640)
    assert mode == 0o100640
    assert acl.parse(access) == acl.parse(
        make((1, 6, NOBODY), (2, 7, 1000), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
    )


def test_what_the_mode_says_is_not_inherited_twice() -> None:
    assert acl.inherited(PLAIN, 0o100666) == (b"", 0o100640)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\2\0\0\0\1",
        struct.pack("<I", 1) + PLAIN[4:],
        make((1, 7, NOBODY), (4, 5, NOBODY)),
        make((1, 7, NOBODY), (1, 7, NOBODY), (4, 5, NOBODY), (32, 1, NOBODY)),
        make((1, 7, NOBODY), (2, 7, 5), (4, 5, NOBODY), (32, 1, NOBODY)),
        make((1, 7, NOBODY), (2, 7, 5), (2, 6, 5), (4, 5, 0), (16, 7, 0), (32, 1, 0)),
        make((1, 8, NOBODY), (4, 5, NOBODY), (32, 1, NOBODY)),
        make((1, 7, NOBODY), (4, 5, NOBODY), (32, 1, NOBODY), (64, 1, NOBODY)),
    ],
)
def test_what_is_no_list_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidInput):
        acl.parse(value)
