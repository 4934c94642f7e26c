"""What LMDB, and the look at its pages, run into, as facts that a user can do something about."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from vfs.errors import StoreError, StoreFull
from vfs.store.pages import DamagedPage

MAX_READERS: Final = 1024
"""Read transactions at once, of all processes."""

_DAMAGED: Final = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.VersionMismatchError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.IncompatibleError,
)
_SHORT_WRITE_BYTES: Final = 1 << 20


class MapFull(Exception):
    """The map is full: grow it and try again."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except lmdb.Error as error:
        raise translate(error, path) from error


@contextmanager
def trusted(path: Path) -> Iterator[None]:
    """Turn what `vfs.store.pages` finds damaged into our error."""
    try:
        yield
    except DamagedPage as error:
        raise store_damaged(path, error) from error


def translate(error: lmdb.Error, path: Path) -> Exception:
    """Return what *error* means to a user."""
    if isinstance(error, lmdb.MapFullError):
        return MapFull()
    if isinstance(error, _DAMAGED):
        return store_damaged(path, error)
    if isinstance(error, lmdb.NotFoundError):
        return StoreError(f"{path} holds LMDB data, but no vfs store", hint="give another --store")
    if isinstance(error, lmdb.ReadersFullError):
        return StoreError(f"more than {MAX_READERS} readers use the store {path}")
    if _is_disk_full(error, path):
        return store_full(path)
    return StoreError(f"the store {path} can't be used: {error}")


def store_damaged(path: Path, error: object) -> StoreError:
    """Return what to raise where LMDB's own pages are not what they should be."""
    return StoreError(
        f"the store {path} is damaged, or is no vfs store: {error}",
        hint="'vfs fsck' says what is damaged; restore it from a backup",
    )


def store_full(path: Path) -> StoreFull:
    """Return what to raise where the disk takes no more."""
    return StoreFull(
        f"the disk that holds the store {path} is full",
        hint="make room there; what was confirmed is kept",
    )


def _is_disk_full(error: lmdb.Error, path: Path) -> bool:
    if any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
        return True
    if os.strerror(errno.EIO) not in str(error):
        return False
    # LMDB calls it EIO when a write ends early, as the one does that fills the disk.
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < _SHORT_WRITE_BYTES
