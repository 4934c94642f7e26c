"""What changed in a branch since its last commit, in O(what changed).

A path that was there and is there is modified, whichever inode it is now, as after an editor's
"write a new file and rename it". Renamed is an inode whose old path is gone and whose new one was
not there. A directory that was renamed or removed is one change; what changed in a renamed one is
told under its new path. Only one that took the place of another is compared with it name by name.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vfs.errors import CorruptObject
from vfs.model.entry import Entry, Extra
from vfs.model.overlay import ROOT_INO, InodeRow
from vfs.repo.branchstate import BranchState, Place
from vfs.repo.origin import EMPTY
from vfs.repo.treediff import LETTERS, DifferenceKind
from vfs.repo.trees import find, walk

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path
    from vfs.store.overlayrows import OverlaySnapshot


@dataclass(frozen=True, slots=True)
class Change:
    """One path that a commit would change."""

    path: bytes  # b"." for the root; of what was deleted, as it was
    kind: DifferenceKind
    is_dir: bool = False
    old_path: bytes | None = None  # of what was renamed
    modified: bool = False  # renamed, and modified as well

    @property
    def letter(self) -> str:
        """Return what git calls it."""
        return LETTERS[self.kind]


def overlay_status(repo: Repository, data_set: str, branch: str) -> list[Change]:
    """Return what a commit of the branch would change now, sorted by path. Raises NotFound."""
    ref = repo.branch_to_commit_to(data_set, branch)
    with repo.store.overlays.snapshot(data_set, branch) as taken:
        if taken is None or not taken.has_changes():
            return []
        head = EMPTY if ref is None else repo.commit(ref.commit).root
        found = _Comparison(repo, taken, head).changes()
        return sorted(found, key=lambda change: (change.path, change.kind))


class _Pair(NamedTuple):
    """What was at a path, and what is there."""

    old: Entry
    was: int  # the inode, 0 where nobody knows it any more
    ino: int
    old_path: bytes
    path: bytes


class _Comparison:
    """The branch now against its last commit."""

    def __init__(self, repo: Repository, taken: OverlaySnapshot, head: Entry) -> None:
        self._nodes = repo.nodes
        self._taken = taken
        self._state = state = BranchState(repo, taken)
        self._gone: dict[int, bool] = {}  # directories in which names changed
        self._before: dict[Place, int] = {}  # where there was another inode than is now: which
        self._now: dict[Place, int] = {}  # where there is another inode than was: which
        for directory, name, row in taken.changed_names():
            before = state.find(directory, name, row)
            now = 0
            if not self._is_gone(directory):
                now = state.find(directory, name, taken.name(directory, name))
            if before != now:
                self._before[directory, name] = before
                self._now[directory, name] = now
        self._changed = set(self._now)
        self._entered: set[int] = set()  # directories that are gone, and were compared with others
        self._moved = {ino: place for place, ino in self._before.items() if ino}
        self._old_entries: dict[int, Entry] = {ROOT_INO: head}  # of directories
        self._old_paths: dict[int, Path] = {ROOT_INO: ()}

    def changes(self) -> Iterator[Change]:
        """Yield all changes, each place of `_before` and of `_now` once."""
        yield from self._moved_directories()
        yield from self._replaced()
        yield from self._moved_files()
        for place, ino in self._now.items():
            if ino:
                yield Change(self._path(place), "added", self._is_dir(ino))
        for place, ino in self._before.items():
            # Of a directory that is gone itself, and not replaced, that alone is told.
            if ino and (place[0] in self._entered or not self._gone[place[0]]):
                yield Change(self._old_path(place), "deleted", self._old_entry(place).is_dir)
        yield from self._modified()

    def _moved_directories(self) -> Iterator[Change]:
        for place, ino in self._now.items():
            if ino in self._moved and self._is_dir(ino):
                yield self._renamed(self._moved[ino], place, ino)

    def _replaced(self) -> Iterator[Change]:
        for place, ino in self._now.items():
            was = self._before[place]
            if ino and was:
                self._before[place] = self._now[place] = 0
                old = self._old_entry(place)
                waiting = [_Pair(old, was, ino, self._old_path(place), self._path(place))]
                while waiting:
                    yield from self._compare(waiting.pop(), waiting)

    def _compare(self, pair: _Pair, waiting: list[_Pair]) -> Iterator[Change]:
        """Yield what differs between two inodes; what is in two directories goes to *waiting*."""
        old, was, ino, old_path, path = pair
        is_dir = self._is_dir(ino)
        if old.kind != stat.S_IFMT(self._mode(ino)):
            yield Change(path, "type changed", is_dir)
        elif self._differs(old, ino):
            yield Change(path, "modified", is_dir)
        if not (old.is_dir and is_dir):
            return
        self._entered.add(was)
        for place in walk(self._nodes, old.content):
            child = place.entry
            name = child.name
            left = self._before.get((was, name))
            there = self._state.find(ino, name, self._taken.name(ino, name))
            if left == 0:
                continue  # a directory that moved, which is told
            if not there or self._now.get((ino, name)) == 0:
                if left is None:  # else it may have moved, or is told with the others
                    yield Change(old_path + b"/" + name, "deleted", child.is_dir)
                continue
            for side, key in ((self._before, (was, name)), (self._now, (ino, name))):
                if key in side:
                    side[key] = 0
            self._changed.add((ino, name))
            old_child, new_child = old_path + b"/" + name, path + b"/" + name
            waiting.append(_Pair(child, left or 0, there, old_child, new_child))

    def _moved_files(self) -> Iterator[Change]:
        lost = defaultdict(list)
        for place, ino in sorted(self._before.items(), reverse=True):
            lost[ino].append(place)
        for place, ino in sorted(self._now.items()):
            if ino and lost[ino]:
                yield self._renamed(lost[ino].pop(), place, ino)

    def _renamed(self, old: Place, new: Place, ino: int) -> Change:
        self._before[old] = self._now[new] = 0
        return Change(
            self._path(new),
            "renamed",
            self._is_dir(ino),
            self._old_path(old),
            self._differs(self._old_entry(old), ino),
        )

    def _modified(self) -> Iterator[Change]:
        for ino in self._taken.changed_inodes():
            row = self._taken.inode(ino)
            root = self._old_entries[ROOT_INO]
            if ino == ROOT_INO and root is not EMPTY and self._differs(root, ino):
                yield Change(b".", "modified", is_dir=True)
            for place in self._state.places(ino, row) if row is not None else ():
                if place not in self._changed and self._differs(self._old_entry(place), ino):
                    yield Change(self._path(place), "modified", self._is_dir(ino))

    # inodes

    def _is_gone(self, directory: int) -> bool:
        is_gone = self._gone.get(directory)
        if is_gone is None:
            is_gone = self._gone[directory] = self._state.is_gone(directory)
        return is_gone

    def _mode(self, ino: int) -> int:
        row = self._taken.inode(ino)
        return self._state.origin.entry(ino)[0].mode if row is None else row.mode

    def _is_dir(self, ino: int) -> bool:
        return stat.S_ISDIR(self._mode(ino))

    def _differs(self, old: Entry, ino: int) -> bool:
        """Say whether an inode is not as it was committed; of directories, apart from contents."""
        row = self._taken.inode(ino)
        if row is None:
            return self._state.origin.entry(ino)[0]._replace(name=old.name) != old
        extra = Extra.decode(old.extra)
        was = old.mode, old.uid, old.gid, extra.xattrs
        if was != (row.mode, row.uid, row.gid, row.xattrs):
            return True
        if old.is_dir:
            return False
        return (
            (old.mtime_ns, old.size) != (row.mtime_ns, row.size)
            or (extra.rdev, extra.target) != (row.rdev, row.target)
            or (old.is_file and _has_other_content(old, row))
        )

    # paths

    def _path(self, place: Place) -> bytes:
        return b"/".join((*self._state.path(place[0]), place[1]))

    def _old_path(self, place: Place) -> bytes:
        self._go_back(place[0])
        return b"/".join((*self._old_paths[place[0]], place[1]))

    def _old_entry(self, place: Place) -> Entry:
        self._go_back(place[0])
        return self._find(place)

    def _go_back(self, directory: int) -> None:
        """Learn where a directory was at the last commit, and as what."""
        below = []
        while directory not in self._old_paths:
            place = self._moved.get(directory) or self._state.place(directory)
            below.append((directory, place))
            directory = place[0]
        for child, place in reversed(below):
            self._old_paths[child] = (*self._old_paths[place[0]], place[1])
            self._old_entries[child] = self._find(place)

    def _find(self, place: Place) -> Entry:
        found = find(self._nodes, self._old_entries[place[0]].content, place[1])
        if found is None:
            raise CorruptObject(f"the last commit has no {place[1]!r}, as its branch says")
        return found.entry


def _has_other_content(old: Entry, row: InodeRow) -> bool:
    # Where patches lie on top, the content would have to be put together to be known: with equal
    # times and sizes, a file that was changed and changed back may be named as well.
    if not row.size:
        return False
    whole = row.visible == row.content_bytes == row.size and not row.patches
    return not whole or (old.content, old.flags) != (row.content, row.flags)
