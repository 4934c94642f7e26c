"""What an export notes of itself, for later ones to rely on: an attribute of its directory.

It names the tree that was written, and a moment by the clock that sets ctimes: what has an older
ctime is as it was exported. An attribute moves and goes with the directory, and comes with it in
one moment. Imports leave it out (`vfs.repo.importer.inode`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, NamedTuple

from vfs.ids import ID_BYTES, ObjectId

_BY_ROOT: Final = "trusted.vfs.export"
_BY_USER: Final = "user.vfs.export"
_FORM: Final = b"1"  # of the value


class Stamp(NamedTuple):
    """What was exported, and until when."""

    tree: ObjectId
    time_ns: int
    """Later than any change of what was exported, sooner than any change by others."""


def write_stamp(directory: int, tree: ObjectId) -> None:
    """Stamp an open directory whose files all are written; where that can't be, leave it so."""
    name = _BY_ROOT if os.geteuid() == 0 else _BY_USER
    with suppress(OSError):
        os.setxattr(directory, name, _FORM)
        now_ns = os.fstat(directory).st_ctime_ns
        os.setxattr(directory, name, b"%s %s %d" % (_FORM, tree.hex().encode(), now_ns))


def read_stamp(directory: int) -> Stamp | None:
    """Return the stamp of an open directory; None without one that this user can rely on.

    A stamp that somebody else has forged could lead to wrong content. Root relies on what root
    alone can set, any other user on what is in a directory of his own.
    """
    user = os.geteuid()
    if user and os.fstat(directory).st_uid != user:
        return None
    try:
        value = os.getxattr(directory, _BY_USER if user else _BY_ROOT)
        form, tree, time_ns = value.split(b" ")
        stamp = Stamp(ObjectId(bytes.fromhex(tree.decode("ascii"))), int(time_ns))
    except (OSError, ValueError):
        return None
    return stamp if form == _FORM and len(stamp.tree) == ID_BYTES else None
