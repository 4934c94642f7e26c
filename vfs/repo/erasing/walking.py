"""Going through all versions, each tree node once for each state of the patterns above it.

So versions cost what is new in them. Deep trees are no recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vfs.model.node import Inner
from vfs.repo.erasing.patterns import NOWHERE, Patterns, States

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.erasing.versions import Version
    from vfs.repo.repository import Repository

Take = Callable[["Version", bytes, "Entry", bool], bool]
"""Takes an entry that is no directory: a version that has it, its path there, and whether the path
matches; says whether it is one of those that are looked for."""


class _Node(NamedTuple):
    """A tree node, as one of those who lead to it do."""

    oid: ObjectId
    states: States
    in_scope: bool


class Walk:
    """A walk through some versions, one after the other."""

    def __init__(
        self, repo: Repository, patterns: Patterns, take: Take, *, everywhere: bool
    ) -> None:
        """*everywhere*: also where no pattern can match any more."""
        self._repo = repo
        self._patterns = patterns
        self._take = take
        self._everywhere = everywhere
        self._holds: dict[_Node, bool] = {}  # whether any entry below was taken

    def nodes(self) -> Iterator[ObjectId]:
        """Yield all tree nodes that were visited."""
        return (node.oid for node in self._holds)

    def enter(self, version: Version, *, in_scope: bool = True) -> bool:
        """Go through what was not met before; say whether any entry of the version was taken.

        Out of scope no path matches.
        """
        states = self._patterns.start if in_scope else NOWHERE
        top = _Node(version.root.content, states, in_scope)
        below: dict[_Node, list[_Node]] = {}
        stack: list[tuple[_Node, bytes, bool]] = [(top, b"", False)]
        while stack:
            node, path, is_done = stack.pop()
            if is_done:
                if any(self._holds[child] for child in below.pop(node)):
                    self._holds[node] = True
            elif node not in self._holds:
                self._holds[node] = False
                children = self._visit(version, node, path)
                below[node] = [child for child, _ in children]
                stack.append((node, path, True))
                stack += [(child, where, False) for child, where in children]
        return self._holds[top]

    def _visit(self, version: Version, node: _Node, path: bytes) -> list[tuple[_Node, bytes]]:
        """Have the entries of a node taken; return the nodes below and their paths."""
        record = self._repo.nodes.get(node.oid)
        if isinstance(record, Inner):
            return [(node._replace(oid=child.node), path) for child in record.children]
        children = []
        for index in range(len(record)):
            entry = record.entry(index)
            states = self._patterns.step(node.states, entry.name) if node.states else NOWHERE
            where = path + b"/" + entry.name if path else entry.name
            if not entry.is_dir:
                if self._take(version, where, entry, self._patterns.is_match(states)):
                    self._holds[node] = True
            elif states or self._everywhere:
                children.append((_Node(entry.content, states, node.in_scope), where))
        return children
