"""Writing the content of regular files, holes as holes, and comparing it. Knows no directories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vfs.ids import object_id
from vfs.model.entry import FLAG_BLOB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfs.model.entry import Entry
    from vfs.repo.blobs import FileReader

_WRITE_BYTES: Final = 1 << 20  # in one call, each of which waits for the GIL afterwards


def write_file(files: FileReader, fd: int, entry: Entry) -> None:
    """Write all of a regular file to *fd*, which is empty. Raises CorruptObject, OSError."""
    if not entry.size:
        return
    if entry.flags & FLAG_BLOB:
        os.ftruncate(fd, entry.size)
        write_range(files, fd, entry, 0, entry.size)
    else:
        _write_at(fd, [files.chunk(entry.content, entry.size)], 0)


def write_range(files: FileReader, fd: int, entry: Entry, start: int, end: int) -> None:
    """Write what a file has in [start, end); *fd* has a hole there. Raises as `write_file` does."""
    parts: list[bytes | memoryview] = []
    at = size = 0
    for begins, span in files.spans_within(entry, start, end):
        if span.is_hole:
            continue
        first, last = max(start, begins), min(end, begins + span.length)
        if size >= _WRITE_BYTES or first != at + size:
            _write_at(fd, parts, at)
            parts, at, size = [], first, 0
        data = files.chunk(span.content, span.length)
        is_whole = last - first == span.length
        parts.append(data if is_whole else memoryview(data)[first - begins : last - begins])
        size += last - first
    _write_at(fd, parts, at)


def holds(files: FileReader, fd: int, entry: Entry) -> bool:
    """Say whether the file *fd* has the content of *entry*. Raises CorruptObject, OSError.

    What the store has is not read: its names are hashes.
    """
    if os.fstat(fd).st_size != entry.size:
        return False
    for at, span in files.spans_within(entry, 0, entry.size):
        if span.is_hole:
            if not _is_zero(fd, at, span.length):
                return False
        elif object_id(os.pread(fd, span.length, at)) != span.content:
            return False
    return True


def _is_zero(fd: int, at: int, length: int) -> bool:
    for start in range(at, at + length, _WRITE_BYTES):
        size = min(_WRITE_BYTES, at + length - start)
        if os.pread(fd, size, start) != bytes(size):
            return False
    return True


def _write_at(fd: int, parts: Sequence[bytes | memoryview], at: int) -> None:
    """Write all of *parts*, however little the kernel takes at once."""
    if not parts:
        return
    written = os.pwritev(fd, parts, at)
    if written == sum(map(len, parts)):
        return
    rest = memoryview(b"".join(parts))[written:]
    while rest:
        at += written
        written = os.pwrite(fd, rest, at)
        rest = rest[written:]
