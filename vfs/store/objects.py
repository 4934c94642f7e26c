"""What reads objects and what takes them, for whoever doesn't care where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.store.layout import Kind


IsWanted = Callable[[], bool]
"""Says whether somebody still waits for what is being brought."""


def surely() -> bool:
    """Say that somebody does."""
    return True


class NotHere(Exception):
    """An object is to be brought first, and whoever reads must not wait: it reads again then."""

    def __init__(self, oid: ObjectId) -> None:
        super().__init__(oid.hex())
        self.oid = oid


class ObjectSource(Protocol):
    """A `Reader`, or what stands in for one."""

    def get(self, oid: ObjectId) -> bytes:
        """Return the object. Raises CorruptObject when it is damaged or missing."""


class ObjectSink(Protocol):
    """An `Ingest`, or what stands in for one."""

    def add_object(self, kind: Kind, data: bytes) -> ObjectId:
        """Add an object; return its id."""

    def add_chunks(
        self, chunks: Sequence[bytes | memoryview], runs: Sequence[int] | None = None
    ) -> list[ObjectId]:
        """Add the chunks of files; return their ids."""


class Supply(Protocol):
    """Where the objects come from that a store lacks."""

    def __call__(self, oid: ObjectId, wanted: IsWanted = surely) -> None:
        """Store an object. In any thread. Raises VfsError; Interrupted where it is not *wanted*."""

    def expect(self, ids: Iterable[ObjectId]) -> None:
        """Begin to store objects that are going to be read. Waits for nothing, raises nothing."""

    def touched(self, block: int) -> None:
        """Note that somebody read from a block."""

    def close(self) -> None:
        """Store nothing any more."""
