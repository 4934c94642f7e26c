"""Which version made each entry of a directory what it is: in O(changes) of the history.

A version is compared with its parents; what differs is its own work, all else is theirs. So the
entries that nobody changed are never looked at one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT
from vfs.repo.history import entry_or_none
from vfs.repo.treediff import all_pairs, pairs

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import Pair
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes


@dataclass(slots=True)
class _Share:
    """What of the directory a version is to account for."""

    names: set[bytes] = field(default_factory=set)
    rest: bool = False  # and all that nobody else is


class Introductions:
    """The versions that introduced the entries of one directory, by name or by path below it."""

    def __init__(
        self, repo: Repository, start: ObjectId, directory: Path, *, recursive: bool = False
    ) -> None:
        """*directory* is one in the version *start*."""
        self._repo = repo
        self._directory = directory
        self._recursive = recursive
        self._found: dict[bytes, ObjectId] = {}
        self._handed: set[bytes] = set()  # to a parent that the rest is not handed to
        self._base = start
        self._walk(start)

    def of(self, name: bytes) -> ObjectId:
        """Return the version that made the entry *name* what it is."""
        return self._found.get(name, self._base)

    @property
    def base(self) -> ObjectId:
        """Return the version that made all that `by_path` does not have."""
        return self._base

    def by_path(self) -> Mapping[bytes, ObjectId]:
        """Return the versions of what was looked at one by one; some of it may be gone since."""
        return self._found

    def _walk(self, start: ObjectId) -> None:
        shares = {start: _Share(rest=True)}
        waiting = [(-self._repo.commit(start).time_ns, start)]
        while waiting:
            _, oid = heapq.heappop(waiting)
            share = shares.pop(oid)
            if not share.rest and not share.names:
                continue
            for parent, part in self._divide(oid, share):
                if parent not in shares:
                    shares[parent] = _Share()
                    heapq.heappush(waiting, (-self._repo.commit(parent).time_ns, parent))
                theirs = shares[parent]
                theirs.rest |= part.rest
                theirs.names |= part.names
                if theirs.rest:
                    self._handed -= theirs.names
                    theirs.names = set()

    def _divide(self, oid: ObjectId, share: _Share) -> Iterator[tuple[ObjectId, _Share]]:
        """Note what a version introduced; yield what its parents are to account for."""
        here = self._tree(oid)
        parents = self._repo.whole_parents(self._repo.commit(oid))
        if not parents:
            self._introduced(oid, share.names)
            if share.rest:
                self._base = oid
            return
        first, *others = parents
        changed = self._changed(first, here, share)
        yield first, _Share(share.names - changed, rest=share.rest)
        for parent in others:
            if not changed:
                return
            kept = changed - set(self._names(self._tree(parent), here))
            changed -= kept
            self._handed |= kept
            yield parent, _Share(kept)
        self._introduced(oid, changed)

    def _changed(self, parent: ObjectId, here: Entry | None, share: _Share) -> set[bytes]:
        """Return what of a share is not as it is in a parent."""
        names = self._names(self._tree(parent), here)
        if not share.rest:
            return share.names.intersection(names)
        return {name for name in names if not (name in self._found or name in self._handed)}

    def _introduced(self, oid: ObjectId, names: set[bytes]) -> None:
        self._found.update(dict.fromkeys(names, oid))
        self._handed -= names

    def _tree(self, oid: ObjectId) -> Entry | None:
        entry = entry_or_none(self._repo.nodes, self._repo.commit(oid).root, self._directory)
        return entry if entry is not None and entry.is_dir else None

    def _names(self, old: Entry | None, new: Entry | None) -> Iterator[bytes]:
        """Yield the names in *new* of which *old* has no equal."""
        if new is None:
            return
        before = NO_CONTENT if old is None else old.content
        pairs_of = all_pairs if self._recursive else _pairs
        for path, _, entry in pairs_of(self._repo.nodes, before, new.content):
            if entry is not None:
                yield path


def _pairs(nodes: Nodes, old: ObjectId, new: ObjectId) -> Iterator[tuple[bytes, *Pair]]:
    for was, now in pairs(nodes, old, new):
        yield b"" if now is None else now.name, was, now
