"""Directories: building them, changing them in O(changes), and finding things in them."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from blake3 import blake3

from vfs import counts
from vfs.errors import CorruptObject, NotFound
from vfs.ids import ObjectId
from vfs.model.entry import Entry, Extra, Totals
from vfs.model.node import (
    NOTHING,
    Child,
    Inner,
    Leaf,
    Node,
    decode_node,
    encode_inner,
    encode_leaf,
    sums_of,
)
from vfs.recent import Recent
from vfs.repo.prolly import Builder
from vfs.store.layout import Kind
from vfs.store.objects import ObjectSink, ObjectSource

_BOUNDARY_BITS: Final = 6  # a node of 64 items more than the fewest, on average
_RECORD_BYTES: Final = 64
NODES_CACHED_BYTES: Final = 8 << 20  # as stored; decoded they take about three times that


class _TreeShape:
    """Leaves of entries, inner nodes of children. Boundaries depend on names alone."""

    min_items = 16
    max_items = 256
    max_bytes = 32 * 1024

    def __init__(self, ingest: ObjectSink) -> None:
        self._ingest = ingest

    def size(self, level: int, item: Entry | Child) -> int:
        if isinstance(item, Entry):
            return _RECORD_BYTES + len(item.name) + len(item.extra)
        return _RECORD_BYTES + len(item.last)

    def is_boundary(self, level: int, item: Entry | Child) -> bool:
        name = item.name if isinstance(item, Entry) else item.last
        # Each level looks at bits of its own: a boundary below would be one above as well.
        bits = int.from_bytes(blake3(name).digest(), "little") >> (level * _BOUNDARY_BITS)
        return not bits & ((1 << _BOUNDARY_BITS) - 1)

    def write(self, level: int, items: list[Entry | Child]) -> Child:
        if level == 0:
            entries: list[Entry] = items  # type: ignore[assignment]
            node = self._ingest.add_object(Kind.TREE, encode_leaf(entries))
            return Child(node, entries[-1].name if entries else b"", sums_of(entries))
        children: list[Child] = items  # type: ignore[assignment]
        node = self._ingest.add_object(Kind.TREE, encode_inner(level, children))
        return Child(node, children[-1].last, sum((c.sums for c in children), NOTHING))


class TreeBuilder:
    """Builds one directory from entries in strictly ascending order of their names."""

    def __init__(self, ingest: ObjectSink) -> None:
        self._shape = _TreeShape(ingest)
        self._builder: Builder[Entry | Child] = Builder(self._shape)
        self._last = b""

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        if entry.name <= self._last:
            raise ValueError(f"{entry.name!r} comes after {self._last!r}")
        self._last = entry.name
        self._builder.add(entry)

    def takes_node(self, level: int) -> bool:
        """Say whether a node of *level* of another tree can be appended as it is."""
        return self._builder.is_aligned(level + 1)

    def add_node(self, level: int, child: Child) -> None:
        """Append a whole node of *level* of another tree (see `takes_node`)."""
        self._last = child.last
        self._builder.add(child, level + 1)

    def finish(self) -> tuple[ObjectId, Totals]:
        """Write what is open; return the directory's root node and its totals."""
        level, items = self._builder.finish()
        if level and len(items) == 1:
            root = items[0]
            assert isinstance(root, Child)
        else:
            root = self._shape.write(level, items)
        return root.node, root.sums.totals()


def edit_tree(
    reader: ObjectSource, ingest: ObjectSink, tree: ObjectId, edits: Mapping[bytes, Entry | None]
) -> tuple[ObjectId, Totals]:
    """Return directory *tree* with *edits* applied: new entries by name, None to remove one.

    Reads and writes the nodes that change, and no others. Gives the tree that `TreeBuilder`
    would build from all entries.
    """
    return merge_tree(reader, ingest, tree, sorted(edits.items()))


Edit = tuple[bytes, Entry | None]


def merge_tree(
    reader: ObjectSource, ingest: ObjectSink, tree: ObjectId | None, edits: Iterable[Edit]
) -> tuple[ObjectId, Totals]:
    """Do as `edit_tree` does with *edits* that ascend by name, taken one by one.

    Without a *tree* they are all there is.
    """
    builder = TreeBuilder(ingest)
    waiting = _Edits(edits)
    if tree is not None:
        _merge(reader, builder, tree, waiting, is_last=True)
    waiting.add_before(builder, None)
    return builder.finish()


class _Edits:
    """Edits in the order of their names, of which the next one can be looked at."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._rest = iter(edits)
        self._next = next(self._rest, None)

    def any_up_to(self, name: bytes | None) -> bool:
        """Say whether there is an edit up to *name*, which counts; None: any at all."""
        return self._next is not None and (name is None or self._next[0] <= name)

    def add_before(self, builder: TreeBuilder, name: bytes | None) -> None:
        """Append what is to come before *name*; None: all that is left."""
        while self._next is not None and (name is None or self._next[0] < name):
            self.add_one(builder)

    def add_one(self, builder: TreeBuilder) -> None:
        """Append the next entry, unless it is to be removed."""
        assert self._next is not None
        entry = self._next[1]
        if entry is not None:
            builder.add(entry)
        self._next = next(self._rest, None)


def _merge(
    reader: ObjectSource, builder: TreeBuilder, node_id: ObjectId, edits: _Edits, *, is_last: bool
) -> None:
    """Append a node with its edits; *is_last*: all edits that are left belong to it."""
    node = decode_node(reader.get(node_id))
    if isinstance(node, Leaf):
        for entry in node.entries():
            edits.add_before(builder, entry.name)
            if not edits.any_up_to(entry.name):
                builder.add(entry)
            else:
                edits.add_one(builder)
        return
    for index, child in enumerate(node.children):
        here = None if is_last and index == len(node.children) - 1 else child.last
        if not edits.any_up_to(here) and builder.takes_node(node.level - 1):
            builder.add_node(node.level - 1, child)
        else:
            _merge(reader, builder, child.node, edits, is_last=here is None)


class Nodes:
    """Decoded tree nodes, the most recent ones kept. For one thread."""

    def __init__(self, reader: ObjectSource) -> None:
        self._reader = reader
        self._kept: Recent[ObjectId, Node] = Recent(NODES_CACHED_BYTES)

    def get(self, oid: ObjectId) -> Node:
        """Return a node. Raises CorruptObject."""
        node = self._kept.get(oid)
        counts.count(counts.NODE_MISSES if node is None else counts.NODE_HITS)
        if node is None:
            data = self._reader.get(oid)
            node = decode_node(data)
            self._kept.put(oid, node, len(data))
        return node

    def enter(self, directory: Entry) -> ObjectId:
        """Return the tree of a directory that is about to be looked into. Raises CorruptObject.

        A store of one's own has no reason to doubt that it is what the entry says; a remote's
        cache has (`vfs.repo.checkednodes`).
        """
        return directory.content

    def child(self, parent: Inner, index: int) -> Node:
        """Return a child of *parent*. Raises CorruptObject."""
        node = self.get(parent.children[index].node)
        if node.level != parent.level - 1:
            raise CorruptObject("a tree node stands at a wrong level")
        return node


class Place(NamedTuple):
    """An entry and where it stands in its directory."""

    leaf: Leaf
    leaf_index: int
    position: int  # among all entries of the directory
    dirs_before: int  # directories, at any depth, in the entries before it
    files_before: int  # others, at any depth, there

    @property
    def entry(self) -> Entry:
        """Return the entry."""
        return self.leaf.entry(self.leaf_index)


class Found(NamedTuple):
    """An entry that was asked for by name."""

    leaf: Leaf
    leaf_index: int
    dirs_before: int  # as in Place, for a directory; 0 for all else, which is not numbered by it

    @property
    def entry(self) -> Entry:
        """Return the entry."""
        return self.leaf.entry(self.leaf_index)


def find(nodes: Nodes, tree: ObjectId, name: bytes) -> Found | None:
    """Return the entry *name* of a directory, or None. Reads O(log n) nodes."""
    found = _locate(nodes, tree, name)
    if found is None:
        return None
    leaf, index, above = found
    dirs = 0
    if stat.S_ISDIR(leaf.mode(index)):
        # Counting takes longer than finding, and files, which are most, have no use for it.
        dirs = leaf.dirs_before(index)
        dirs += sum(child.sums.dirs for inner, i in above for child in inner.children[:i])
    return Found(leaf, index, dirs)


def find_place(nodes: Nodes, tree: ObjectId, name: bytes) -> Place | None:
    """Return the entry *name* of a directory and all that comes before it, or None."""
    found = _locate(nodes, tree, name)
    if found is None:
        return None
    leaf, index, above = found
    position = index
    dirs, files = leaf.before(index)
    for inner, i in above:
        for child in inner.children[:i]:
            position += child.sums.entries
            dirs += child.sums.dirs
            files += child.sums.files
    return Place(leaf, index, position, dirs, files)


def _locate(
    nodes: Nodes, tree: ObjectId, name: bytes
) -> tuple[Leaf, int, list[tuple[Inner, int]]] | None:
    """Return the leaf and index of *name*, and the inner nodes and indices that lead there."""
    node = nodes.get(tree)
    above: list[tuple[Inner, int]] = []
    while isinstance(node, Inner):
        index = node.find(name)
        if index == len(node):
            return None
        above.append((node, index))
        node = nodes.child(node, index)
    index = node.find(name)
    if index == len(node) or node.names[index] != name:
        return None
    return node, index, above


def walk(nodes: Nodes, tree: ObjectId, start: int = 0) -> Iterator[Place]:
    """Yield the entries of a directory from the index *start* on. Skips to it in O(log n)."""
    for span in leaves(nodes, tree, start):
        yield from span.places(start)


class Span(NamedTuple):
    """A leaf of a directory, and what comes before it there (see `Place`)."""

    leaf: Leaf
    position: int
    dirs_before: int
    files_before: int

    def places(self, start: int = 0) -> Iterator[Place]:
        """Yield the entries from the index *start* of the directory on."""
        leaf, position, dirs, files = self
        at = min(max(start - position, 0), len(leaf))
        if at:
            dirs_there, files_there = leaf.before(at)
            dirs += dirs_there
            files += files_there
        for i in range(at, len(leaf)):
            yield Place(leaf, i, position + i, dirs, files)
            if stat.S_ISDIR(leaf.mode(i)):
                totals = leaf.totals(i)
                dirs += totals.dirs
                files += totals.files
            else:
                files += 1


def leaves(nodes: Nodes, tree: ObjectId, start: int = 0) -> Iterator[Span]:
    """Yield the leaves of a directory, from that on which has the entry of index *start*."""
    return _leaves(nodes, nodes.get(tree), start, 0, 0, 0)


def _leaves(
    nodes: Nodes, node: Node, start: int, position: int, dirs: int, files: int
) -> Iterator[Span]:
    if isinstance(node, Leaf):
        yield Span(node, position, dirs, files)
        return
    for i, child in enumerate(node.children):
        sums = child.sums
        if position + sums.entries > start:
            yield from _leaves(nodes, nodes.child(node, i), start, position, dirs, files)
        position += sums.entries
        dirs += sums.dirs
        files += sums.files


def find_directory(nodes: Nodes, tree: ObjectId, rank: int) -> tuple[Entry, int]:
    """Return the child directory that is, or holds, the directory at preorder *rank*.

    Ranks count from 0 for the first directory below *tree*. Also returns the child's own rank.
    Raises NotFound for a rank past the end.
    """
    leaf, index, before = _ranked(nodes, tree, rank, files=0)
    return leaf.entry(index), before


def find_ranked(nodes: Nodes, tree: ObjectId, rank: int) -> tuple[Entry, int]:
    """Return the child that is, or holds, the entry of any kind at preorder *rank*.

    As `find_directory`, but everything counts.
    """
    leaf, index, before = _ranked(nodes, tree, rank, files=1)
    return leaf.entry(index), before


def _ranked(nodes: Nodes, tree: ObjectId, rank: int, *, files: int) -> tuple[Leaf, int, int]:
    """Return where the child is that holds *rank*, and how many ranks come before it.

    *files* is what counts for everything that is no directory: 0 or 1.
    """
    node = nodes.get(tree)
    before = 0
    while isinstance(node, Inner):
        for index, child in enumerate(node.children):
            own = child.sums.dirs + files * child.sums.files
            if rank < before + own:
                node = nodes.child(node, index)
                break
            before += own
        else:
            raise NotFound(f"there is nothing of rank {rank} below this directory")
    for index in range(len(node)):
        own = files
        if stat.S_ISDIR(node.mode(index)):
            totals = node.totals(index)
            own = totals.dirs + files * totals.files
        if rank < before + own:
            return node, index, before
        before += own
    raise NotFound(f"there is nothing of rank {rank} below this directory")


def with_tree(entry: Entry, tree: ObjectId, totals: Totals) -> Entry:
    """Return the directory *entry* with other contents."""
    extra = replace(Extra.decode(entry.extra), totals=totals).encode()
    return entry._replace(content=tree, extra=extra)
