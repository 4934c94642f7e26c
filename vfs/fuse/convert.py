"""Facts of `vfs.fs` as pyfuse3 takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyfuse3

if TYPE_CHECKING:
    from vfs.fs.attrs import Statfs


def statvfs_data(facts: Statfs) -> pyfuse3.StatvfsData:
    """Return *facts* as pyfuse3 takes them."""
    answer = pyfuse3.StatvfsData()
    answer.f_bsize = answer.f_frsize = facts.bsize
    answer.f_blocks = facts.blocks
    answer.f_bfree = facts.bfree
    answer.f_bavail = facts.bavail
    answer.f_files = facts.files
    answer.f_ffree = answer.f_favail = facts.ffree
    answer.f_namemax = facts.namemax
    return answer
