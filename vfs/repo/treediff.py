"""What differs between two trees, in O(changes): nodes that both have are not read.

Knows no commits and no renames (`vfs.repo.renames`); entries come in pairs of old and new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra, directory_totals
from vfs.model.node import Inner, Leaf, Node
from vfs.repo.trees import Nodes, walk

Pair = tuple[Entry | None, Entry | None]
"""What a name stood for, and what it stands for: None for nothing."""

Aspect = Literal["content", "mode", "owner", "xattrs", "links", "time"]
DifferenceKind = Literal["added", "modified", "deleted", "renamed", "type changed"]

LETTERS: Final[dict[DifferenceKind, str]] = {
    "added": "A",
    "modified": "M",
    "deleted": "D",
    "renamed": "R",
    "type changed": "T",
}
"""What git calls them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One path at which two trees differ."""

    path: bytes  # b"" for the root; of what was deleted, as it was
    kind: DifferenceKind
    old: Entry | None
    new: Entry | None
    aspects: tuple[Aspect, ...] = ()  # of what is in both: what differs
    old_path: bytes | None = None  # of what was renamed
    whole: bool = False  # a directory, and what is below it is told by this alone

    @property
    def letter(self) -> str:
        """Return what git calls it; in small letters where only attributes changed."""
        if self.kind == "renamed":
            return "Rm" if self.aspects else "R"
        if self.kind == "modified" and "content" not in self.aspects:
            return "m"
        return LETTERS[self.kind]

    @property
    def entry(self) -> Entry:
        """Return the entry that there is, the new one rather than the old."""
        entry = self.old if self.new is None else self.new
        assert entry is not None
        return entry

    @property
    def is_dir(self) -> bool:
        """Say whether a directory is, or was, at the path."""
        return self.entry.is_dir


def aspects(old: Entry, new: Entry, *, times: bool = True) -> tuple[Aspect, ...]:
    """Return what differs between two entries of one type.

    Of directories what they hold is no aspect, and neither is their time, which follows from it.
    *times*: whether the time of anything else is one.
    """
    found: list[Aspect] = []
    extras = None
    if old.extra != new.extra:
        extras = Extra.decode(old.extra), Extra.decode(new.extra)
    if not old.is_dir and (
        (old.size, old.content) != (new.size, new.content)
        or (extras and (extras[0].target, extras[0].rdev) != (extras[1].target, extras[1].rdev))
    ):
        found.append("content")
    if old.mode != new.mode:
        found.append("mode")
    if (old.uid, old.gid) != (new.uid, new.gid):
        found.append("owner")
    if extras and extras[0].xattrs != extras[1].xattrs:
        found.append("xattrs")
    # Which names are one file is no fact of any of them; how many there are is.
    if extras and _links(extras[0]) != _links(extras[1]):
        found.append("links")
    if times and not old.is_dir and old.mtime_ns != new.mtime_ns:
        found.append("time")
    return tuple(found)


def _links(extra: Extra) -> int:
    return 1 if extra.link is None else extra.link.nlink


# one directory


class _Side:
    """What is left of one tree, in order. The head is a node not read yet, or an entry."""

    __slots__ = ("_nodes", "at", "level", "node", "stack")

    def __init__(self, nodes: Nodes, tree: ObjectId) -> None:
        self._nodes = nodes
        self.stack: list[tuple[Inner, int]] = []
        self._enter(nodes.get(tree))
        self._settle()

    def _enter(self, node: Node) -> None:
        self.node: Node = node
        self.at = 0
        self.level = node.level - 1  # of the head; -1 for an entry, -2 behind the end

    def _settle(self) -> None:
        """Leave nodes of which nothing is left."""
        while self.at == len(self.node):
            if not self.stack:
                self.level = -2
                return
            above, at = self.stack.pop()
            self.node, self.at, self.level = above, at + 1, above.level - 1

    @property
    def head(self) -> ObjectId:
        """Return the id of the node at the head."""
        assert isinstance(self.node, Inner)
        return self.node.children[self.at].node

    @property
    def leaf(self) -> Leaf:
        """Return the leaf that the entry at the head is in."""
        assert isinstance(self.node, Leaf)
        return self.node

    def open(self) -> None:
        """Read the node at the head: its first item is the head then."""
        assert isinstance(self.node, Inner)
        above, at = self.node, self.at
        self.stack.append((above, at))
        self._enter(self._nodes.child(above, at))
        self._settle()

    def skip(self) -> None:
        """Go on behind the head."""
        self.at += 1
        self._settle()

    def rest(self) -> Iterator[Entry]:
        """Yield all entries that are left."""
        while self.level > -2:
            while self.level > -1:
                self.open()
            if self.level == -1:
                yield self.leaf.entry(self.at)
                self.skip()


def pairs(nodes: Nodes, old: ObjectId, new: ObjectId) -> Iterator[Pair]:
    """Yield what differs between two directories, sorted by name: entries that are not the same.

    Directories that hold something else are such entries. NO_CONTENT is an empty directory.
    """
    if old == new:
        return
    if NO_CONTENT in (old, new):
        for place in walk(nodes, old if new == NO_CONTENT else new):
            yield (None, place.entry) if old == NO_CONTENT else (place.entry, None)
        return
    a, b = _Side(nodes, old), _Side(nodes, new)
    while a.level > -2 and b.level > -2:
        if a.level == b.level == -1:
            yield from _entries(a, b)
        elif a.level != b.level:
            (a if a.level > b.level else b).open()
        elif a.head == b.head:
            a.skip()
            b.skip()
        else:
            a.open()
            b.open()
    for entry in a.rest():
        yield entry, None
    for entry in b.rest():
        yield None, entry


def _entries(a: _Side, b: _Side) -> Iterator[Pair]:
    """Compare what both have at their heads."""
    old, new = a.leaf, b.leaf
    old_name, new_name = old.names[a.at], new.names[b.at]
    if old_name == new_name:
        if old.identity(a.at) != new.identity(b.at):
            yield old.entry(a.at), new.entry(b.at)
        a.skip()
        b.skip()
    elif old_name < new_name:
        yield old.entry(a.at), None
        a.skip()
    else:
        yield None, new.entry(b.at)
        b.skip()


# all below


def all_pairs(
    nodes: Nodes, old: ObjectId, new: ObjectId, path: bytes = b"", *, one_sided: bool = True
) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Yield as `pairs` does, with paths, and behind each directory what differs in it.

    *path*: of the two directories. *one_sided*: whether to go into those that only one tree has.
    """
    # An explicit stack: a tree may be deeper than Python's recursion goes.
    stack = [(path, pairs(nodes, old, new))]
    while stack:
        prefix, rest = stack[-1]
        pair = next(rest, None)
        if pair is None:
            stack.pop()
            continue
        was, now = pair
        either = was or now
        assert either is not None
        here = _below(prefix, either.name)
        yield here, was, now
        trees = _trees(pair)
        if trees[0] != trees[1] and (one_sided or None not in pair):
            stack.append((here, pairs(nodes, *trees)))


def _trees(pair: Pair) -> tuple[ObjectId, ObjectId]:
    old, new = (entry.content if entry and entry.is_dir else NO_CONTENT for entry in pair)
    return old, new


def differences(
    nodes: Nodes, old: Entry | None, new: Entry | None, path: bytes = b"", *, times: bool = True
) -> Iterator[Difference]:
    """Yield what differs at *path* and below, in the order of a walk.

    A directory that was added or deleted is one difference (see `expand`). *times*: whether a
    file of another time is one when all else is the same.
    """
    if old is None and new is None:
        return
    found = _difference(path, old, new, times=times)
    if found is not None:
        yield found
    if old is None or new is None:
        return
    for here, was, now in all_pairs(nodes, *_trees((old, new)), path, one_sided=False):
        found = _difference(here, was, now, times=times)
        if found is not None:
            yield found


def _difference(
    path: bytes, old: Entry | None, new: Entry | None, *, times: bool
) -> Difference | None:
    if old is None or new is None:
        entry = old or new
        assert entry is not None
        return Difference(path, "added" if new else "deleted", old, new, whole=entry.is_dir)
    if old.kind != new.kind:
        return Difference(path, "type changed", old, new, ("content",))
    found = aspects(old, new, times=times)
    return Difference(path, "modified", old, new, found) if found else None


def expand(nodes: Nodes, difference: Difference) -> Iterator[Difference]:
    """Yield a difference; of a directory that was added or deleted, and all below, each entry."""
    if not difference.whole or difference.kind == "renamed":
        yield difference
        return
    yield replace(difference, whole=False)
    stack = [(difference.path, _children(nodes, difference))]
    while stack:
        prefix, rest = stack[-1]
        entry = next(rest, None)
        if entry is None:
            stack.pop()
            continue
        child = one_sided(difference, _below(prefix, entry.name), entry)
        yield child
        if entry.is_dir:
            stack.append((child.path, _children(nodes, child)))


def one_sided(like: Difference, path: bytes, entry: Entry) -> Difference:
    """Return that *entry* was added or deleted, as *like* was."""
    old, new = (None, entry) if like.kind == "added" else (entry, None)
    return Difference(path, like.kind, old, new)


def below(nodes: Nodes, difference: Difference) -> Iterator[Difference]:
    """Yield what stands in a directory that was added or deleted; directories there as wholes."""
    for entry in _children(nodes, difference):
        child = one_sided(difference, _below(difference.path, entry.name), entry)
        yield replace(child, whole=entry.is_dir)


def _children(nodes: Nodes, difference: Difference) -> Iterator[Entry]:
    tree = difference.entry.content
    return iter(()) if tree == NO_CONTENT else (place.entry for place in walk(nodes, tree))


def _below(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


@dataclass(slots=True)
class Summary:
    """What differences come to; bytes are those of regular files."""

    files: int = 0  # everything that is not a directory
    directories: int = 0
    old_bytes: int = 0
    new_bytes: int = 0

    def add(self, difference: Difference) -> None:
        """Count a difference in."""
        entry = difference.entry
        if entry.is_dir and difference.whole:
            totals = directory_totals(entry)
            self.files += totals.files
            self.directories += totals.dirs
        elif entry.is_dir:
            self.directories += 1
        else:
            self.files += 1
        self.old_bytes += _bytes(difference.old, whole=difference.whole)
        self.new_bytes += _bytes(difference.new, whole=difference.whole)


def _bytes(entry: Entry | None, *, whole: bool) -> int:
    if entry is None or not (entry.is_file or whole):
        return 0
    return directory_totals(entry).bytes if entry.is_dir else entry.size


def summarize(found: Iterator[Difference]) -> dict[DifferenceKind, Summary]:
    """Return what differences come to, by kind; those that there are none of are left out."""
    sums: dict[DifferenceKind, Summary] = {}
    for difference in found:
        sums.setdefault(difference.kind, Summary()).add(difference)
    return {kind: sums[kind] for kind in LETTERS if kind in sums}
