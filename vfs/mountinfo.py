"""What is mounted where, as the kernel says it (proc_pid_mountinfo(5)). Touches no mount."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOUNTINFO: Final = Path("/proc/self/mountinfo")
OUR_TYPE: Final = "fuse.vfs"

_OCTAL: Final = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    number: int  # of the mount, unlike that of the device its own
    mountpoint: str
    device: str  # major:minor, as under /sys/class/bdi
    kind: str
    source: str

    @property
    def ours(self) -> bool:
        """Whether this project mounted it."""
        return self.kind == OUR_TYPE

    @property
    def st_dev(self) -> int:
        """What stat says of the device, but for subvolumes of btrfs, which have their own."""
        major, minor = self.device.split(":")
        return os.makedev(int(major), int(minor))


def mounts() -> list[Mount]:
    """Return all mounts, those that are hidden below others included. Raises OSError."""
    return list(parse(MOUNTINFO.read_bytes()))


def mount_of(path: Path) -> Mount | None:
    """Return the mount that *path* is in. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        number = mount_number(fd)
    finally:
        os.close(fd)
    return next((mount for mount in mounts() if mount.number == number), None)


def parse(mountinfo: bytes) -> Iterator[Mount]:
    """Yield the mounts that the lines of *mountinfo* describe."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(b" - ")
        fields, rest = before.split(b" "), after.split(b" ")
        yield Mount(
            number=int(fields[0]),
            mountpoint=_unescape(fields[4]),
            device=fields[2].decode(),
            kind=rest[0].decode(),
            source=_unescape(rest[1]),
        )


def _unescape(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes((int(match[1], 8),)), field))


def mount_number(fd: int) -> int:
    """Return the number of the mount through which *fd* was opened. Raises OSError."""
    facts = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii")
    return int(facts.partition("mnt_id:")[2].split()[0])
