"""Hard links: which entries of a version are names of one inode, and where its first name is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.model.node import identity

if TYPE_CHECKING:
    from vfs.model.entry import Entry, Extra


class LinkSets:
    """The sets of links that are not complete yet. For one thread."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[bytes, int]] = {}  # first name, names to come

    def first_name(self, entry: Entry, extra: Extra, path: bytes) -> bytes | None:
        """Note a name of an inode; return the path of its first one, None if this is it.

        Entries are one inode if they are equal but for the name; `Link.group` sees to that.
        """
        assert extra.link is not None
        key = identity(entry)
        known = self._open.get(key)
        if known is None:
            self._open[key] = path, extra.link.nlink - 1
            return None
        first, left = known
        if left > 1:
            self._open[key] = first, left - 1
        else:
            del self._open[key]
        return first

    def forget(self, entry: Entry) -> None:
        """The first name could not be made: the next one is the first."""
        self._open.pop(identity(entry), None)
