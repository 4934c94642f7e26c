"""On which file systems the times of an inode say whether it has changed. Knows no index.

That needs a ctime, which the kernel sets at every change and nobody can set back. squashfs, erofs,
iso9660, udf and most of what comes through FUSE have none and show the mtime in its place; their
inode numbers are sequential, so that two releases mounted in turn look the same to stat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from vfs.mountinfo import mount_number, mounts

KEEP_CTIME: Final = frozenset(
    "bcachefs btrfs ceph ext2 ext3 ext4 f2fs gpfs jfs lustre nilfs2 reiserfs tmpfs xfs zfs".split()
)
SHOW_ANOTHERS: Final = frozenset("nfs nfs4 overlay virtiofs".split())
"""Their times are those of the file system below, whichever that is. A ctime that differs from the
mtime proves that there is one."""


@dataclass(frozen=True, slots=True)
class Times:
    """What the times on one file system are worth."""

    device: int
    kind: str  # of the file system; "" when it is not known

    def tell(self, st: os.stat_result) -> bool:
        """Say whether the times of an inode show that it has not changed."""
        if self.kind in KEEP_CTIME:
            # A file can be mounted, too; its directory's file system says nothing about it then.
            return st.st_dev == self.device
        return self.kind in SHOW_ANOTHERS and st.st_ctime_ns != st.st_mtime_ns


class Trust:
    """Knows the file systems of one walk."""

    def __init__(self) -> None:
        self._known: dict[int, Times] = {}

    def of(self, directory: int, st: os.stat_result) -> Times:
        """Return what the times below an open directory are worth; *st* is its own."""
        known = self._known.get(st.st_dev)
        if known is None:
            known = self._known[st.st_dev] = Times(st.st_dev, self._kind(directory))
        return known

    @staticmethod
    def _kind(directory: int) -> str:
        # By the mount: a subvolume of btrfs has a device number that no mount shows.
        try:
            number = mount_number(directory)
            return next((one.kind for one in mounts() if one.number == number), "")
        except (OSError, ValueError, IndexError):
            return ""
