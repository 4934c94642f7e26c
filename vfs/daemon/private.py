"""Directories that only their owner may look into: where records and logs are. Knows neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
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
