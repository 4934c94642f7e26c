"""What a tree node says of those below it, compared with what these hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.errors import CorruptObject
from vfs.model.node import NOTHING, Inner, Node, Sums, sums_of

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Totals
    from vfs.model.node import Child


def check_root(tree: ObjectId, node: Node, totals: Totals) -> None:
    """Raise CorruptObject unless the root node of a directory holds what its entry says."""
    if sums_in(node).totals() != totals:
        raise CorruptObject(f"the tree {tree.hex()} does not hold what its entry says")


def check_child(child: Child, node: Node, level: int, after: bytes) -> None:
    """Raise CorruptObject unless *node* is what its parent says of a child.

    *level*: where it has to stand. *after*: a name below which it can't have any.
    """
    if node.level != level or (last_name(node), sums_in(node)) != (child.last, child.sums):
        raise CorruptObject(f"the tree node {child.node.hex()} is not what its parent says")
    if _first_name(node) <= after:
        raise CorruptObject(f"the names in the tree node {child.node.hex()} do not ascend")


def sums_in(node: Node) -> Sums:
    """Return what a node's items add up to. Raises CorruptObject."""
    if isinstance(node, Inner):
        return sum((child.sums for child in node.children), NOTHING)
    return sums_of(list(node.entries()))


def last_name(node: Node) -> bytes:
    """Return the greatest name below a node; b"" of an empty directory."""
    names = _names(node)
    return names[-1] if names else b""


def _first_name(node: Node) -> bytes:
    """Return a name that is not below any in the node's first part."""
    names = _names(node)
    return names[0] if names else b""


def _names(node: Node) -> list[bytes]:
    return node.lasts if isinstance(node, Inner) else node.names
