"""What reads objects and what takes them, for whoever doesn't care where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.store.layout import Kind


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
