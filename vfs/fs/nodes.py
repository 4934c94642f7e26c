"""Node ids: how the kernel and this file system call an inode, without a table.

A file's node id is its inode number, below 2**62: the same in all versions, so all versions share
one page cache. A directory's can't be, as the kernel lets a directory have one name only. It is
the directory's position instead: the slot of its root, and its rank in the preorder of all
directories below that root. Tree entries carry how many directories are below them, so a
position leads back to its directory by a descent (`vfs.repo.trees.find_directory`), in any worker.

What branches are mounted on has to keep its node id whatever is committed: the kernel takes away
what is mounted on a directory that turns out to be another one. So it is made of the name.
"""

from __future__ import annotations

from typing import Final

from vfs.store.layout import SLOT_MAX

ROOT: Final = 1
"""The root of a mount."""

RANK_BITS: Final = 34
LINK_RANK: Final = (1 << RANK_BITS) - 1
"""The rank of no directory: the symlink that leads to the slot's root."""

_POSITION: Final = 1 << 62
_NAME: Final = 1 << 63

assert SLOT_MAX << RANK_BITS == _POSITION


def position(slot: int, rank: int) -> int:
    """Return the node id of the directory at *rank* below the root of *slot*."""
    return _POSITION | slot << RANK_BITS | rank


def is_position(node: int) -> bool:
    """Say whether *node* is a directory's position, or the symlink of a slot."""
    return node & (_NAME | _POSITION) == _POSITION


def split_position(node: int) -> tuple[int, int]:
    """Return the slot and the rank of a position."""
    return (node ^ _POSITION) >> RANK_BITS, node & LINK_RANK


def name_node(number: int) -> int:
    """Return the node id of a name in the top directory, of which *number* (62 bits) is a hash."""
    return _NAME | number


def is_name(node: int) -> bool:
    """Say whether *node* is one of a name."""
    return bool(node & _NAME)
