"""Renames among differences, told by content: what is gone and what is new are the same.

Files: of the same content, not empty. Directories: of the same tree, with files in it. Names that
stayed the same go before others. Copies are none, as nothing went.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from vfs.model.entry import directory_totals
from vfs.repo.treediff import Difference, aspects, below, expand

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.repo.trees import Nodes

RENAMES_AMONG: Final = 50_000
"""Differences that are held to look for renames, of 1 KiB or so each."""


def with_renames(
    nodes: Nodes,
    found: Iterator[Difference],
    *,
    limit: int = RENAMES_AMONG,
    whole: bool = False,
    times: bool = True,
    cut: Callable[[], None] = lambda: None,
) -> Iterator[Difference]:
    """Yield *found* with what was renamed as such; what is in directories that came or went, too.

    *whole*: those stay one difference each, and only they themselves can have been renamed. With
    more than *limit* differences none is a rename: *cut* is called, and nothing is held.
    """
    found = iter(found)
    held = list(islice(found, limit + 1))
    if len(held) <= limit and _can_have_renames(held):
        search = _Search(nodes, limit, whole=whole, times=times)
        if search.flatten(held):
            yield from search.matched()
            return
        cut()
    elif len(held) > limit:
        cut()
    for difference in chain(_emptied(held), found):
        yield from (difference,) if whole else expand(nodes, difference)


def _can_have_renames(held: list[Difference]) -> bool:
    return {"added", "deleted"} <= {difference.kind for difference in held}


def _emptied(held: list[Difference]) -> Iterator[Difference]:
    """Yield what is held, which is not held any longer then."""
    held.reverse()
    while held:
        yield held.pop()


@dataclass(slots=True, eq=False)
class _Item:
    """A difference; of one that was deleted or added, whether it became part of a rename."""

    difference: Difference
    above: _Item | None  # the directory that came or went with it
    used: bool = False
    tainted: bool = False  # something below is used

    def is_free(self) -> bool:
        """Say whether this can be one side of a rename."""
        return not self.tainted and not self.is_told()

    def is_told(self) -> bool:
        """Say whether a rename tells what happened to this."""
        item: _Item | None = self
        while item is not None:
            if item.used:
                return True
            item = item.above
        return False

    def use(self) -> None:
        """Make this one side of a rename."""
        self.used = True
        above = self.above
        while above is not None and not above.tainted:
            above.tainted = True
            above = above.above


class _Lost:
    """What was deleted, by content."""

    def __init__(self) -> None:
        self._named: defaultdict[tuple[ObjectId, bytes], deque[_Item]] = defaultdict(deque)
        self._any: defaultdict[ObjectId, deque[_Item]] = defaultdict(deque)

    def add(self, item: _Item) -> None:
        """Let *item* be found."""
        entry = item.difference.entry
        self._named[entry.content, entry.name].append(item)
        self._any[entry.content].append(item)

    def find(self, new: Difference) -> _Item | None:
        """Return what *new* may have been, of the same name if possible."""
        entry = new.entry
        for waiting in (
            self._named.get((entry.content, entry.name)),
            self._any.get(entry.content),
        ):
            while waiting:
                if waiting[0].is_free():
                    return waiting[0]
                waiting.popleft()
        return None


class _Search:
    """All differences, held to find renames among them."""

    def __init__(self, nodes: Nodes, limit: int, *, whole: bool, times: bool) -> None:
        self._nodes = nodes
        self._limit = limit
        self._whole = whole
        self._times = times
        self._items: list[_Item] = []

    def flatten(self, held: list[Difference]) -> bool:
        """Take all differences, with what is in directories; False where they are too many."""
        stack: list[tuple[_Item | None, Iterator[Difference]]] = [(None, iter(held))]
        while stack:
            above, rest = stack[-1]
            difference = next(rest, None)
            if difference is None:
                stack.pop()
                continue
            if len(self._items) == self._limit:
                return False
            item = _Item(difference, above)
            self._items.append(item)
            if difference.whole and not self._whole:
                stack.append((item, below(self._nodes, difference)))
        return True

    def matched(self) -> Iterator[Difference]:
        """Yield all differences."""
        renamed = self._match(directories=True) | self._match(directories=False)
        for item in self._items:
            difference = item.difference
            if item in renamed:
                yield self._renamed(renamed[item], difference)
            elif not item.is_told():
                if difference.whole and not self._whole:
                    yield next(expand(self._nodes, difference))
                else:
                    yield difference

    def _match(self, *, directories: bool) -> dict[_Item, Difference]:
        """Return what was renamed, and what it was."""
        lost = _Lost()
        for item in self._items:
            if item.difference.kind == "deleted" and _counts(item.difference, directories):
                lost.add(item)
        renamed = {}
        for item in self._items:
            difference = item.difference
            if (
                difference.kind == "added"
                and _counts(difference, directories)
                and not item.is_told()
                and (old := lost.find(difference)) is not None
            ):
                renamed[item] = old.difference
                old.use()
                item.used = True
        return renamed

    def _renamed(self, old: Difference, new: Difference) -> Difference:
        assert old.old is not None
        assert new.new is not None
        return Difference(
            new.path,
            "renamed",
            old.old,
            new.new,
            aspects(old.old, new.new, times=self._times),
            old_path=old.path,
            whole=new.whole,
        )


def _counts(difference: Difference, directories: bool) -> bool:
    """Say whether this is of the sort in question, and its content says something."""
    entry = difference.entry
    if entry.is_dir != directories:
        return False
    if directories:
        return directory_totals(entry).files > 0
    return entry.is_file and entry.size > 0
