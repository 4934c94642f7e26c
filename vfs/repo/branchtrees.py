"""The trees of a commit of a branch, from what changed in it since the last one.

Directories are made from the deepest up: of each the names that changed, on top of the tree that
it was committed as. A directory that only moved keeps its tree, and is not read.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra, Totals
from vfs.model.overlay import PATCH_BYTES, ROOT_INO, InodeRow
from vfs.recent import Recent
from vfs.repo.blobs import EMPTY, Content, FileReader
from vfs.repo.branchstate import BranchState
from vfs.repo.linkgroups import LinkGroups
from vfs.repo.splice import Piece, splice
from vfs.repo.trees import Edit, merge_tree, with_tree

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.store.objects import ObjectSink
    from vfs.store.overlayrows import OverlaySnapshot

_FOLDED_KEPT: Final = 1000  # contents of files with several names


class BranchTrees:
    """Makes the trees of one commit. For one thread."""

    def __init__(
        self, repo: Repository, taken: OverlaySnapshot, ingest: ObjectSink, head: Entry | None
    ) -> None:
        """*head*: the root of the last commit."""
        self.made: dict[int, tuple[ObjectId, Totals]] = {}  # of directories that changed
        self._state = BranchState(repo, taken)
        self._taken = taken
        self._reader = repo.reader
        self._ingest = ingest
        self._files = FileReader(repo.reader)
        self._links = LinkGroups(repo, self._state, head)
        self._folded: Recent[int, Content] = Recent(_FOLDED_KEPT)

    def make(self) -> Entry:
        """Store all trees that changed; return the new root."""
        by_depth: defaultdict[int, dict[int, set[bytes]]] = defaultdict(dict)
        for directory, names in self._changed().items():
            by_depth[len(self._state.path(directory))][directory] = names
        for depth in range(max(by_depth, default=0), 0, -1):
            above = by_depth[depth - 1]
            for directory, names in by_depth.pop(depth, {}).items():
                self._make(directory, names)
                parent, name = self._state.place(directory)
                above.setdefault(parent, set()).add(name)
        for directory, names in by_depth[0].items():
            self._make(directory, names)
        return self._entry(ROOT_INO, b"")

    def _changed(self) -> dict[int, set[bytes]]:
        """Return the names in each directory whose entries may be others now."""
        changed: defaultdict[int, set[bytes]] = defaultdict(set)
        last, is_gone = 0, True
        for directory, name, _ in self._taken.changed_names():
            if directory != last:
                last, is_gone = directory, self._state.is_gone(directory)
            if not is_gone:
                changed[directory].add(name)
        for ino in self._taken.changed_inodes():
            row = self._taken.inode(ino)
            if row is not None:
                for directory, name in self._state.places(ino, row):
                    changed[directory].add(name)
        return changed

    def _make(self, directory: int, names: set[bytes]) -> None:
        """Make the tree of a directory; those below it are made."""
        old = self._state.committed(directory)
        edits = self._edits(directory, sorted(names))
        new = merge_tree(self._reader, self._ingest, old and old[0], edits)
        if new != old:
            self.made[directory] = new

    def _edits(self, directory: int, names: list[bytes]) -> Iterator[Edit]:
        state, taken = self._state, self._taken
        for name in names:
            ino = state.find(directory, name, taken.name(directory, name))
            yield name, self._entry(ino, name) if ino else None

    # entries

    def _entry(self, ino: int, name: bytes) -> Entry:
        row = self._taken.inode(ino)
        if row is None:
            entry = self._state.origin.entry(ino)[0]._replace(name=name)
            return with_tree(entry, *self._tree(ino)) if entry.is_dir else entry
        mode = row.mode
        if stat.S_ISDIR(mode):
            tree, totals = self._tree(ino)
            extra = Extra(totals=totals, xattrs=row.xattrs).encode()
            return Entry(name, mode, row.uid, row.gid, row.mtime_ns, 0, tree, 0, extra)
        content = self._content(ino, row) if stat.S_ISREG(mode) else EMPTY
        extra = b""
        if content.holes or row.rdev or row.target or row.xattrs:
            extra = Extra(
                rdev=row.rdev, holes=content.holes, target=row.target, xattrs=row.xattrs
            ).encode()
        oid, flags = content.oid, content.flags
        entry = Entry(name, mode, row.uid, row.gid, row.mtime_ns, row.size, oid, flags, extra)
        return self._links.linked(ino, row, entry) if row.nlink > 1 else entry

    def _tree(self, directory: int) -> tuple[ObjectId, Totals]:
        """Return what a directory holds now; of one that is new and empty, an empty tree."""
        tree = self.made.get(directory) or self._state.committed(directory)
        if tree is None:
            tree = self.made[directory] = merge_tree(self._reader, self._ingest, None, ())
        return tree

    def _content(self, ino: int, row: InodeRow) -> Content:
        if not row.size:
            return EMPTY
        if not row.patches and row.visible == row.content_bytes == row.size:
            return Content(row.content, row.flags, row.size, row.holes)
        folded = self._folded.get(ino)
        if folded is None:
            old = EMPTY
            if row.content != NO_CONTENT:
                old = Content(row.content, row.flags, row.content_bytes, row.holes)
            pieces = self._pieces(ino, row)
            try:
                folded = splice(self._files, self._ingest, old, row.visible, pieces, row.size)
            except CorruptObject as error:
                raise self._names_file(ino, row, error) from error
            if row.nlink > 1:
                self._folded.put(ino, folded)
        return folded

    def _names_file(self, ino: int, row: InodeRow, error: CorruptObject) -> CorruptObject:
        paths = [
            b"/".join((*self._state.path(directory), name))
            for directory, name in self._state.places(ino, row)
        ]
        path = os.fsdecode(min(paths))
        return CorruptObject(
            f"'{path}' can't be committed, as some of its bytes are damaged: {error}",
            hint="remove it, or overwrite all of it, and commit again",
        )

    def _pieces(self, ino: int, row: InodeRow) -> Iterator[Piece]:
        """Yield the patches of a file, as far as they are in it."""
        if not row.patches:
            return  # there may be rows that are in its content by now
        for page, data in self._taken.all_patches(ino):
            at = page * PATCH_BYTES
            if at >= row.size:
                return
            yield Piece(at, data[: row.size - at])
