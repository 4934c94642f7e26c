"""Two trees that were made from a third: what both changed, and what only one did, as one tree.

What only one side changed is taken whole and not entered. Directories that both changed are gone
through side by side. Knows no commits, and renames only as a reason to look for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vfs.ids import NO_CONTENT
from vfs.model.entry import has_link
from vfs.repo.merge.conflicts import Conflict
from vfs.repo.merge.fields import MergedEntry, is_changed, merge_entries
from vfs.repo.treediff import differences, pairs

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.merge.fields import Side
    from vfs.repo.merge.planting import Edits
    from vfs.repo.treepaths import Path
    from vfs.repo.trees import Nodes


@dataclass(slots=True)
class Found:
    """What makes the merged tree of ours."""

    edits: Edits = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    lost: set[Side] = field(default_factory=set)
    """Who removed something that the other side changed, or removed, too: it may be a rename."""
    has_links: bool = False  # among what both sides changed


@dataclass(frozen=True, slots=True)
class _Three:
    """What is at a path; ours and theirs differ from the base and from each other."""

    path: Path
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None

    def side(self, side: Side) -> Entry | None:
        return self.ours if side == "ours" else self.theirs

    def conflict(
        self, kind: str, take: dict[Side, Edits], fields: tuple[str, ...] = ()
    ) -> Conflict:
        return Conflict(
            path=self.path,
            kind=kind,
            fields=fields,
            base=self.base,
            ours=self.ours,
            theirs=self.theirs,
            take=take,
        )


_SIDES: Final[tuple[Side, ...]] = ("ours", "theirs")


def three_way(nodes: Nodes, base: Entry, ours: Entry, theirs: Entry) -> Found:
    """Compare the roots of three trees."""
    return _Walk(nodes).run(base, ours, theirs)


def _other(side: Side) -> Side:
    return "theirs" if side == "ours" else "ours"


class _Walk:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._found = Found()
        self._waiting: list[tuple[Path, ObjectId, ObjectId, ObjectId]] = []

    def run(self, base: Entry, ours: Entry, theirs: Entry) -> Found:
        """Go through all that both sides changed."""
        if base not in (ours, theirs) and ours != theirs:
            self._both(_Three((), base, ours, theirs))
        elif base == ours:
            self._found.edits[()] = theirs
        while self._waiting:
            self._directory(*self._waiting.pop())
        return self._found

    def _directory(self, path: Path, base: ObjectId, ours: ObjectId, theirs: ObjectId) -> None:
        mine = {}
        for was, now in pairs(self._nodes, base, ours):
            either = was or now
            assert either is not None
            mine[either.name] = now
        for was, now in pairs(self._nodes, base, theirs):
            either = was or now
            assert either is not None
            here = (*path, either.name)
            if either.name not in mine:
                self._found.edits[here] = now
            else:
                self._both(_Three(here, was, mine[either.name], now))

    def _both(self, three: _Three) -> None:
        """Merge what both sides changed."""
        ours, theirs = three.ours, three.theirs
        entries = (three.base, ours, theirs)
        self._found.has_links |= any(entry and has_link(entry.extra) for entry in entries)
        if ours == theirs:
            self._note_lost(three.base, ours)
        elif ours and theirs and ours.is_dir and theirs.is_dir:
            self._directories(three, ours, theirs)
        elif ours and ours.is_dir:
            self._only_directory(three, "ours", ours)
        elif theirs and theirs.is_dir:
            self._only_directory(three, "theirs", theirs)
        elif ours is None or theirs is None:
            self._removed(three, "ours" if ours is None else "theirs")
        else:
            self._files(three, ours, theirs)

    def _directories(self, three: _Three, ours: Entry, theirs: Entry) -> None:
        base = three.base if three.base and three.base.is_dir else None
        if three.base is not None and base is None:
            self._found.lost |= {"ours", "theirs"}  # the file that was here
        before = NO_CONTENT if base is None else base.content
        holds_theirs = ours.content == before != theirs.content

        def merged(favor: Side) -> MergedEntry:
            if holds_theirs:
                return merge_entries(base, theirs, ours, favor=_other(favor))
            return merge_entries(base, ours, theirs, favor=favor)

        entry, clashes = merged("ours")
        if entry != ours:
            self._found.edits[three.path] = entry
        if clashes:
            take: dict[Side, Edits] = {
                "ours": {three.path: entry},
                "theirs": {three.path: merged("theirs").entry},
            }
            self._found.conflicts.append(three.conflict("modified/modified", take, clashes))
        if ours.content == theirs.content:
            self._note_lost(base, ours)
        elif before not in (ours.content, theirs.content):
            self._waiting.append((three.path, before, ours.content, theirs.content))

    def _note_lost(self, base: Entry | None, both: Entry | None) -> None:
        """Note whether both sides removed something in what they made the same."""
        found = differences(self._nodes, base, both, times=False)
        if any(change.kind in ("deleted", "type changed") for change in found):
            self._found.lost |= {"ours", "theirs"}

    def _only_directory(self, three: _Three, side: Side, directory: Entry) -> None:
        """Merge what is a directory on one side alone."""
        other, found = three.side(_other(side)), self._found
        before = three.base
        if before is not None:
            found.lost |= {"ours", "theirs"}
        left: Edits | None = None
        if before is not None and before.is_dir:
            left = self._left_over(three.path, before, directory, side)
            if not left:  # the other side removed all that there was
                found.edits[three.path] = other
                return
            left = {three.path: directory._replace(content=NO_CONTENT), **left}
        take: dict[Side, Edits] = {}
        take[side] = {three.path: directory} if left is None else left
        take[_other(side)] = {three.path: other}
        if other is None:
            found.edits |= take[side]
        else:
            kind = "directory/file" if side == "ours" else "file/directory"
            found.conflicts.append(three.conflict(kind, take))

    def _left_over(self, path: Path, before: Entry, now: Entry, side: Side) -> Edits:
        """Return what is left of a directory that the other side removed: what was done in it."""
        left: Edits = {}
        for change in differences(self._nodes, before, now, b"/".join(path), times=False):
            here = tuple(change.path.split(b"/")) if change.path else ()
            if change.kind == "added":
                left[here] = change.new
            elif change.new is not None and not change.new.is_dir:
                assert change.old is not None
                if is_changed(change.old, change.new):
                    left[here] = change.new
                    ours, theirs = (change.new if side == one else None for one in _SIDES)
                    self._removed(_Three(here, change.old, ours, theirs), _other(side))
        return left

    def _removed(self, three: _Three, by: Side) -> None:
        """Merge what one side removed, and the other one, where it is no directory, changed."""
        kept = three.side(_other(by))
        assert kept is not None
        found = self._found
        found.lost.add(by)
        if three.base is not None and three.base.is_dir:  # which both removed
            found.lost.add(_other(by))
            found.edits[three.path] = kept
            return
        if three.base is not None and not is_changed(three.base, kept):
            found.edits[three.path] = None
            return
        kind = "deleted/modified" if by == "ours" else "modified/deleted"
        take: dict[Side, Edits] = {by: {three.path: None}, _other(by): {three.path: kept}}
        found.conflicts.append(three.conflict(kind, take))

    def _files(self, three: _Three, ours: Entry, theirs: Entry) -> None:
        base = three.base
        if ours.kind != theirs.kind:
            kept = self._unchanged_type(base, ours, theirs)
            if kept is None:
                take: dict[Side, Edits] = {
                    "ours": {three.path: ours},
                    "theirs": {three.path: theirs},
                }
                self._found.conflicts.append(three.conflict("type/type", take))
            elif kept is theirs:
                self._found.edits[three.path] = theirs
            return
        if base is not None and base.kind != ours.kind:
            base = None
        merged, clashes = merge_entries(base, ours, theirs)
        if not clashes:
            if merged != ours:
                self._found.edits[three.path] = merged
            return
        other, _ = merge_entries(base, ours, theirs, favor="theirs")
        kind = "added/added" if three.base is None else "modified/modified"
        resolved: dict[Side, Edits] = {"ours": {three.path: merged}, "theirs": {three.path: other}}
        self._found.conflicts.append(three.conflict(kind, resolved, clashes))

    @staticmethod
    def _unchanged_type(base: Entry | None, ours: Entry, theirs: Entry) -> Entry | None:
        """Return the one that became something else, where the other one is what it was."""
        if base is None:
            return None
        if not is_changed(base, ours):
            return theirs
        return ours if not is_changed(base, theirs) else None
