"""Identities: the typed names of objects, and inode numbers."""

from __future__ import annotations

from typing import Final, NewType

from blake3 import blake3

ObjectId = NewType("ObjectId", bytes)
"""BLAKE3-256 of an object's canonical bytes: 32 bytes."""

Number = NewType("Number", int)
"""The inode number that a snapshot's entry shows: a function of the entry, below 2**62."""

ID_BYTES: Final = 32
NO_CONTENT: Final = ObjectId(bytes(ID_BYTES))
"""The content of what has none: an empty file, a symlink, a fifo. Also marks a hole."""


def object_id(data: bytes | bytearray | memoryview) -> ObjectId:
    """Return the id of *data*."""
    return ObjectId(blake3(data).digest())
