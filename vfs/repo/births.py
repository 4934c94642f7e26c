"""Which commit brought an entry into the store, for whoever knows its inode number and no path.

The table `births` knows it for whole leaves (`vfs.store.births`). What it does not tell, as in
stores of the first release, is looked for in the history, as long as that takes no time to speak
of; nobody is ever told a guess.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, RemoteProblem, RemoteUnavailable
from vfs.ids import NO_CONTENT
from vfs.model.node import Inner, Leaf
from vfs.repo.treediff import pairs
from vfs.repo.trees import Nodes
from vfs.store.births import SEVERAL, Brought

if TYPE_CHECKING:
    from vfs.ids import Number, ObjectId
    from vfs.repo.repository import Repository
    from vfs.store.births import Run
    from vfs.store.layout import Slot

SEARCHED_MAX: Final = 2_000
"""Commits and leaves that a search reads: about 0.2 s, for which a worker of the hub answers
nobody else."""

_SLOTS_AT_ONCE: Final = 1_000


def leaves_brought(repo: Repository, commit: ObjectId) -> Brought:
    """Return what a commit has and its first parent has not; all of it must be flushed.

    Reads what changed. What comes from other parents has a birth already.
    """
    whole, parts = array("Q"), set[int]()
    numbering, births = repo.store.numbering, repo.store.births
    numbering.refresh()
    # Of the parent: that keeps nobody from making a new version.
    with suppress(CorruptObject, RemoteProblem, RemoteUnavailable):
        # What is read here is read once: it is to push nothing out of the repository's caches.
        nodes = Nodes(repo.store.reader(cache_bytes=0))
        for leaf_id, leaf in _new_leaves(repo, nodes, commit):
            number, others = numbering.leaves_of(leaf_id, leaf)
            if number is not None:
                whole.append(number)
            parts.update(other for other in others if births.commit_of(other) is None)
    return Brought(tuple(_runs(sorted(whole))), tuple(_runs(sorted(parts))))


def _runs(numbers: list[int]) -> Iterator[Run]:
    """Yield ascending numbers as runs."""
    begin = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] > numbers[end - 1] + 1:
            yield numbers[begin], numbers[end - 1]
            begin = end


def birth(repo: Repository, number: Number) -> Slot | None:
    """Return the commit that brought the entry of an inode number first; None if that is unknown.

    It is named by its own slot. The oldest one that is kept: older ones may have been removed.
    """
    refs = repo.store.refs
    leaf = repo.store.numbering.leaf_of(number)
    commit = None if leaf is None else repo.store.births.commit_of(leaf)
    own = None if commit in (None, SEVERAL) else refs.commit_slot(commit)
    if own is not None:
        return refs.slot(own)
    try:
        return _search(repo, number)
    except CorruptObject:  # what can't be read may be where it is from
        return None


def _search(repo: Repository, number: Number) -> Slot | None:
    left = SEARCHED_MAX
    place = repo.store.numbering.locate(number)
    wanted = None if place is None else repo.nodes.get(place[0])
    if place is None or not isinstance(wanted, Leaf) or place[1] >= len(wanted):
        return None
    identity = wanted.identity(place[1])
    for slot in _commits(repo):
        left -= 1
        for _, leaf in _new_leaves(repo, repo.nodes, slot.commit):
            left -= 1
            if left < 0:
                return None
            if any(leaf.identity(index) == identity for index in range(len(leaf))):
                return slot
    return None


def _commits(repo: Repository) -> Iterator[Slot]:
    """Yield the slots of commits, in the order in which these came."""
    number = 1
    while slots := repo.store.refs.slots_from(number, _SLOTS_AT_ONCE):
        yield from (slot for _, slot in slots if slot.name == slot.commit.hex())
        number = slots[-1][0] + 1


def _new_leaves(
    repo: Repository, nodes: Nodes, commit: ObjectId
) -> Iterator[tuple[ObjectId, Leaf]]:
    """Yield the leaves of all directories of a commit that its first parent has not there."""
    record = repo.commit(commit)
    old = repo.commit(record.parents[0]).root.content if record.parents else NO_CONTENT
    waiting = [(old, record.root.content)]
    while waiting:
        old, new = waiting.pop()
        for leaf_id in _leaves_beside(nodes, old, new):
            leaf = nodes.get(leaf_id)
            assert isinstance(leaf, Leaf)
            yield leaf_id, leaf
        for was, now in pairs(nodes, old, new):
            if now is not None and now.is_dir:
                before = was.content if was and was.is_dir else NO_CONTENT
                if before != now.content:
                    waiting.append((before, now.content))


def _leaves_beside(nodes: Nodes, old: ObjectId, new: ObjectId) -> list[ObjectId]:
    """Return the leaves of the directory *new* that *old* has not (NO_CONTENT: has none).

    Level by level, so that what is below a node that both have is not read.
    """
    fresh, level = [new], nodes.get(new).level
    known, known_level = ([], -1) if old == NO_CONTENT else ([old], nodes.get(old).level)
    while True:
        if known_level == level:
            shared = set(known).intersection(fresh)
            known = [node for node in known if node not in shared]
            fresh = [node for node in fresh if node not in shared]
        if not level and known_level <= level:
            return fresh
        descends = known_level <= level
        if known_level >= level:
            known, known_level = _children(nodes, known), known_level - 1
        if descends:
            fresh, level = _children(nodes, fresh), level - 1


def _children(nodes: Nodes, level: list[ObjectId]) -> list[ObjectId]:
    inner = [node for node in map(nodes.get, level) if isinstance(node, Inner)]
    return [child.node for node in inner for child in node.children]
