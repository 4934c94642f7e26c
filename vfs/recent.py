"""A bounded cache of what was used last."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Keeps values until their weights add up to more than *room*; drops the least recently used.

    For one thread. A value is never None.
    """

    __slots__ = ("_kept", "_left")

    def __init__(self, room: int) -> None:
        self._left = room
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return what is kept for *key*, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Keep *value*, at the cost of others."""
        old = self._kept.pop(key, None)
        if old is not None:
            self._left += old[1]
        self._kept[key] = value, weight
        self._left -= weight
        while self._left < 0 and self._kept:
            _, (_, freed) = self._kept.popitem(last=False)
            self._left += freed

    def pop(self, key: Key) -> None:
        """Forget *key*."""
        found = self._kept.pop(key, None)
        if found is not None:
            self._left += found[1]
