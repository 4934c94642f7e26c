"""A tree with entries put at paths and others removed: each directory once, from the deepest up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry
from vfs.repo.history import entry_or_none
from vfs.repo.trees import Nodes, find, merge_tree, with_tree

if TYPE_CHECKING:
    from vfs.repo.treepaths import Path
    from vfs.store.objects import ObjectSink, ObjectSource

Edits = dict["Path", "Entry | None"]
"""What is to be at paths; None for nothing.

A directory is there with what its tree has, and what other edits put below it. One with NO_CONTENT
is there only if something is put below it. What is put below something else is left out.
"""


def plant(
    reader: ObjectSource,
    sink: ObjectSink,
    root: Entry,
    edits: Mapping[Path, Entry | None],
    likes: Sequence[Entry] = (),
) -> Entry:
    """Return the root of a tree that is *root* but for *edits*.

    Directories that are missing on the way are made as the first of the roots *likes* has them, or
    else as the root itself is. Reads and writes what is on the way.
    """
    return _Planting(reader, sink, root, edits, likes).run()


class _Planting:
    def __init__(
        self,
        reader: ObjectSource,
        sink: ObjectSink,
        root: Entry,
        edits: Mapping[Path, Entry | None],
        likes: Sequence[Entry],
    ) -> None:
        self._reader, self._sink = reader, sink
        self._nodes = Nodes(reader)
        self._root = root
        self._edits = edits
        self._likes = likes

    def run(self) -> Entry:
        """Make all directories; return the root."""
        by_depth: defaultdict[int, defaultdict[Path, Edits]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for path, entry in self._edits.items():
            if path:
                by_depth[len(path) - 1][path[:-1]][path[-1:]] = entry
            else:
                by_depth[0][()] |= {}
        for depth in range(max(by_depth, default=0), 0, -1):
            for path, below in by_depth.pop(depth, {}).items():
                by_depth[depth - 1][path[:-1]][path[-1:]] = self._make(path, below)
        return self._make((), by_depth[0][()]) or self._root

    def _make(self, path: Path, below: Edits) -> Entry | None:
        """Return what is at *path* once its entries are what *below* says."""
        start = self._start(path)
        kept = any(entry is not None for entry in below.values())
        if start is None:
            start = self._like(path) if kept else None
        if start is None or not start.is_dir:
            return start
        has_tree = start.content != NO_CONTENT
        if not has_tree and not kept and path:
            return None
        edits = sorted((name, entry) for (name,), entry in below.items())
        return with_tree(
            start,
            *merge_tree(
                self._reader,
                self._sink,
                start.content if has_tree else None,
                ((name, entry and entry._replace(name=name)) for name, entry in edits),
            ),
        )

    def _start(self, path: Path) -> Entry | None:
        """Return what is at *path* before what is put below it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._edits:
                entry = self._edits[path[:end]]
                break
        else:
            end, entry = 0, self._root
        for name in path[end:]:
            if entry is None or not entry.is_dir:
                return entry
            found = find(self._nodes, entry.content, name) if entry.content != NO_CONTENT else None
            entry = None if found is None else found.entry
        return entry

    def _like(self, path: Path) -> Entry:
        for root in (*self._likes, self._root):
            entry = entry_or_none(self._nodes, root, path)
            if entry is not None and entry.is_dir:
                return entry._replace(content=NO_CONTENT)
        return self._root._replace(name=path[-1], content=NO_CONTENT)
