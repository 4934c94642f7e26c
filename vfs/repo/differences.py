"""What differs between two versions, as a version: `added/`, `modified/` and `deleted/`.

It is stored like one, under a slot of its own, so that every worker of a hub finds it and shows it
as it shows all else. Directories that are whole in one of the three keep their trees. All of it can
be made again from the two versions, so it may be removed whenever nobody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vfs.ids import ObjectId
from vfs.model.commit import Commit
from vfs.model.entry import Entry, Extra
from vfs.model.names import SEPARATOR
from vfs.repo.treediff import pairs
from vfs.repo.trees import TreeBuilder, with_tree
from vfs.store.layout import Kind, Slot

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import Pair
    from vfs.store.objects import ObjectSink
    from vfs.store.store import Store

ADDED, DELETED, MODIFIED = range(3)
NAMES: Final = (b"added", b"deleted", b"modified")


def difference_name(old: ObjectId, new: ObjectId) -> str:
    """Return the name of a difference in its slot."""
    return f"{old.hex()}{SEPARATOR}{new.hex()}"


class Differences:
    """Finds differences that were made. For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], int] = {}
        self._next = 1  # the first slot that was not looked at

    def find(self, data_set: str, old: ObjectId, new: ObjectId) -> int | None:
        """Return the slot of a difference; None for one that was not made, or was removed.

        The first call reads all slots: 1 ms for a thousand.
        """
        while slots := self._store.refs.slots_from(self._next):
            for number, slot in slots:
                if slot.is_difference:
                    self._known[slot.data_set, slot.name] = number
            self._next = slots[-1][0] + 1
        number = self._known.get((data_set, difference_name(old, new)), 0)
        found = self._store.refs.slot(number)
        if found is None or self._store.object_size(found.commit) is None:
            return None
        return number


def make_difference(repo: Repository, data_set: str, old: ObjectId, new: ObjectId) -> None:
    """Store what differs between two commits. Raises CorruptObject, StoreFull."""
    before, after = repo.commit(old), repo.commit(new)
    with repo.store.ingest() as ingest:
        builder = _Builder(repo, ingest)
        record = Commit(
            root=builder.build(before.root, after.root),
            parents=(),
            time_ns=after.time_ns,
            author="vfs",
            message=f"what differs between {old.hex()} and {new.hex()}",
            provenance={"kind": "difference", "from": old.hex(), "to": new.hex()},
        )
        commit = ingest.add_object(Kind.COMMIT, record.encode())
        ingest.flush()
        repo.store.refs.add_slot(Slot(commit, data_set, difference_name(old, new)))


class _Directory:
    """A directory of both versions, and what of it goes where."""

    def __init__(self, repo: Repository, old: Entry, new: Entry) -> None:
        self.heads = (new, old, new)
        self.rest: Iterator[Pair] = pairs(repo.nodes, old.content, new.content)
        self.sides: list[TreeBuilder | None] = [None, None, None]
        self.is_modified = _attributes(old) != _attributes(new)


class _Builder:
    """Builds the three trees in one walk over what differs."""

    def __init__(self, repo: Repository, ingest: ObjectSink) -> None:
        self._repo = repo
        self._ingest = ingest

    def build(self, old: Entry, new: Entry) -> Entry:
        """Return the root with all three, each with the attributes that its root has there."""
        # An explicit stack: a tree may be deeper than Python's recursion goes.
        top = _Directory(self._repo, old, new)
        stack = [top]
        while True:
            here = stack[-1]
            pair = next(here.rest, None)
            if pair is None:
                if here is top:
                    break
                stack.pop()
                self._close(here, stack[-1])
                continue
            was, now = pair
            if was and now and was.is_dir and now.is_dir:
                stack.append(_Directory(self._repo, was, now))
            elif was and now and was.kind == now.kind:
                self._add(here, MODIFIED, now)
            else:
                if was:
                    self._add(here, DELETED, was)
                if now:
                    self._add(here, ADDED, now)
        root = TreeBuilder(self._ingest)
        for side, name in enumerate(NAMES):
            root.add(self._finish(top, side)._replace(name=name))
        return with_tree(new, *root.finish())

    def _add(self, directory: _Directory, side: int, entry: Entry) -> None:
        builder = directory.sides[side]
        if builder is None:
            builder = directory.sides[side] = TreeBuilder(self._ingest)
        builder.add(entry)

    def _close(self, directory: _Directory, above: _Directory) -> None:
        for side, builder in enumerate(directory.sides):
            if builder is not None or (side == MODIFIED and directory.is_modified):
                self._add(above, side, self._finish(directory, side))

    def _finish(self, directory: _Directory, side: int) -> Entry:
        builder = directory.sides[side] or TreeBuilder(self._ingest)
        return with_tree(directory.heads[side], *builder.finish())


def _attributes(directory: Entry) -> tuple[object, ...]:
    """Return what there is of a directory besides what it holds."""
    return (*directory[1:5], Extra.decode(directory.extra).xattrs)
