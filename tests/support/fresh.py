"""A view of which each call is answered by a new instance: what one worker says, all know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vfs.fs.attrs import Attr


class Fresh:
    """Every call on a view of its own, without caches; a listing is taken in pieces of three."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            return getattr(self._make(), name)(*arguments)

        return call

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        while True:
            listing = self._make().readdir(node, offset)
            found = [row for row, _ in zip(listing, range(3), strict=False)]
            if not found:
                return
            yield from found
            offset = found[-1][2]
