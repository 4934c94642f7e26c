"""The outputs of datums put together in one tree, in which each path is of one datum.

Only files count: a directory is there as long as something stands in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vfs.clock import NS
from vfs.errors import Conflict
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Totals, directory_entry
from vfs.repo.history import entry_or_none
from vfs.repo.trees import Edit, Nodes, find, merge_tree, walk

if TYPE_CHECKING:
    from vfs.repo.treepaths import Path
    from vfs.store.objects import ObjectSink, ObjectSource

OUTPUT_TIME_S: Final = 315_532_800
"""1980-01-01: the first moment that a zip archive can hold. The time of all that datums write."""

Files = dict["Path", Entry]
"""What is no directory, by its path."""


class Clash(Exception):
    """Two datums wrote to one path, or one wrote a file where another one wrote a directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


@dataclass(slots=True)
class _Change:
    """What becomes of a name in a directory."""

    is_gone: bool = False  # what was there may be replaced
    entry: Entry | None = None
    below: dict[bytes, _Change] = field(default_factory=dict)


def files_of(nodes: Nodes, tree: ObjectId) -> Iterator[tuple[Path, Entry]]:
    """Yield all that is no directory."""
    waiting: list[tuple[Path, ObjectId]] = [((), tree)]
    while waiting:
        above, oid = waiting.pop()
        if oid == NO_CONTENT:
            continue
        for place in walk(nodes, oid):
            entry = place.entry
            if entry.is_dir:
                waiting.append(((*above, entry.name), entry.content))
            else:
                yield (*above, entry.name), entry


def tree_of(sink: ObjectSink, files: Mapping[Path, Entry]) -> Entry:
    """Return a directory that holds *files*."""
    changes = _nested(set(), files)
    made = _Changing(_NOTHING, sink).directory(None, changes, ())
    return _directory(b"", *(made or merge_tree(_NOTHING, sink, None, ())))


def put_together(
    source: ObjectSource,
    sink: ObjectSink,
    before: ObjectId | None,
    gone: Mapping[str, ObjectId],
    new: Mapping[str, ObjectId],
    all_now: Callable[[], Mapping[str, ObjectId]],
) -> Entry:
    """Return the output of *all_now*: that of *before* without the datums *gone*, with the *new*.

    Trees by the ids of datums. Raises Conflict, which names two datums, where a path is of both;
    only for that *all_now* is called. In O(the files of the datums gone and new).
    """
    nodes = Nodes(source)
    removed = {path for tree in gone.values() for path, _ in files_of(nodes, tree)}
    added: Files = {}
    owners: dict[Path, str] = {}
    for datum, tree in new.items():
        for path, entry in files_of(nodes, tree):
            if path in added:
                raise _conflict(path, owners[path], datum)
            added[path], owners[path] = entry, datum
    try:
        changes = _nested(removed, added)
        made = _Changing(source, sink).directory(before, changes, ())
    except Clash as clash:
        found = _owners(nodes, all_now(), clash.path)
        raise _conflict(clash.path, *found) from None
    return _directory(b"", *(made or merge_tree(source, sink, None, ())))


def _owners(nodes: Nodes, trees: Mapping[str, ObjectId], path: Path) -> list[str]:
    """Return the datums that wrote something at *path*."""
    found = []
    for datum, tree in trees.items():
        if tree != NO_CONTENT and entry_or_none(nodes, _directory(b"", tree, _NONE), path):
            found.append(datum)
    return found


def _conflict(path: Path, *datums: str) -> Conflict:
    names = " and ".join(datum[:12] for datum in datums[:2])
    return Conflict(
        f"the datums {names} both wrote '{os.fsdecode(b'/'.join(path))}'",
        hint="have each write to paths of its own, with $VFS_DATUM or the name of its input",
    )


def _nested(removed: set[Path], added: Mapping[Path, Entry]) -> dict[bytes, _Change]:
    top: dict[bytes, _Change] = {}
    for path in removed:
        _at(top, path).is_gone = True
    for path, entry in added.items():
        change = _at(top, path)
        if change.below and any(_adds(below) for below in change.below.values()):
            raise Clash(path)
        change.entry = entry
    return top


def _at(top: dict[bytes, _Change], path: Path) -> _Change:
    here = top
    for depth, name in enumerate(path, 1):
        change = here.setdefault(name, _Change())
        if depth == len(path):
            return change
        if change.entry is not None:
            raise Clash(path[:depth])
        here = change.below
    raise AssertionError("a path has names")


def _adds(change: _Change) -> bool:
    return change.entry is not None or any(_adds(below) for below in change.below.values())


class _Changing:
    def __init__(self, source: ObjectSource, sink: ObjectSink) -> None:
        self._source, self._sink = source, sink
        self._nodes = Nodes(source)

    def directory(
        self, tree: ObjectId | None, changes: Mapping[bytes, _Change], path: Path
    ) -> tuple[ObjectId, Totals] | None:
        """Return the changed directory; None where nothing is left of it."""
        edits: list[Edit] = []
        for name, change in sorted(changes.items()):
            was = None
            if tree is not None and tree != NO_CONTENT:
                found = find(self._nodes, tree, name)
                was = None if found is None else found.entry
            now = self._settled(was, name, change, (*path, name))
            if now is not was:
                edits.append((name, now))
        made = merge_tree(self._source, self._sink, tree, edits)
        totals = made[1]
        return made if totals.files or totals.dirs > 1 else None

    def _settled(self, was: Entry | None, name: bytes, change: _Change, path: Path) -> Entry | None:
        """Return what stands at a path afterwards. Raises Clash."""
        left = None if was is not None and not was.is_dir and change.is_gone else was
        if change.below:
            below = left.content if left is not None and left.is_dir else None
            made = self.directory(below, change.below, path)
            if made is not None and left is not None and not left.is_dir:
                raise Clash(path)
            if left is None or left.is_dir:
                left = None if made is None else _directory(name, *made)
        if change.entry is None:
            return left
        if left is not None:
            raise Clash(path)
        return change.entry


def _directory(name: bytes, tree: ObjectId, totals: Totals) -> Entry:
    return directory_entry(name, tree, totals, mtime_ns=OUTPUT_TIME_S * NS)


_NONE: Final = Totals(0, 1, 0, 0)


class _Nothing:
    """No objects at all."""

    def get(self, oid: ObjectId) -> bytes:
        raise AssertionError(oid)


_NOTHING: Final = _Nothing()
