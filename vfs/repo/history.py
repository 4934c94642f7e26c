"""Versions in the order of their times: those that match, and those in which a path changed.

Of other paths nothing is read: where the directories on the way are the same, so is the path.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT
from vfs.recent import Recent
from vfs.repo.trees import find

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes

_STATES_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which versions to tell; without anything, all."""

    paths: Sequence[Path] = ()  # in which one of these, or something below, changed
    since_ns: int | None = None
    until_ns: int | None = None
    matches: Sequence[Callable[[Commit], bool]] = field(default=())

    def takes(self, commit: Commit) -> bool:
        """Say whether a version is to be told, whatever changed in it."""
        if self.until_ns is not None and commit.time_ns > self.until_ns:
            return False
        return all(match(commit) for match in self.matches)


@dataclass(frozen=True, slots=True)
class Version:
    """A version on the way back; `shown` says whether the filter takes it."""

    id: ObjectId
    commit: Commit
    parents: tuple[ObjectId, ...]  # those that are followed
    shown: bool


def history(repo: Repository, start: ObjectId, wanted: Filter | None = None) -> Iterator[Version]:
    """Yield *start* and its ancestors, the newest first.

    As in git, a version that has what a parent of it has at all *paths* is not shown, and of its
    parents that one alone is followed.
    """
    wanted = wanted or Filter()
    states = _States(repo, wanted.paths)
    waiting = [(-repo.commit(start).time_ns, start)]
    seen = {start}
    while waiting:
        _, oid = heapq.heappop(waiting)
        record = repo.commit(oid)
        if wanted.since_ns is not None and record.time_ns < wanted.since_ns:
            return  # times order the log: what is left is older still
        parents, changed = record.parents, True
        if wanted.paths:
            parents, changed = states.compare(record)
        yield Version(oid, record, parents, changed and wanted.takes(record))
        for parent in parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(waiting, (-repo.commit(parent).time_ns, parent))


State = tuple["Entry | None", ...]


class _States:
    """What versions have at some paths."""

    def __init__(self, repo: Repository, paths: Sequence[Path]) -> None:
        self._repo = repo
        self._paths = paths
        self._known: Recent[ObjectId, State] = Recent(_STATES_KEPT)

    def compare(self, record: Commit) -> tuple[tuple[ObjectId, ...], bool]:
        """Return the parents to follow, and whether the paths are others than in each."""
        here = self._of(record.root)
        parents = self._repo.whole_parents(record)
        if not parents:
            return (), any(here)
        for parent in parents:
            if self._of(self._repo.commit(parent).root) == here:
                return (parent,), False
        return parents, True

    def _of(self, root: Entry) -> State:
        state = self._known.get(root.content) if all(self._paths) else None
        if state is None:
            state = tuple(entry_or_none(self._repo.nodes, root, path) for path in self._paths)
            self._known.put(root.content, state)
        return state


def entry_or_none(nodes: Nodes, root: Entry, path: Path) -> Entry | None:
    """Return the entry at *path*, or None. Follows no symlink."""
    entry = root
    for name in path:
        has_entries = entry.is_dir and entry.content != NO_CONTENT
        found = find(nodes, entry.content, name) if has_entries else None
        if found is None:
            return None
        entry = found.entry
    return entry
