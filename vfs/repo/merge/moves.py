"""Renames that matter to a merge: what one side renamed and the other changed, removed or renamed.

A rename of one side is played on the other two trees, so that all three have the file at its new
place, and what was done to it there merges as if it had never had another. Renames are told by
content (`vfs.repo.renames`): of a file by that of the file, of a directory by all that it holds.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from vfs.ids import NO_CONTENT
from vfs.repo.history import entry_or_none
from vfs.repo.merge.conflicts import Conflict
from vfs.repo.merge.fields import is_changed, merge_entries
from vfs.repo.renames import RENAMES_AMONG, with_renames
from vfs.repo.treediff import Difference, all_pairs, differences
from vfs.repo.trees import Nodes, TreeBuilder, with_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from vfs.ids import ObjectId
    from vfs.model.entry import Entry, Totals
    from vfs.repo.merge.fields import Side
    from vfs.repo.merge.planting import Edits
    from vfs.repo.treepaths import Path
    from vfs.repo.uncommitted import PassingObjects

_OTHER: Final[dict[Side, Side]] = {"ours": "theirs", "theirs": "ours"}


@dataclass(slots=True)
class Moves:
    """The edits that play each side's renames on the other trees, and what can't be played."""

    base: Edits = field(default_factory=dict)
    sides: dict[Side, Edits] = field(default_factory=lambda: {"ours": {}, "theirs": {}})
    conflicts: list[Conflict] = field(default_factory=list)


def find_moves(
    objects: PassingObjects,
    base: Entry,
    roots: dict[Side, Entry],
    lost: Collection[Side],
    cut: Callable[[], None],
) -> Moves:
    """Return the renames that matter. *lost*: the sides that may have any (see `Found.lost`).

    *cut* is called where there are too many differences to look among.
    """
    nodes = Nodes(objects)
    renames = {
        side: _find_renames(nodes, base, root, cut) if side in lost else _Renames()
        for side, root in roots.items()
    }
    return _Playing(nodes, base, roots, renames, TreeBuilder(objects).finish()).run()


@dataclass(frozen=True, slots=True)
class _Renames:
    """What one side renamed."""

    files: dict[Path, Path] = field(default_factory=dict)
    directories: dict[Path, Path] = field(default_factory=dict)

    def of(self, path: Path, *, is_dir: bool = False) -> Path | None:
        """Return where something went, alone or with a directory; None if it was not renamed."""
        alone = (self.directories if is_dir else self.files).get(path)
        if alone is not None:
            return alone
        for end in range(len(path) - 1, 0, -1):
            if (above := self.directories.get(path[:end])) is not None:
                return above + path[end:]
        return None

    def any_from(self, directory: Path) -> bool:
        """Say whether something was renamed out of a directory."""
        return any(
            path[: len(directory)] == directory
            for known in (self.files, self.directories)
            for path in known
        )


class _TooMany(Exception):
    """There are too many differences to look for renames among."""


def _find_renames(nodes: Nodes, base: Entry, root: Entry, cut: Callable[[], None]) -> _Renames:
    renames = _Renames()

    def stop() -> None:
        cut()
        raise _TooMany

    found = map(_come_and_gone, differences(nodes, base, root, times=False))
    held = list(islice(chain.from_iterable(found), RENAMES_AMONG + 1))
    if not {"added", "deleted"} <= {change.kind for change in held}:
        return renames  # and what is in directories that came, or went, is not looked at
    with suppress(_TooMany):
        for change in with_renames(nodes, iter(held), times=False, cut=stop):
            if change.old_path is not None:
                known = renames.directories if change.is_dir else renames.files
                known[_path(change.old_path)] = _path(change.path)
    return renames


def _come_and_gone(change: Difference) -> Iterator[Difference]:
    """Yield a difference; of a file and a directory in one place, that one is gone and one is new.

    What the directory holds is told by others.
    """
    old, new = change.old, change.new
    if old is None or new is None or old.is_dir == new.is_dir:
        yield change
        return
    if not old.is_dir:
        yield Difference(change.path, "deleted", old, None)
    if not new.is_dir:
        yield Difference(change.path, "added", None, new)


class _Playing:
    def __init__(
        self,
        nodes: Nodes,
        base: Entry,
        roots: dict[Side, Entry],
        renames: dict[Side, _Renames],
        empty: tuple[ObjectId, Totals],
    ) -> None:
        self._nodes = nodes
        self._base = base
        self._roots = roots
        self._renames = renames
        self._empty = empty
        self._moves = Moves()

    def run(self) -> Moves:
        """Play all renames that matter."""
        for side, renames in self._renames.items():
            for old, new in renames.files.items():
                self._play(side, old, new)
            for old, new in renames.directories.items():
                self._play_directory(side, old, new)
        return self._moves

    def _play_directory(self, side: Side, old: Path, new: Path) -> None:
        """Play what was renamed with a directory: what the other side did not leave as it was."""
        before = entry_or_none(self._nodes, self._base, old)
        assert before is not None
        there = entry_or_none(self._nodes, self._roots[_OTHER[side]], old)
        renames = self._renames[_OTHER[side]]
        if there is None and (renames.of(old, is_dir=True) or not renames.any_from(old)):
            self._play(side, old, new)
            return
        tree = NO_CONTENT
        if there is not None and there.is_dir:
            tree = there.content
            self._play_attributes(side, new, before, there)
        for path, was, now in all_pairs(self._nodes, before.content, tree):
            if was is None or was == now:
                continue
            below = _path(path)
            if not was.is_dir:
                self._play(side, old + below, new + below)
            elif now is not None and now.is_dir:
                self._play_attributes(side, new + below, was, now)

    def _play_attributes(self, side: Side, new: Path, before: Entry, there: Entry) -> None:
        """Play what the other side did to a directory itself, which is put at *new* empty."""
        other = _OTHER[side]
        if not is_changed(before, there) or entry_or_none(self._nodes, self._roots[other], new):
            return
        if self._make_way(other, new, new):
            self._moves.base[new] = with_tree(before, *self._empty)
            self._moves.sides[other][new] = with_tree(there, *self._empty)

    def _play(self, side: Side, old: Path, new: Path) -> None:
        """Play a rename of *side* on the base and the other side."""
        other = _OTHER[side]
        base = entry_or_none(self._nodes, self._base, old)
        renamed = entry_or_none(self._nodes, self._roots[side], new)
        there = entry_or_none(self._nodes, self._roots[other], old)
        assert base is not None
        assert renamed is not None
        moves = self._moves
        if there is None or there.is_dir > base.is_dir:
            elsewhere = self._renames[other].of(old, is_dir=base.is_dir)
            if elsewhere == new:
                moves.base |= {old: None, new: base}
            elif elsewhere is None:
                self._clash(side, old, new, base, renamed)
            elif side == "ours":  # the other side's is the same conflict
                self._clash_both(old, {"ours": new, "theirs": elsewhere}, base)
        elif there.kind == base.kind and there != base and self._make_way(other, old, new):
            taken = entry_or_none(self._nodes, self._roots[other], new)
            if taken is None:
                moves.base |= {old: None, new: base}
                moves.sides[other] |= {old: None, new: there}
                return
            merged = merge_entries(base, renamed, there)
            if not merged.clashes:  # there are two files for one name, of which this is one
                moves.base[old] = None
                moves.sides[other][old] = None
                moves.sides[side][new] = merged.entry

    def _make_way(self, side: Side, old: Path, new: Path) -> bool:
        """See to it that no file of a side, or the base, is above *new*, where *old* is to go to.

        In the base there may be one: the side that renamed has a directory in its place.
        """
        for end in range(1, len(new)):
            above = new[:end]
            before = entry_or_none(self._nodes, self._base, above)
            there = entry_or_none(self._nodes, self._roots[side], above)
            is_file = there is not None and not there.is_dir and above != old
            if is_file and there != before:
                return False
            if is_file:
                self._moves.sides[side][above] = None
            if before is not None and not before.is_dir:
                self._moves.base[above] = None
        return True

    def _clash(self, side: Side, old: Path, new: Path, base: Entry, renamed: Entry) -> None:
        """Note that one side renamed what the other one removed."""
        is_ours = side == "ours"
        take: dict[Side, Edits] = {side: {new: renamed}, _OTHER[side]: {new: None}}
        self._moves.conflicts.append(
            Conflict(
                path=old,
                kind="renamed/deleted" if is_ours else "deleted/renamed",
                base=base,
                ours=renamed if is_ours else None,
                theirs=None if is_ours else renamed,
                take=take,
                renamed={side: new},
            )
        )

    def _clash_both(self, old: Path, new: dict[Side, Path], base: Entry) -> None:
        """Note that both sides renamed something, each in its own way."""
        entries = {
            side: entry_or_none(self._nodes, self._roots[side], path) for side, path in new.items()
        }
        take: dict[Side, Edits] = {
            side: {new[side]: entries[side], new[_OTHER[side]]: None} for side in new
        }
        self._moves.conflicts.append(
            Conflict(
                path=old,
                kind="renamed/renamed",
                base=base,
                ours=entries["ours"],
                theirs=entries["theirs"],
                take=take,
                renamed=new,
            )
        )


def _path(path: bytes) -> Path:
    return tuple(path.split(b"/"))
