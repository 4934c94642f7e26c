"""Content-defined search trees, bottom up: what directories and blobs have in common.

Items are appended in order; a level's node ends behind an item that its shape calls a boundary,
or when it is full. Where nodes end depends on the items since the last end alone, so one changed
item changes the nodes above it and few others, whatever the history (a "prolly tree").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")


class Shape(Protocol[Item]):
    """How the items of one sort of tree are measured, written and summed up."""

    min_items: int
    max_items: int
    max_bytes: int

    def size(self, level: int, item: Item) -> int:
        """Return the bytes that *item* takes in a node of *level*."""

    def is_boundary(self, level: int, item: Item) -> bool:
        """Say whether a node of *level* ends behind *item*. Must differ from level to level."""

    def write(self, level: int, items: list[Item]) -> Item:
        """Store a node; return the item that stands for it one level up."""


@dataclass
class _Level(Generic[Item]):
    items: list[Item]
    size: int = 0


class Builder(Generic[Item]):
    """Builds one tree. Memory: one open node a level."""

    def __init__(self, shape: Shape[Item]) -> None:
        self._shape = shape
        self._levels: list[_Level[Item]] = [_Level([])]

    def add(self, item: Item, level: int = 0) -> None:
        """Append *item* to the open node of *level*.

        Above level 0 the item stands for a whole node: then `is_aligned(level)` must hold.
        """
        while len(self._levels) <= level:
            self._levels.append(_Level([]))
        open_node = self._levels[level]
        shape = self._shape
        open_node.items.append(item)
        open_node.size += shape.size(level, item)
        count = len(open_node.items)
        if (
            (count >= shape.min_items and shape.is_boundary(level, item))
            or count >= shape.max_items
            or open_node.size >= shape.max_bytes
        ):
            self._close(level)

    def is_aligned(self, level: int) -> bool:
        """Say whether no node below *level* is open: a whole node can be appended there."""
        return not any(open_node.items for open_node in self._levels[:level])

    def finish(self) -> tuple[int, list[Item]]:
        """Return the level and the items of the root node; the caller writes it.

        A single item above level 0 stands for the root itself. No item at all: level 0, [].
        """
        level = 0
        while any(above.items for above in self._levels[level + 1 :]):
            if self._levels[level].items:
                self._close(level)
            level += 1
        return level, self._levels[level].items

    def _close(self, level: int) -> None:
        items = self._levels[level].items
        self._levels[level] = _Level([])
        self.add(self._shape.write(level, items), level + 1)
