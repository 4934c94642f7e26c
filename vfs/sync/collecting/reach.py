"""Going through what a remote's commits lead to. Reads each node once, and no chunk."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Final

from vfs.store.layout import Kind
from vfs.store.marks import BLOB, LIVE, TREE, Marks
from vfs.sync.graph import below

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.layout import PackIndex
    from vfs.remote.remote import Remote
    from vfs.sync.collecting.report import OnProgress

NODES_AT_ONCE: Final = 512  # some 4 MiB

_COMMIT: Final = 8
_NODE_MARKS: Final = {Kind.TREE: TREE, Kind.BLOB: BLOB, Kind.COMMIT: _COMMIT}
_COUNTED: Final = {False: 16, True: 32}  # by whether it is a node


class Reach:
    """What is needed of the objects in some indexes: nine bytes of memory each."""

    def __init__(self, remote: Remote, on_progress: OnProgress) -> None:
        self._remote = remote
        self._on_progress = on_progress
        self._marks = Marks(_ids(remote.catalog.indexes()))
        self._read = 0

    def walk(
        self,
        roots: Iterable[tuple[Kind, ObjectId]],
        *,
        without_content: Container[ObjectId],
        is_known: Callable[[Kind, ObjectId], bool] = lambda *_: False,
    ) -> None:
        """Mark *roots* and all below.

        Commits *without_content* are not followed to their trees; nodes that are known already are
        not entered. Raises RemoteProblem for what is missing or damaged.
        """
        waiting: list[tuple[Kind, ObjectId]] = []

        def meet(kind: Kind, oid: ObjectId) -> None:
            if kind is Kind.CHUNK:
                self._marks.add(oid, LIVE)
            elif self._marks.add(oid, _NODE_MARKS[kind]) and not is_known(kind, oid):
                waiting.append((kind, oid))

        for kind, oid in roots:
            meet(kind, oid)
        while waiting:
            # The newest first: what is deep is done before what is beside it, which bounds memory.
            batch = [waiting.pop() for _ in range(min(NODES_AT_ONCE, len(waiting)))]
            nodes = self._remote.objects.nodes(oid for _, oid in batch)
            for kind, oid in batch:
                for child_kind, child in below(kind, nodes[oid]):
                    is_tree = kind is Kind.COMMIT and child_kind is Kind.TREE
                    if not (is_tree and oid in without_content):
                        meet(child_kind, child)
            self._read += len(batch)
            self._on_progress("nodes read", self._read)

    def needs(self, oid: ObjectId, kind: Kind) -> bool:
        """Say whether an object is needed as what an index has it as."""
        if kind is Kind.CHUNK:
            is_erased = oid in self._remote.journal.state.erased
            return self._marks.has(oid, LIVE) and not is_erased
        return self._marks.has(oid, TREE | BLOB | _COMMIT)

    def count_once(self, oid: ObjectId, kind: Kind) -> bool:
        """Say whether it is asked for the first time of an object that is needed."""
        return self._marks.add(oid, _COUNTED[kind is not Kind.CHUNK])


def _ids(indexes: Iterable[PackIndex]) -> Iterator[ObjectId]:
    """Yield the ids of all objects, ascending, each once."""
    merged = heapq.merge(*(index.ids() for index in indexes))
    for oid, _ in groupby(merged, key=lambda one: one[0]):
        yield oid
