"""A branch as a snapshot of its overlay has it: inodes, places, paths, and what is committed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Totals, directory_totals
from vfs.model.overlay import ROOT_INO, InodeRow
from vfs.repo.origin import Origin

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path
    from vfs.store.overlayrows import OverlaySnapshot

Place = tuple[int, bytes]
"""A directory's inode and a name in it."""


class BranchState:
    """Reads a held snapshot on top of its origin. For one thread."""

    def __init__(self, repo: Repository, taken: OverlaySnapshot) -> None:
        commit = taken.header.origin
        root = None if commit is None else repo.commit(commit).root
        self.taken = taken
        self.origin = Origin(repo.nodes, root, repo.store.numbering)
        self._paths: dict[int, Path] = {ROOT_INO: ()}

    def find(self, directory: int, name: bytes, row: int | None) -> int:
        """Return the inode behind a name of which *row* is what the overlay says; 0 for none."""
        if row is not None:
            return row
        if not self.origin.is_base(directory):
            return 0
        found = self.origin.find(directory, name)
        return 0 if found is None else found[0]

    def is_gone(self, directory: int) -> bool:
        """Say whether a directory in which names changed is not there any more."""
        # It has a row, as its times changed with the names, unless it was removed for good.
        row = self.taken.inode(directory)
        return row is None or not row.nlink

    def place(self, directory: int) -> Place:
        """Return where a directory is that is not the root."""
        row = self.taken.inode(directory)
        if row is not None:
            return row.parent, row.name
        entry, parent = self.origin.entry(directory)
        return parent, entry.name

    def places(self, ino: int, row: InodeRow) -> list[Place]:
        """Return all places of an inode that has a row; none for one without a name."""
        if not row.nlink or ino == ROOT_INO:
            return []
        if row.nlink > 1 and not stat.S_ISDIR(row.mode):
            return self.taken.links(ino)
        return [(row.parent, row.name)]

    def path(self, directory: int) -> Path:
        """Return the path of a directory."""
        above = []
        while directory not in self._paths:
            above.append(directory)
            directory = self.place(directory)[0]
        path = self._paths[directory]
        for below in reversed(above):
            path = self._paths[below] = (*path, self.place(below)[1])
        return path

    def committed(self, directory: int) -> tuple[ObjectId, Totals] | None:
        """Return the tree that a directory was committed as; None for one that is new."""
        tree = self.taken.tree(directory)
        if tree is None and self.origin.is_base(directory):
            entry = self.origin.entry(directory)[0]
            tree = entry.content, directory_totals(entry)
        return tree if tree is not None and tree[0] != NO_CONTENT else None
