"""Tree nodes of a remote's cache: each is compared with the node above it by whoever enters it.

What came from a remote has the bytes that its id says, but who filled the remote may have written
nodes that say what is not so of those below. What a node says counts (positions of directories are
made of it), so nobody comes to what contradicts it. Which of both is wrong can't be told, and in
another version each may be right: so both stay in the cache, and each reader is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.model.entry import FLAG_BLOB, checked_extra
from vfs.model.node import Inner, Leaf, decode_node
from vfs.recent import Recent
from vfs.repo.claims import check_child, check_root
from vfs.repo.trees import Nodes

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.model.node import Node
    from vfs.store.objects import ObjectSource
    from vfs.store.store import Store

REMEMBERED: Final = 50_000
"""Comparisons that came out right, which are not made again: some 5 MB of memory."""


class CheckedNodes(Nodes):
    """Tree nodes that are what the nodes above them say. For one thread."""

    def __init__(self, reader: ObjectSource) -> None:
        super().__init__(reader)
        # Python's hash of bytes is keyed: nobody can make two claims that look like one.
        self._right: Recent[int, bool] = Recent(REMEMBERED)

    def enter(self, directory: Entry) -> ObjectId:
        key = hash((directory.content, directory.extra))
        if self._right.get(key) is None:
            totals = checked_extra(directory).totals
            if totals is None:
                raise CorruptObject(f"{directory.name!r} is no directory")
            check_root(directory.content, self.get(directory.content), totals)
            self._right.put(key, True)
        return directory.content

    def child(self, parent: Inner, index: int) -> Node:
        child = parent.children[index]
        # What the first child may have no name below, only the nodes further up know.
        after = parent.lasts[index - 1] if index else b""
        node = self.get(child.node)
        key = hash((parent.level, after, child))
        if self._right.get(key) is None:
            check_child(child, node, parent.level - 1, after)
            self._right.put(key, True)
        return node


def nodes_of(store: Store, reader: ObjectSource) -> Nodes:
    """Return the tree nodes of a store: those of a remote's cache are compared."""
    return CheckedNodes(reader) if store.is_promised else Nodes(reader)


def check_node(oid: ObjectId, data: bytes) -> None:
    """Raise CorruptObject, which names it, for a tree node that can't be, whatever is below it."""
    try:
        node = decode_node(data)
        for entry in node.entries() if isinstance(node, Leaf) else ():
            extra = checked_extra(entry)
            if extra.holes > (entry.size if entry.flags & FLAG_BLOB else 0):
                raise CorruptObject(f"{entry.name!r} has more holes than it can have")
    except CorruptObject as error:
        raise CorruptObject(f"the tree node {oid.hex()} can't be: {error}") from error
