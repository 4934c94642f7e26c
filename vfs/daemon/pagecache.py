"""Pages of files in the kernel: what was erased must not be read from there.

A version never changes, so the kernel keeps its pages for as long as it likes. Nobody tells a mount
that bytes are gone; whoever took them away has the pages dropped, through the mount itself, and
sees whether they are. The processes of mounts keep no bytes that they would not look up again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from vfs.daemon import mounts, registry
from vfs.mountinfo import Mount
from vfs.mountinfo import mounts as all_mounts


class Place(NamedTuple):
    """A file that has lost bytes."""

    data_set: str
    revision: str  # a commit in hex, or a branch
    path: bytes
    content: bytes  # its id
    offsets: list[int]  # of bytes that can't be read any more


class Left(NamedTuple):
    """A file whose bytes a mount may still show."""

    path: str
    reason: str


Shows = Callable[[str, Place], bool]
"""Says whether a mount of data@REVISION shows a place, too, at the same path."""


def drop(store: Path, places: Iterable[Place], shows: Shows) -> list[Left]:
    """Drop the pages of files from all mounts of a store; return what may still be read."""
    left: list[Left] = []
    of_store = [mount for mount in all_mounts() if mount.ours and mount.source == str(store)]
    answering = []
    for mount in of_store:
        if mounts.health(mount.mountpoint) == "ok":
            answering.append(mount)
        else:
            left.append(Left(mount.mountpoint, "the mount does not answer"))
    for place in places:
        for mount in answering:
            path = _path(mount, place, shows)
            reason = "" if path is None else _drop(path, place.offsets)
            if path is not None and reason:
                left.append(Left(os.fsdecode(path), reason))
    return left


def _path(mount: Mount, place: Place, shows: Shows) -> bytes | None:
    """Return where a mount shows a file; None where it does not."""
    record = registry.find(Path(mount.source), mount.mountpoint)
    top = os.fsencode(mount.mountpoint)
    if record is None or record.target is None:
        return b"/".join((top, f"{place.data_set}@{place.revision}".encode(), place.path))
    return b"/".join((top, place.path)) if shows(record.target, place) else None


def _drop(path: bytes, offsets: list[int]) -> str:
    """Drop the pages of one file; return why its bytes may still be read, "" if they can't."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        is_absent = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR)
        return "" if is_absent else f"it can't be opened: {error.strerror}"
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for offset in offsets:
            if _is_readable(fd, offset):
                return "a program has it mapped into its memory, or other bytes are there by now"
    finally:
        os.close(fd)
    return ""


def _is_readable(fd: int, offset: int) -> bool:
    try:
        return bool(os.pread(fd, 1, offset))
    except OSError:
        return False
