"""The origin of a branch: inode numbers for what is in a version, and back, without a table.

The root is 1. An entry is 1 + its rank in a walk of the version, each directory before what is in
it. Trees carry how many entries are below, so the rank is summed up on the way to a name, and
leads back to the entry by a descent. An entry that is one of several hard links can't be numbered
by its place, as all of them are one inode: it is LINKED_INO with the number that snapshots show
(`vfs.store.numbers`), which is the same for all of them and for nothing else.
"""

from __future__ import annotations

import stat
import struct
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, NotADirectory, NotFound
from vfs.ids import NO_CONTENT, Number
from vfs.model.entry import Entry, Totals, directory_entry, directory_totals, has_link
from vfs.model.node import Leaf
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.recent import Recent
from vfs.repo.trees import find_place, find_ranked, leaves, walk

if TYPE_CHECKING:
    from vfs.repo.trees import Nodes, Place
    from vfs.store.numbers import Numbering

CACHED_BYTES: Final = 4 << 20  # of entries: about 8,000

_LINK: Final = struct.Struct(">QQ")  # inode, directory; a name follows

EMPTY: Final = directory_entry(b"", NO_CONTENT, Totals(0, 1, 0, 0))
"""The root where there is no version yet."""


class Origin:
    """The inodes of one version. For one thread."""

    def __init__(self, nodes: Nodes, root: Entry | None, numbering: Numbering) -> None:
        self.root = root or EMPTY
        self._nodes = nodes
        self._numbering = numbering
        totals = directory_totals(self.root)
        self._count = totals.dirs + totals.files
        self._entries: Recent[int, tuple[Entry, int]] = Recent(CACHED_BYTES)
        self._links: list[bytes] | None = None
        numbering.refresh()

    def is_base(self, ino: int) -> bool:
        """Say whether *ino* can be an inode of the origin."""
        return ino & LINKED_INO != 0 or ROOT_INO <= ino <= self._count

    def entry(self, ino: int) -> tuple[Entry, int]:
        """Return the entry of an inode, and the inode of its directory (the root's is its own).

        An inode with several names comes with any name and 0. Raises NotFound.
        """
        found = self._entries.get(ino)
        if found is None:
            found = self._linked(ino) if ino & LINKED_INO else self._descend(ino)
            self._keep(ino, found)
        return found

    def find(self, directory: int, name: bytes) -> tuple[int, Entry] | None:
        """Return the inode and the entry of a name. Raises NotADirectory, NotFound."""
        tree = self._tree(directory)
        place = None if tree.content == NO_CONTENT else find_place(self._nodes, tree.content, name)
        if place is None:
            return None
        entry = place.entry
        ino = self._ino(directory, place, entry)
        self._keep(ino, (entry, 0 if ino & LINKED_INO else directory))
        return ino, entry

    def walk(self, directory: int, start: int = 0) -> Iterator[tuple[bytes, int, Entry]]:
        """Yield names, inodes and entries of a directory, sorted by name, from an index on."""
        tree = self._tree(directory)
        if tree.content != NO_CONTENT:
            for place in walk(self._nodes, tree.content, start):
                entry = place.entry
                yield entry.name, self._ino(directory, place, entry), entry

    def count(self, directory: int) -> int:
        """Return how many entries a directory has."""
        tree = self._tree(directory)
        if tree.content == NO_CONTENT:
            return 0
        node = self._nodes.get(tree.content)
        if isinstance(node, Leaf):
            return len(node)
        return sum(child.sums.entries for child in node.children)

    def names_of_link(self, ino: int) -> list[tuple[int, bytes]]:
        """Return the directories and names of an inode with several.

        The first call reads the whole version: 0.7 s for a million files.
        """
        if self._links is None:
            self._links = sorted(self._find_links())
        names = []
        head = ino.to_bytes(8, "big")
        for at in range(bisect_left(self._links, head), len(self._links)):
            record = self._links[at]
            if not record.startswith(head):
                break
            names.append((_LINK.unpack_from(record)[1], record[_LINK.size :]))
        return names

    def _find_links(self) -> Iterator[bytes]:
        """Yield a record for each name of an inode with several."""
        waiting = [(ROOT_INO, self.root)]
        while waiting:
            directory, tree = waiting.pop()
            if tree.content == NO_CONTENT:
                continue
            for span in leaves(self._nodes, tree.content):
                leaf = span.leaf
                for index in leaf.linked():
                    ino = LINKED_INO | self._numbering.number(leaf.identity(index))
                    yield _LINK.pack(ino, directory) + leaf.names[index]
                for place in span.places() if leaf.has_directories() else ():
                    if stat.S_ISDIR(leaf.mode(place.leaf_index)):
                        entry = place.entry
                        waiting.append((self._ino(directory, place, entry), entry))

    def _tree(self, directory: int) -> Entry:
        entry = self.entry(directory)[0]
        if not entry.is_dir:
            raise NotADirectory("not a directory")
        if entry.content != NO_CONTENT:
            self._nodes.enter(entry)
        return entry

    def _ino(self, directory: int, place: Place, entry: Entry) -> int:
        if has_link(entry.extra):
            return LINKED_INO | self._numbering.number(place.leaf.identity(place.leaf_index))
        return directory + 1 + place.dirs_before + place.files_before

    def _descend(self, ino: int) -> tuple[Entry, int]:
        here, entry, parent = ROOT_INO, self.root, ROOT_INO
        while here != ino:
            if not entry.is_dir or entry.content == NO_CONTENT:
                raise NotFound(f"there is no inode {ino}")
            below = here + 1
            parent = here
            entry, rank = find_ranked(self._nodes, self._nodes.enter(entry), ino - below)
            here = below + rank
            if entry.is_dir:
                self._keep(here, (entry, parent))
        if has_link(entry.extra):
            raise NotFound(f"there is no inode {ino}")
        return entry, parent

    def _linked(self, ino: int) -> tuple[Entry, int]:
        number = Number(ino ^ LINKED_INO)
        place = self._numbering.locate(number)
        if place is None:
            raise NotFound(f"there is no inode {ino}")
        leaf = self._nodes.get(place[0])
        if (
            not isinstance(leaf, Leaf)
            or place[1] >= len(leaf)
            or self._numbering.number(leaf.identity(place[1])) != number
        ):
            raise CorruptObject(f"the table of inode numbers is damaged at {number}")
        entry = leaf.entry(place[1])
        if not has_link(entry.extra):
            raise NotFound(f"there is no inode {ino}")
        return entry, 0

    def _keep(self, ino: int, found: tuple[Entry, int]) -> None:
        entry = found[0]
        self._entries.put(ino, found, 500 + len(entry.name) + len(entry.extra))
