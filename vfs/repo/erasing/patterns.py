"""Patterns of paths, followed name by name on the way down a tree. Knows no tree."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final, TypeAlias

from vfs.errors import InvalidInput

States: TypeAlias = "frozenset[tuple[int, int]]"
"""How far each pattern has come: its index, and how many of its parts have been met."""

NOWHERE: Final[States] = frozenset()
_ANY_DEPTH: Final = "**"
_REMEMBERED: Final = 100_000


class Patterns:
    """Globs: `*` and `?` within a name, `**` any number of directories, none too.

    What matches a directory matches all in it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises InvalidInput."""
        self._parts = [_parts(pattern) for pattern in patterns]
        self.start: States = self._closed((index, 0) for index in range(len(patterns)))
        self.step = lru_cache(_REMEMBERED)(self._step)

    def _step(self, states: States, name: bytes) -> States:
        """Return where the patterns are behind one more name."""
        text = os.fsdecode(name)
        reached = []
        for index, at in states:
            parts = self._parts[index]
            if at == len(parts):
                return frozenset([(index, at)])  # below what matches, nothing else counts
            part = parts[at]
            if part is None:
                reached.append((index, at))
            elif part.match(text):
                reached.append((index, at + 1))
        return self._closed(reached)

    def is_match(self, states: States) -> bool:
        """Say whether any pattern is met."""
        return any(at == len(self._parts[index]) for index, at in states)

    def _closed(self, states: Iterable[tuple[int, int]]) -> States:
        """Add what is reached without a further name: `**` stands for no directory, too."""
        closed = set()
        for index, at in states:
            closed.add((index, at))
            while at < len(self._parts[index]) and self._parts[index][at] is None:
                at += 1  # noqa: PLW2901 - as far as it goes
                closed.add((index, at))
        return frozenset(closed)


def _parts(pattern: str) -> list[re.Pattern[str] | None]:
    """Return what each name has to be; None for `**`."""
    names = [part for part in pattern.split("/") if part not in ("", ".")]
    if not names or ".." in names:
        raise InvalidInput(f"'{pattern}' matches no path", hint="such as 'people/**/*.txt'")
    return [None if name == _ANY_DEPTH else re.compile(translate(name)) for name in names]
