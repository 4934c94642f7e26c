"""Reading canonical bytes with every length checked. Knows no record."""

from __future__ import annotations

import struct

from vfs.errors import CorruptObject


class Cursor:
    """Takes fields from the front of *data*; anything that does not fit raises CorruptObject."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        """Return the next *length* bytes."""
        end = self._at + length
        if end > len(self._data):
            raise CorruptObject(f"a record ends after {len(self._data)} bytes, {end} were expected")
        field = self._data[self._at : end]
        self._at = end
        return field

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """Return the next fields of *form*."""
        return form.unpack(self.take(form.size))

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._at)

    def at_end(self) -> bool:
        """Say whether everything was taken."""
        return self._at == len(self._data)

    def finish(self) -> None:
        """Raise CorruptObject when anything is left."""
        if not self.at_end():
            raise CorruptObject(f"{len(self._data) - self._at} bytes too many in a record")
