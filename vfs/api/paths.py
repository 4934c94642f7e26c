"""Paths and what stands at them, in Python's words."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vfs.errors import InvalidName
from vfs.model.entry import Extra, directory_totals
from vfs.model.names import check_entry_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfs.model.entry import Entry

PathLike: TypeAlias = "str | os.PathLike[str]"
Kind: TypeAlias = Literal[
    "file", "directory", "symlink", "fifo", "socket", "character device", "block device"
]

_KINDS: Final[dict[int, Kind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What stands at a path of a version."""

    path: str  # below the version's root, without a slash in front; "" for the root
    kind: Kind
    size: int  # bytes of a file, or of a symlink's target; of all files below a directory
    mode: int  # permissions, without the type
    uid: int
    gid: int
    mtime_ns: int
    content: str  # id of what a file or directory holds, in hex: equal ids, equal bytes
    target: str  # of a symlink

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """Say whether this is a regular file."""
        return self.kind == "file"

    @property
    def is_dir(self) -> bool:
        """Say whether this is a directory."""
        return self.kind == "directory"


def parse_path(path: PathLike) -> tuple[bytes, ...]:
    """Return the names that *path* consists of. Raises InvalidName for `..` and the like."""
    try:
        parts = os.fsencode(path).split(b"/")
    except UnicodeEncodeError:
        raise InvalidName(f"{path!r} has a character that no file name can have") from None
    return tuple(check_entry_name(part) for part in parts if part not in (b"", b"."))


def show_path(path: Sequence[bytes]) -> str:
    """Return what `parse_path` takes."""
    return os.fsdecode(b"/".join(path))


def info_of(path: Sequence[bytes], entry: Entry) -> Info:
    """Return what is known of *entry*, which stands at *path*."""
    return Info(
        path=show_path(path),
        kind=_KINDS[entry.kind],
        size=directory_totals(entry).bytes if entry.is_dir else entry.size,
        mode=stat.S_IMODE(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=entry.mtime_ns,
        content=entry.content.hex(),
        target=os.fsdecode(Extra.decode(entry.extra).target),
    )
