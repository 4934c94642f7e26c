"""An open directory: a pass over it lists what was there when it began, each name once.

Offsets are positions in that list, so telldir(3) and seekdir(3) hold for a pass, whatever is added
or removed meanwhile; a name that has gone since is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from vfs.fs.branch.state import State, merged

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.model.overlay import InodeRow

_DOTS: Final = 2  # "." and ".." come first

Listed = tuple[bytes, int, "InodeRow", int]


class Listing:
    """A directory handle."""

    def __init__(self, state: State, directory: int) -> None:
        self.directory = directory
        self.outdated = False  # a name was changed since the pass began
        self._state = state
        self._changed: dict[bytes, int] | None = None
        self._next = 0
        self._held: tuple[bytes, int, Entry | None] | None = None  # not taken by the kernel yet
        self._rest: Iterator[tuple[bytes, int, Entry | None]] = iter(())

    def read(self, offset: int) -> Iterator[Listed]:
        """Yield names, inodes and the offset behind each from *offset* on; 0 begins a new pass."""
        if offset == 0 or self._changed is None:
            self._changed = self._state.changed_names(self.directory)
            self.outdated = False
            self._seek(0)
        row = self._state.row(self.directory)
        if offset < 1:
            yield b".", self.directory, row, 1
        if offset < _DOTS:
            yield b"..", row.parent, self._state.row(row.parent), _DOTS
        index = max(offset - _DOTS, 0)
        if index != self._next:
            self._seek(index)
        while (found := self._held or self._take()) is not None:
            name, ino, entry = self._held = found
            index += 1
            if self.outdated:
                ino, entry = self._state.find(self.directory, name), None
            if ino:
                yield name, ino, self._row(ino, entry), index + _DOTS
            self._held = None  # the kernel took it, or else would ask for it again
            self._next = index

    def _take(self) -> tuple[bytes, int, Entry | None] | None:
        try:
            return next(self._rest, None)
        except BaseException:
            self._next = -1  # the walk ended with what it could not read: who goes on needs another
            raise

    def _row(self, ino: int, entry: Entry | None) -> InodeRow:
        if entry is None:
            return self._state.row(ino)
        return self._state.base(ino, entry, self.directory)

    def _seek(self, index: int) -> None:
        """Let the next name be the one at *index* of this pass."""
        state, changed = self._state, self._changed or {}
        if not changed and state.origin.is_base(self.directory):
            self._rest = iter(state.origin.walk(self.directory, index))
        else:
            base = state.origin.walk(self.directory) if state.origin.is_base(self.directory) else ()
            self._rest = islice(merged(changed, base), index, None)
        self._next, self._held = index, None
