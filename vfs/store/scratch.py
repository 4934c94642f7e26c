"""A map from bytes to bytes on disk, for what might not fit into memory. Gone when it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import lmdb

from vfs.store.lmdberrors import translated

_MAP_BYTES: Final = 1 << 40
_PAGE_BYTES: Final = 4096
_COMMIT_EVERY: Final = 4096  # pages that changes dirty at most: they are kept in memory until then


class Scratch:
    """A sorted map, for one thread. A context manager: leaving it deletes it."""

    def __init__(self, parent: Path) -> None:
        import tempfile  # noqa: PLC0415 - 3 ms, and most commands need no scratch

        self._parent = parent
        with translated(parent), tempfile.TemporaryDirectory(dir=parent, prefix="scratch-") as path:
            self._env = lmdb.open(path, map_size=_MAP_BYTES, sync=False, metasync=False, lock=False)
        # The files have no name from here on: the kernel frees them, however this process ends.
        self._txn = self._env.begin(write=True)
        self._dirty = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the map, and so delete it."""
        self._txn.abort()
        self._env.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        return self._txn.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of *key*, of at most 511 bytes, as LMDB takes no more."""
        with translated(self._parent):
            self._txn.put(key, value)
            self._changed(1 + len(value) // _PAGE_BYTES)

    def pop(self, key: bytes) -> bytes | None:
        """Remove *key*; return its value, or None."""
        with translated(self._parent):
            value = self._txn.pop(key)
            self._changed(1)
        return value

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the items whose keys start with *prefix*, in ascending order of the keys.

        The map must not be changed meanwhile.
        """
        with self._txn.cursor() as cursor:
            found = cursor.set_range(prefix) if prefix else cursor.first()
            while found and cursor.key().startswith(prefix):
                yield cursor.item()
                found = cursor.next()

    def __len__(self) -> int:
        return self._txn.stat(self._env.open_db(None, txn=self._txn))["entries"]

    def _changed(self, pages: int) -> None:
        self._dirty += pages
        if self._dirty >= _COMMIT_EVERY:
            self._txn.commit()
            self._txn = self._env.begin(write=True)
            self._dirty = 0
