from __future__ import annotations

import os
from pathlib import Path

from vfs.mountinfo import Mount, mount_number, mount_of, mounts, parse

LINES = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
40 22 0:45 / /mnt/a\040b\134c\377 ro shared:1 master:2 - fuse.vfs /s\040t ro
"""


def test_lines_with_and_without_optional_fields() -> None:
    proc, ours = parse(LINES)
    assert proc == Mount(22, "/proc", "0:21", "proc", "proc")
    assert (ours.mountpoint, ours.source) == ("/mnt/a b\\c\udcff", "/s t")
    assert (proc.ours, ours.ours) == (False, True)
    assert ours.st_dev == os.makedev(0, 45)


def test_a_directory_is_found_by_its_mount() -> None:
    directory = os.open("/proc/self", os.O_RDONLY)
    try:
        (mount,) = (one for one in mounts() if one.number == mount_number(directory))
    finally:
        os.close(directory)
    assert mount.kind == "proc"
    assert mount.st_dev == Path("/proc/self").stat().st_dev


def test_the_mount_that_a_file_is_in() -> None:
    mount = mount_of(Path("/proc/self/status"))
    assert mount is not None
    assert (mount.mountpoint, mount.kind) == ("/proc", "proc")
