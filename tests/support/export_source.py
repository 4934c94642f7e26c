"""A directory with one of everything that a version can hold, as root can make it."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in (
        (0x01, 6, 2**32 - 1),
        (0x02, 4, 1234),
        (0x04, 4, 2**32 - 1),
        (0x08, 5, 4321),
        (0x10, 5, 2**32 - 1),
        (0x20, 0, 2**32 - 1),
    )
)
DEFAULT_ACL = ACL[:4] + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((0x01, 7, 2**32 - 1), (0x04, 5, 2**32 - 1), (0x20, 0, 2**32 - 1))
)


def make_source(source: Path, *, sockets: bool = True) -> None:
    """Fill *source*. What only root can make, or the file system lacks, is left out."""
    shuffle = random.Random(11)
    (source / "sub/deeper").mkdir(parents=True)
    (source / "closed").mkdir()
    (source / "closed/in").write_bytes(b"in a directory that nobody may write to")
    (source / "small").write_bytes(b"small")
    (source / "empty").touch(0o400)
    (source / "large").write_bytes(shuffle.randbytes(2_500_000))
    with (source / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(shuffle.randbytes(200_000))
    with (source / "hole at the end").open("wb") as file:
        file.write(b"x" * 70_000)
        file.truncate(1_000_000)
    (source / "only a hole").touch()
    os.truncate(source / "only a hole", 500_000)
    for name in ("sub/first", "sub/second", "third"):
        os.link(source / "large", source / name)
    os.mkfifo(source / "fifo")
    os.link(source / "fifo", source / "sub/same fifo")
    (source / "symlink").symlink_to("no/such/target")
    os.link(source / "symlink", source / "sub/same symlink", follow_symlinks=False)
    if sockets:
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.getcwd()
            os.chdir(source)
            bound.bind("socket")
            os.chdir(here)
    for name in (b"caf\xe9", "snow ☃".encode(), b"new\nline", b"x" * 255, b"=%3D %25"):
        (source / os.fsdecode(name)).write_bytes(name)
    deep = source / ("d" * 120) / ("e" * 120) / ("é" * 60)
    deep.mkdir(parents=True)
    (deep / "far down").write_bytes(b"far")
    os.link(deep / "far down", source / "zz near")
    _set_attributes(source)


def _set_attributes(source: Path) -> None:
    with suppress(OSError):  # tmpfs has no user.*
        os.setxattr(source / "small", "user.note", b"\0\xff=\n")
        os.setxattr(source / "small", "user.empty", b"")
        os.setxattr(source / "small", "user.odd=name%3D", b"odd")
        os.setxattr(source / "sub", "user.of a directory", b"x" * 300)
    with suppress(OSError):
        os.setxattr(source / "small", "system.posix_acl_access", ACL)
        os.setxattr(source / "sub", "system.posix_acl_default", DEFAULT_ACL)
    if os.geteuid() == 0:
        os.setxattr(source / "small", "trusted.secret", b"for root")
        for name, kind in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
            os.mknod(source / name, kind | 0o640, os.makedev(300, 70_000))
        os.chown(source / "sub", 12, 34)
        os.chown(source / "large", 3_000_000_000, 2_999_999_999)
        os.chown(source / "symlink", 5, 6, follow_symlinks=False)
    (source / "large").chmod(0o6755)
    (source / "sub").chmod(0o3775)
    for name, time_ns in (
        ("small", 1),
        ("empty", -1_500_000_000),
        ("large", 9_000_000_000_123_456_789),
        ("sub/deeper", 1_700_000_000_000_000_000),
        ("symlink", 1_600_000_000_999_999_999),
        ("fifo", 123_456_789_012_345_678),
        ("sub", 3),
    ):
        os.utime(source / name, ns=(time_ns, time_ns), follow_symlinks=False)
    (source / "closed").chmod(0o500)
