"""The tree that a merge comes to, and the base that several bases come to. Stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vfs.ids import NO_CONTENT
from vfs.repo.history import entry_or_none
from vfs.repo.merge.bases import merge_bases
from vfs.repo.merge.links import rejoined
from vfs.repo.merge.moves import find_moves
from vfs.repo.merge.planting import plant
from vfs.repo.merge.threeway import three_way
from vfs.repo.trees import Nodes

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.model.entry import Entry
    from vfs.repo.merge.conflicts import Conflict, Settlement
    from vfs.repo.merge.fields import Side
    from vfs.repo.merge.planting import Edits
    from vfs.repo.treepaths import Path
    from vfs.repo.uncommitted import PassingObjects

BASES_DEPTH: Final = 10
"""Lines that merged each other so many times: of older bases the newest one stands for all."""

Warn = Callable[[], None]


@dataclass(frozen=True, slots=True)
class MergedTree:
    """Two trees as one, but for the conflicts."""

    objects: PassingObjects
    base: Entry
    ours: Entry
    theirs: Entry
    edits: Edits  # of ours
    conflicts: Sequence[Conflict]
    has_links: bool  # both sides changed a file with several names

    def settled(
        self, settlements: Iterable[tuple[Conflict, Settlement]], labels: Mapping[Side, str]
    ) -> Entry:
        """Return the root, each conflict being settled as *settlements* says."""
        edits = dict(self.edits)
        nodes = Nodes(self.objects)

        def is_free(path: Path) -> bool:
            return edits.get(path) is None and not any(
                entry_or_none(nodes, root, path) for root in (self.ours, self.theirs)
            )

        for conflict, how in settlements:
            edits |= conflict.beside(labels, is_free) if how == "both" else conflict.take[how]
        return self._planted(edits)

    def before(self) -> Entry:
        """Return the root, each conflict being settled by what was there before both sides."""
        edits = dict(self.edits)
        for conflict in self.conflicts:
            edits |= dict.fromkeys(conflict.places())
            edits[conflict.path] = conflict.base
        return self._planted(edits)

    def _planted(self, edits: Edits) -> Entry:
        sides = (self.ours, self.theirs)
        root = plant(self.objects, self.objects, self.ours, edits, sides)
        if not self.has_links:
            return root
        links = rejoined(Nodes(self.objects), self.base, sides, root)
        return plant(self.objects, self.objects, root, links)


def merge_trees(
    objects: PassingObjects, base: Entry, ours: Entry, theirs: Entry, cut: Warn
) -> MergedTree:
    """Merge two trees that were made from *base*; *cut* says that renames were not looked for."""
    nodes = Nodes(objects)
    found = three_way(nodes, base, ours, theirs)
    if found.lost:
        moves = find_moves(objects, base, {"ours": ours, "theirs": theirs}, found.lost, cut)
        if moves.base:
            base = plant(objects, objects, base, moves.base, (ours, theirs))
            both = ours, theirs
            ours = plant(objects, objects, ours, moves.sides["ours"], both)
            theirs = plant(objects, objects, theirs, moves.sides["theirs"], both)
            found = three_way(nodes, base, ours, theirs)
        found.conflicts += moves.conflicts
    found.conflicts.sort(key=lambda conflict: conflict.path)
    return MergedTree(objects, base, ours, theirs, found.edits, found.conflicts, found.has_links)


def base_root(
    commit: Callable[[ObjectId], Commit],
    objects: PassingObjects,
    bases: Sequence[ObjectId],
    cut: Warn,
    *,
    depth: int = BASES_DEPTH,
) -> Entry:
    """Return the root that two lines are compared with, which have these *bases* in common.

    Several are merged first, and their own bases before; where they conflict, what was there
    before holds.
    """
    root = commit(bases[0]).root
    for number in range(1, len(bases) if depth else 1):
        theirs = commit(bases[number]).root
        older = merge_bases(commit, bases[:number], bases[number])
        before = (
            base_root(commit, objects, older, cut, depth=depth - 1)
            if older
            else nothing_like(theirs)
        )
        root = merge_trees(objects, before, root, theirs, cut).before()
    return root


def nothing_like(root: Entry) -> Entry:
    """Return a root with nothing in it, to be what *root* was made from."""
    return root._replace(content=NO_CONTENT)
