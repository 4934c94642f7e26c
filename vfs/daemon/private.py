"""Directories that only their owner may look into: where records and logs are. Knows neither.

They are in the store. Where that can't be written, because its disk is full or mounted read-only or
it is another user's, they are in a directory of the user who mounts, one for each store.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
NOT_WRITABLE: Final = frozenset(
    (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
)
"""The errors after which the next place is tried."""

_DIRECTORY_MODE: Final = 0o700


@contextmanager
def opened(directory: Path, *, make: bool = False) -> Iterator[int]:
    """Give a descriptor of *directory*, which must not be a symlink. Raises OSError.

    With *make* it is made where it is missing, and closed to others where it is open to them.
    """
    if make:
        with suppress(FileExistsError):
            directory.mkdir(mode=_DIRECTORY_MODE)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if make:
            with suppress(PermissionError):  # another's, who let us write there
                os.fchmod(fd, _DIRECTORY_MODE)
        yield fd
    finally:
        os.close(fd)


def places(store: Path, *, make: bool = False) -> Iterator[Path]:
    """Yield the directories that may hold what belongs to *store*: first of all the store itself.

    With *make* the others are made, each when it is asked for.
    """
    yield store
    name = hashlib.blake2b(os.fsencode(store), digest_size=8).hexdigest()
    for own in _own_directories():
        with suppress(OSError):
            if make:
                with suppress(FileExistsError):
                    own.mkdir(mode=_DIRECTORY_MODE)
            if not _is_ours_alone(own):
                continue
            if make:
                (own / name).mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            yield own / name


def _own_directories() -> list[Path]:
    user = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    temporary = Path(os.environ.get("TMPDIR") or "/tmp", f"vfs-{user}")  # noqa: S108 - see below
    if user == 0:  # whose XDG_RUNTIME_DIR, after sudo, is another's
        return [Path("/run/vfs"), temporary]
    return [Path(runtime, "vfs"), temporary] if runtime.startswith("/") else [temporary]


def _is_ours_alone(directory: Path) -> bool:
    """Say whether nobody else can have put it there: anybody may make names in /tmp."""
    facts = directory.lstat()
    return (
        stat.S_ISDIR(facts.st_mode)
        and facts.st_uid == os.geteuid()
        and stat.S_IMODE(facts.st_mode) & 0o077 == 0
    )
