"""Nodes of a directory's search tree <-> bytes. Bytes: docs/format.md, "tree node".

A leaf holds entries; an inner node holds, for each child, its id, its last name and the sums of
what lies below. Nodes are decoded lazily: a look-up touches one record, not eighty.
"""

from __future__ import annotations

import stat
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from vfs.errors import CorruptObject
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import (
    KINDS,
    NAME_MAX_BYTES,
    Entry,
    Totals,
    check_entry,
    directory_totals,
    has_link,
    totals_in,
)

NODE_MAX_BYTES: Final = 1 << 20  # what a reader accepts; writers stay far below
LEVEL_MAX: Final = 12

_MAGIC: Final = 0x54  # "T"
_HEADER: Final = struct.Struct("<BBH")  # magic, level, count
_ENTRY: Final = struct.Struct("<IIIBBHqQ32s")
_CHILD: Final = struct.Struct("<32sIQQQQB")

# Bytes of _ENTRY that are looked at alone.
_KIND_AT: Final = 1  # the second byte of the mode has the file type
_NAME_LENGTH_AT: Final = 12
_EXTRA_LENGTH_AT: Final = 14
_MARKS_DIRECTORIES: Final = bytes(byte & 0xF0 == 0x40 for byte in range(256))  # S_IFDIR


class Sums(NamedTuple):
    """What a node's entries add up to."""

    entries: int
    subdirs: int
    dirs: int  # directories at any depth below
    files: int
    bytes: int

    def __add__(self, other: object) -> Sums:
        if not isinstance(other, Sums):
            return NotImplemented
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def totals(self) -> Totals:
        """Return the totals of the directory whose root node has these sums."""
        return Totals(self.subdirs, self.dirs + 1, self.files, self.bytes)


NOTHING: Final = Sums(0, 0, 0, 0, 0)


class Child(NamedTuple):
    """One child of an inner node."""

    node: ObjectId
    last: bytes  # the greatest name below
    sums: Sums


def sums_of(entries: Sequence[Entry]) -> Sums:
    """Return the sums of one leaf."""
    subdirs = dirs = files = size = 0
    for entry in entries:
        kind = entry.mode & 0o170000
        if kind == stat.S_IFDIR:
            totals = directory_totals(entry)
            subdirs += 1
            dirs += totals.dirs
            files += totals.files
            size += totals.bytes
        else:
            files += 1
            if kind == stat.S_IFREG:
                size += entry.size
    return Sums(len(entries), subdirs, dirs, files, size)


def encode_leaf(entries: Sequence[Entry]) -> bytes:
    """Return the canonical bytes of a leaf; *entries* ascend by name."""
    parts = [_HEADER.pack(_MAGIC, 0, len(entries))]
    heap = []
    pack = _ENTRY.pack
    for name, mode, uid, gid, mtime_ns, size, content, flags, extra in entries:
        parts.append(pack(mode, uid, gid, len(name), flags, len(extra), mtime_ns, size, content))
        heap.append(name)
        heap.append(extra)
    return b"".join(parts + heap)


def encode_inner(level: int, children: Sequence[Child]) -> bytes:
    """Return the canonical bytes of an inner node; *children* ascend by last name."""
    parts = [_HEADER.pack(_MAGIC, level, len(children))]
    for child in children:
        sums = child.sums
        parts.append(
            _CHILD.pack(
                child.node,
                sums.subdirs,
                sums.entries,
                sums.dirs,
                sums.files,
                sums.bytes,
                len(child.last),
            )
        )
    parts.extend(child.last for child in children)
    return b"".join(parts)


class Leaf:
    """A decoded leaf. Names are decoded at once, records when they are asked for."""

    __slots__ = ("_data", "_heap", "names")
    level: Final = 0

    def __init__(self, data: bytes, count: int) -> None:
        at = _HEADER.size + count * _ENTRY.size
        heap: list[int] = []
        names: list[bytes] = []
        for record in range(_HEADER.size, at, _ENTRY.size):
            heap.append(at)
            end = at + data[record + 12]
            names.append(data[at:end])
            at = end + data[record + 14] + (data[record + 15] << 8)
        heap.append(at)
        if at != len(data):
            raise CorruptObject("a tree leaf's names and fields do not fill it")
        _check_names(names)
        self._data = data
        self._heap = heap
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def entry(self, index: int) -> Entry:
        """Return the entry at *index*. Raises CorruptObject."""
        mode, uid, gid, name_length, flags, _, mtime_ns, size, content = _ENTRY.unpack_from(
            self._data, _HEADER.size + index * _ENTRY.size
        )
        extra = self._data[self._heap[index] + name_length : self._heap[index + 1]]
        entry = Entry(
            self.names[index], mode, uid, gid, mtime_ns, size, ObjectId(content), flags, extra
        )
        if mode & 0o170000 not in KINDS or mode >> 16 or flags or size >> 63:
            check_entry(entry)
        return entry

    def mode(self, index: int) -> int:
        """Return the mode of the entry at *index*, unchecked."""
        return int.from_bytes(
            self._data[(at := _HEADER.size + index * _ENTRY.size) : at + 4], "little"
        )

    def contents(self) -> Iterator[tuple[int, int, ObjectId]]:
        """Yield mode, flags and content of each entry that has content, unchecked."""
        end = _HEADER.size + len(self.names) * _ENTRY.size
        records = _ENTRY.iter_unpack(memoryview(self._data)[_HEADER.size : end])
        for mode, _, _, _, flags, _, _, _, content in records:
            if content != NO_CONTENT:
                yield mode, flags, ObjectId(content)

    def identity(self, index: int) -> bytes:
        """Return the entry at *index* without its name: all that tells one inode from another."""
        record = _HEADER.size + index * _ENTRY.size
        data = self._data
        extra = self._heap[index] + data[record + 12]
        return (
            data[record : record + 12]
            + data[record + 13 : record + 64]
            + data[extra : self._heap[index + 1]]
        )

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from index *start* on."""
        for index in range(start, len(self.names)):
            yield self.entry(index)

    def find(self, name: bytes) -> int:
        """Return the index of the first name not below *name*."""
        return bisect_left(self.names, name)

    def dirs_before(self, index: int) -> int:
        """Return how many directories, at any depth, the entries before *index* hold."""
        return self.before(index)[0]

    def before(self, index: int) -> tuple[int, int]:
        """Return how many directories and others, at any depth, the entries before *index* are."""
        marks = self._marks(index)
        dirs, files = 0, marks.count(0)
        at = marks.find(1)
        while at >= 0:
            totals = self.totals(at)
            dirs += totals.dirs
            files += totals.files
            at = marks.find(1, at + 1)
        return dirs, files

    def has_directories(self) -> bool:
        """Say whether any entry is a directory."""
        return 1 in self._marks(len(self))

    def _marks(self, end: int) -> bytes:
        """Return a byte for each entry before *end*: 1 for a directory, else 0."""
        # One byte of each record, all at once: a leaf without directories costs no loop.
        first = _HEADER.size + _KIND_AT
        kinds = self._data[first : _HEADER.size + end * _ENTRY.size : _ENTRY.size]
        return kinds.translate(_MARKS_DIRECTORIES)

    def totals(self, index: int) -> Totals:
        """Return the totals of the directory at *index*. Raises CorruptObject."""
        return totals_in(self._extra(index))

    def linked(self) -> Iterator[int]:
        """Yield the indices of the entries that are one of several hard links."""
        first, end = _HEADER.size + _EXTRA_LENGTH_AT, _HEADER.size + len(self) * _ENTRY.size
        if any(any(self._data[at : end : _ENTRY.size]) for at in (first, first + 1)):
            for index in range(len(self)):
                if has_link(self._extra(index)):
                    yield index

    def _extra(self, index: int) -> bytes:
        name_length = self._data[_HEADER.size + index * _ENTRY.size + _NAME_LENGTH_AT]
        return self._data[self._heap[index] + name_length : self._heap[index + 1]]


class Inner:
    """A decoded inner node."""

    __slots__ = ("children", "lasts", "level")

    def __init__(self, data: bytes, level: int, count: int) -> None:
        at = _HEADER.size + count * _CHILD.size
        children = []
        for record in range(_HEADER.size, at, _CHILD.size):
            node, subdirs, entries, dirs, files, size, length = _CHILD.unpack_from(data, record)
            last = data[at : at + length]
            at += length
            children.append(Child(ObjectId(node), last, Sums(entries, subdirs, dirs, files, size)))
        if at != len(data) or not children:
            raise CorruptObject("an inner tree node's names do not fill it")
        self.level = level
        self.children = children
        self.lasts = [child.last for child in children]
        _check_names(self.lasts)

    def __len__(self) -> int:
        return len(self.children)

    def find(self, name: bytes) -> int:
        """Return the index of the child that would hold *name*; len(self) when it is past all."""
        return bisect_left(self.lasts, name)


Node = Leaf | Inner


def identity(entry: Entry) -> bytes:
    """Return *entry* without its name, exactly as `Leaf.identity` has it."""
    _, mode, uid, gid, mtime_ns, size, content, flags, extra = entry
    record = _ENTRY.pack(mode, uid, gid, 0, flags, len(extra), mtime_ns, size, content)
    return record[:12] + record[13:] + extra


def decode_node(data: bytes) -> Node:
    """Return the node that *data* holds. Raises CorruptObject."""
    if not _HEADER.size <= len(data) <= NODE_MAX_BYTES:
        raise CorruptObject(f"a tree node of {len(data)} bytes")
    magic, level, count = _HEADER.unpack_from(data)
    size = _ENTRY.size if level == 0 else _CHILD.size
    if magic != _MAGIC or level > LEVEL_MAX or len(data) < _HEADER.size + count * size:
        raise CorruptObject("this is no tree node, or a truncated one")
    return Inner(data, level, count) if level else Leaf(data, count)


def _check_names(names: Sequence[bytes]) -> None:
    if not names:
        return
    if any(a >= b for a, b in pairwise(names)):
        raise CorruptObject("a tree node's names do not ascend")
    together = b"".join(names)
    if b"/" in together or b"\0" in together or not names[0]:
        raise CorruptObject("a tree node holds a name that no file can have")
    if b"." in names or b".." in names or max(map(len, names)) > NAME_MAX_BYTES:
        raise CorruptObject("a tree node holds a name that no file can have")
