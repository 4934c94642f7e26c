"""Accepting versions from a remote: every node is there, and is what its parent says of it.

A version that is complete here already is taken for right: what it shares with a new one is not
looked at again, so this takes O(changes). Tasks of `vfs.sync.receiving`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject, RemoteProblem
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import BlobNode, decode_blob_node
from vfs.model.entry import FLAG_BLOB, Entry, Totals, checked_extra
from vfs.model.node import Child, Inner, Leaf, Node, decode_node
from vfs.repo.claims import check_child, check_root, last_name, sums_in
from vfs.store.layout import Kind
from vfs.sync.receiving import Needs, Receiver, Task

if TYPE_CHECKING:
    from vfs.model.commit import Commit
    from vfs.repo.trees import Nodes

CHILDREN_AT_ONCE: Final = 64  # of a blob's node: each may cover 32 MiB of a file


class _Old(NamedTuple):
    """A node of an older version, which may hold what a new one holds."""

    level: int
    after: bytes  # the last name before it
    child: Child


class Acceptance:
    """Has all that versions hold brought here, and checks it. For one thread."""

    def __init__(self, receiver: Receiver, nodes: Nodes) -> None:
        """*nodes*: those of the store."""
        self._receiver = receiver
        self._nodes = nodes
        self._seen: set[int] = set()  # hashes of what was said of which object: checked once

    def version(self, commit: Commit, base: Commit | None) -> None:
        """Start with a version; *base* is one that is complete here and much like it.

        Raises RemoteProblem.
        """
        try:
            self._entry(commit.root, None if base is None else base.root)
        except CorruptObject as error:
            raise RemoteProblem(f"the remote holds what can't be: {error}") from error

    def _entry(self, entry: Entry, old: Entry | None) -> None:
        """Check an entry, and start on what it holds. *old*: of the same name, complete."""
        if old is not None and entry[5:] == old[5:] and entry.kind == old.kind:
            return
        extra = checked_extra(entry)
        if extra.totals is not None:
            if self._is_new(entry.content, extra.totals):
                before = old.content if old is not None and old.is_dir else None
                self._receiver.start(self._directory(entry.content, extra.totals, before))
        elif entry.is_file and entry.flags & FLAG_BLOB:
            if self._is_new(entry.content, (entry.size, extra.holes)):
                self._receiver.start(self._blob(entry.content, entry.size, extra.holes))
        elif entry.is_file:
            if extra.holes:
                raise CorruptObject("a file of one chunk has holes")
            if entry.content != NO_CONTENT:
                self._receiver.want_chunk(entry.content, entry.size)

    def _is_new(self, oid: ObjectId, claim: object) -> bool:
        # Python's hash of bytes is keyed: nobody can make two claims that look like one.
        key = hash(oid + repr(claim).encode())
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    # directories

    def _directory(self, tree: ObjectId, totals: Totals, old: ObjectId | None) -> Task:
        (data,) = yield [(Kind.TREE, tree)]
        node = decode_node(data)
        check_root(tree, node, totals)
        before: list[_Old] = []
        if old is not None:
            root = self._nodes.get(old)
            before.append(_Old(root.level, b"", Child(old, last_name(root), sums_in(root))))
        self._node(node, b"", before)

    def _child(self, child: Child, level: int, after: bytes, old: Sequence[_Old]) -> Task:
        (data,) = yield [(Kind.TREE, child.node)]
        node = decode_node(data)
        check_child(child, node, level, after)
        self._node(node, after, old)

    def _node(self, node: Node, after: bytes, old: Sequence[_Old]) -> None:
        """Check what a node names. *old*: complete nodes that may hold some of it."""
        if isinstance(node, Leaf):
            entries = {
                entry.name: entry
                for one in self._lowered(old, 0, after, last_name(node))
                for entry in self._old_leaf(one).entries()
            }
            for entry in node.entries():
                self._entry(entry, entries.get(entry.name))
            return
        level = node.level - 1
        near = self._lowered(old, level, after, last_name(node))
        same = {(one.level, one.after, one.child) for one in near}
        for child in node.children:
            if (level, after, child) not in same:
                overlapping = [o for o in near if o.child.last > after and o.after < child.last]
                claim = (level, after, child.last, child.sums)
                if self._is_new(child.node, claim):
                    self._receiver.start(self._child(child, level, after, overlapping))
            after = child.last

    def _lowered(self, old: Iterable[_Old], level: int, after: bytes, last: bytes) -> list[_Old]:
        """Return the nodes of at most *level* below *old* that have names in (after, last]."""
        found = []
        waiting = list(old)
        while waiting:
            one = waiting.pop()
            if one.child.last <= after or one.after >= last:
                continue
            if one.level <= level:
                found.append(one)
                continue
            node = self._nodes.get(one.child.node)
            assert isinstance(node, Inner)
            begin = one.after
            for child in node.children:
                waiting.append(_Old(node.level - 1, begin, child))
                begin = child.last
        return found

    def _old_leaf(self, one: _Old) -> Leaf:
        leaf = self._nodes.get(one.child.node)
        assert isinstance(leaf, Leaf)
        return leaf

    # files

    def _blob(self, oid: ObjectId, size: int, holes: int) -> Task:
        (data,) = yield [(Kind.BLOB, oid)]
        root = decode_blob_node(data)
        if root.size != size:
            raise CorruptObject(f"the blob {oid.hex()} is not of the size that its file says")
        if holes != (yield from self._holes(root)):
            raise CorruptObject(f"the blob {oid.hex()} has not the holes that its file says")

    def _holes(self, node: BlobNode) -> Generator[Needs, Sequence[bytes], int]:
        """Want all chunks below a node; return the bytes that no chunk holds."""
        if not node.level:
            for span in node.spans:
                if not span.is_hole:
                    self._receiver.want_chunk(span.content, span.length)
            return sum(span.length for span in node.spans if span.is_hole)
        holes = 0
        for at in range(0, len(node.spans), CHILDREN_AT_ONCE):
            spans = node.spans[at : at + CHILDREN_AT_ONCE]
            answers = yield [(Kind.BLOB, span.content) for span in spans]
            for span, data in zip(spans, answers, strict=True):
                child = decode_blob_node(data)
                if child.level != node.level - 1 or child.size != span.length:
                    raise CorruptObject("a blob node is not what its parent says")
                holes += yield from self._holes(child)
        return holes
