"""Identities: the typed names of objects, inode numbers and FUSE node ids."""

from __future__ import annotations

from typing import Final, NewType

from blake3 import blake3

ObjectId = NewType("ObjectId", bytes)
"""BLAKE3-256 of an object's canonical bytes: 32 bytes."""

Number = NewType("Number", int)
"""The inode number that a snapshot's entry shows: a function of the entry, below 2**62."""

NodeId = NewType("NodeId", int)
"""What the kernel calls an inode: an entry's Number, or a directory's position (`vfs.fs.nodes`)."""

ID_BYTES: Final = 32
NO_CONTENT: Final = ObjectId(bytes(ID_BYTES))
"""The content of what has none: an empty file, a symlink, a fifo. Also marks a hole."""


def object_id(data: bytes | bytearray | memoryview) -> ObjectId:
    """Return the id of *data*."""
    return ObjectId(blake3(data).digest())
