"""Where a repair takes from what is damaged: copies of the store, whole or not.

An object is named by its hash, so it is right if its bytes have that hash, wherever they are from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vfs.errors import CorruptObject, InvalidInput, StoreError
from vfs.store.backup import open_backup
from vfs.store.store import Store

if TYPE_CHECKING:
    from vfs.ids import ObjectId


class Source(Protocol):
    """Anything that may have objects."""

    name: str  # for messages

    def get(self, oid: ObjectId) -> bytes | None:
        """Return an object, verified; None where it can't be had."""


class StoreSource:
    """A store, or a backup of one, as a source. It may be damaged itself."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store
        self._reader = store.reader()

    def get(self, oid: ObjectId) -> bytes | None:
        """Return an object, verified; None where it can't be had."""
        try:
            return self._reader.get(oid)
        except (CorruptObject, StoreError):
            return None


@contextmanager
def open_source(path: Path, damaged: Path) -> Iterator[Source]:
    """Open the store or the backup at *path* as a source for the store *damaged*.

    Raises InvalidInput, StoreError.
    """
    if path.is_dir():
        if path.samefile(damaged):
            raise InvalidInput(f"{path} is the store that is to be repaired", hint="name a copy")
        with Store.open(path, readonly=True) as store:
            yield StoreSource(store, str(path))
    elif path.is_file():
        with open_backup(path) as store:
            yield StoreSource(store, str(path))
    else:
        raise InvalidInput(f"there is no store and no backup at {path}")
