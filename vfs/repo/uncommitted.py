"""A branch as it is now, as a tree that can be compared and read; nothing is stored.

What a commit would store goes into a file without a name, so that memory holds ids alone.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

from vfs.ids import ObjectId, object_id
from vfs.repo.branchtrees import BranchTrees
from vfs.repo.origin import EMPTY
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository
    from vfs.store.objects import ObjectSource

MEMORY_BYTES: Final = 8 << 20  # of objects, before they go to a file


class PassingObjects:
    """Objects of a store, and others on top that go at the end. A context manager. Thread-safe."""

    def __init__(self, below: ObjectSource) -> None:
        self._below = below
        self._lock = threading.Lock()
        self._places: dict[ObjectId, tuple[int, int]] = {}
        self._end = 0
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - this is one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what was added."""
        self._file.close()

    def __contains__(self, oid: ObjectId) -> bool:
        return oid in self._places

    def add_object(self, kind: Kind, data: bytes | memoryview) -> ObjectId:
        """Add an object; return its id."""
        oid = object_id(data)
        with self._lock:
            if oid not in self._places:
                self._file.seek(self._end)
                self._file.write(data)
                self._places[oid] = self._end, len(data)
                self._end += len(data)
        return oid

    def add_chunks(
        self, chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None = None
    ) -> list[ObjectId]:
        """Add the chunks of files; return their ids."""
        return [self.add_object(Kind.CHUNK, chunk) for chunk in chunks]

    def get(self, oid: ObjectId) -> bytes:
        """Return the object. Raises CorruptObject when it is damaged or missing."""
        with self._lock:
            place = self._places.get(oid)
            if place is not None:
                self._file.seek(place[0])
                return self._file.read(place[1])
        return self._below.get(oid)


def uncommitted_root(
    repo: Repository, data_set: str, branch: str, objects: PassingObjects
) -> tuple[Entry, Entry]:
    """Return the roots of a branch's last commit and of what the branch holds now.

    All that the store has of the branch counts. The trees that only the second one has are in
    *objects*. In O(what changed). Raises NotFound.
    """
    ref = repo.branch_to_commit_to(data_set, branch)
    with repo.store.overlays.snapshot(data_set, branch) as taken:
        if taken is None or not taken.has_changes():
            root = EMPTY if ref is None else repo.commit(ref.commit).root
            return root, root
        # The overlay's own head: the reference was read a moment before.
        head = None if taken.header.head is None else repo.commit(taken.header.head).root
        return head or EMPTY, BranchTrees(repo, taken, objects, head).make()
