"""Entries that come in any order, kept on disk until their directories can be built.

Knows no archive. Names are not checked here.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from blake3 import blake3

from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Link
from vfs.repo.importer.inode import decode_entry, encode_entry, with_link
from vfs.repo.importer.links import GROUP_BYTES
from vfs.repo.trees import TreeBuilder, with_tree

if TYPE_CHECKING:
    from vfs.store.ingest import Ingest
    from vfs.store.store import Store

_NUMBER: Final = struct.Struct(">Q")
_INODE: Final = struct.Struct(">Q8s")  # names of it, group
_CACHED_NAMES: Final = 8192  # in the paths of directories

# What a record is: the first byte of its value.
_DIRECTORY: Final = b"d"  # number, entry
_ENTRY: Final = b"e"  # entry
_LINKED: Final = b"l"  # number of the inode

ROOT: Final = 0


class Misplaced(Exception):
    """An entry can't be where it is said to be; str() says why."""


class _Frame(NamedTuple):
    """A directory that is being built."""

    head: Entry
    path: bytes  # with a slash at the end; b"" for the root
    items: Iterator[tuple[bytes, bytes]]
    builder: TreeBuilder


class Spool:
    """A tree in the making. For one thread; a context manager."""

    def __init__(self, store: Store) -> None:
        self._resources = ExitStack()
        self._map = self._resources.enter_context(store.scratch())
        self._inodes = self._resources.enter_context(store.scratch())
        self._next_directory = ROOT + 1
        self._next_inode = 1
        self._root: Entry | None = None
        self._known: dict[tuple[bytes, ...], int] = {(): ROOT}
        self._known_names = 0
        self.files = 0
        self.directories = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._resources.close()

    # taking entries

    def add_directory(self, path: tuple[bytes, ...], entry: Entry) -> None:
        """Take a directory; one that is there already gets the attributes of *entry*."""
        if not path:
            self._root = entry._replace(name=b"")
            return
        key = self._key(path, entry)
        old = self._map.get(key)
        if old is None:
            self._new_directory(key, entry)
        elif old[:1] == _DIRECTORY:
            self._map.put(key, old[: 1 + _NUMBER.size] + encode_entry(entry))
        else:
            raise Misplaced("is a directory where something else was before")

    def add(self, path: tuple[bytes, ...], entry: Entry) -> None:
        """Take anything but a directory; it replaces what has its name."""
        key = self._key(path, entry)
        self._drop(key)
        self._map.put(key, _ENTRY + encode_entry(entry))
        self.files += 1

    def link(self, path: tuple[bytes, ...], target: tuple[bytes, ...]) -> None:
        """Take one more name of what *target* names."""
        target_key = self._find(target)
        value = None if target_key is None else self._map.get(target_key)
        if target_key is None or value is None:
            raise Misplaced("is a link to something that does not come before it")
        if value[:1] == _DIRECTORY:
            raise Misplaced("is a link to a directory")
        key = self._key(path, decode_entry(self._entry_of(value)))
        if key == target_key:
            return
        if value[:1] == _ENTRY:
            number = _NUMBER.pack(self._next_inode)
            self._next_inode += 1
            self._inodes.put(number, _INODE.pack(1, bytes(GROUP_BYTES)) + value[1:])
            value = _LINKED + number
            self._map.put(target_key, value)
        self._drop(key)
        self._count_name(value[1:], 1)
        self._map.put(key, value)
        self.files += 1

    def _entry_of(self, value: bytes) -> bytes:
        if value[:1] == _ENTRY:
            return value[1:]
        return (self._inodes.get(value[1:]) or b"")[_INODE.size :]

    def _count_name(self, number: bytes, change: int) -> None:
        inode = self._inodes.get(number) or b""
        names, group = _INODE.unpack_from(inode)
        head = _INODE.pack(names + change, group)
        self._inodes.put(number, head + inode[_INODE.size :])

    def _drop(self, key: bytes) -> None:
        """Make room for what replaces the entry with *key*, if there is one."""
        old = self._map.get(key)
        if old is None:
            return
        if old[:1] == _DIRECTORY:
            raise Misplaced("stands where a directory was before")
        if old[:1] == _LINKED:
            self._count_name(old[1:], -1)
        self.files -= 1

    def _new_directory(self, key: bytes, entry: Entry) -> int:
        number = self._next_directory
        self._next_directory += 1
        self.directories += 1
        self._map.put(key, _DIRECTORY + _NUMBER.pack(number) + encode_entry(entry))
        return number

    def _key(self, path: tuple[bytes, ...], like: Entry) -> bytes:
        """Return the key of *path*, with directories made on the way, owned as *like* is."""
        if not path:
            raise Misplaced("has no name")
        return _NUMBER.pack(self._directory(path[:-1], like)) + path[-1]

    def _directory(self, path: tuple[bytes, ...], like: Entry) -> int:
        known = self._known.get(path)
        if known is not None:
            return known
        # The root's attributes count only while no member gives them.
        number = ROOT
        for depth, name in enumerate(path):
            key = _NUMBER.pack(number) + name
            value = self._map.get(key)
            if value is None:
                number = self._new_directory(key, _like(name, like))
            elif value[:1] == _DIRECTORY:
                (number,) = _NUMBER.unpack_from(value, 1)
            else:
                shown = b"/".join(path[: depth + 1]).decode("utf-8", "backslashreplace")
                raise Misplaced(f"lies below '{shown}', which is no directory")
        self._known_names += len(path)
        if self._known_names > _CACHED_NAMES:
            self._known, self._known_names = {(): ROOT}, len(path)
        self._known[path] = number
        return number

    def _find(self, path: tuple[bytes, ...]) -> bytes | None:
        """Return the key of *path*, or None when a directory on the way is not there."""
        number = ROOT
        for name in path[:-1]:
            value = self._map.get(_NUMBER.pack(number) + name)
            if value is None or value[:1] != _DIRECTORY:
                return None
            (number,) = _NUMBER.unpack_from(value, 1)
        return _NUMBER.pack(number) + path[-1] if path else None

    # building

    def build(self, ingest: Ingest, prefix: tuple[bytes, ...]) -> Entry:
        """Return the root of all that was taken; *prefix* is where in the revision it goes."""
        above = b"".join(name + b"/" for name in prefix)
        root = self._root or self._default_root()
        stack = [self._frame(ingest, root, above, ROOT)]
        while True:
            frame = stack[-1]
            inner = self._fill(ingest, frame)
            if inner is not None:
                stack.append(inner)
                continue
            stack.pop()
            tree, totals = frame.builder.finish()
            entry = with_tree(frame.head, tree, totals)
            if not stack:
                return entry
            stack[-1].builder.add(entry)

    def _default_root(self) -> Entry:
        first = next(self._map.items(_NUMBER.pack(ROOT)), None)
        if first is None:
            return _like(b"", None)
        value = first[1]
        at = 1 + _NUMBER.size if value[:1] == _DIRECTORY else 0
        return _like(b"", decode_entry(value[at:] if at else self._entry_of(value)))

    def _frame(self, ingest: Ingest, head: Entry, path: bytes, number: int) -> _Frame:
        items = self._map.items(_NUMBER.pack(number))
        return _Frame(head, path, items, TreeBuilder(ingest))

    def _fill(self, ingest: Ingest, frame: _Frame) -> _Frame | None:
        """Build on until the directory ends (None) or one begins that is in it."""
        for key, value in frame.items:
            name = key[_NUMBER.size :]
            kind = value[:1]
            if kind == _DIRECTORY:
                (number,) = _NUMBER.unpack_from(value, 1)
                head = decode_entry(value[1 + _NUMBER.size :])
                return self._frame(ingest, head, frame.path + name + b"/", number)
            if kind == _ENTRY:
                frame.builder.add(decode_entry(value[1:]))
            else:
                entry = self._linked_entry(value[1:], frame.path + name)
                frame.builder.add(entry._replace(name=name))
        return None

    def _linked_entry(self, number: bytes, path: bytes) -> Entry:
        inode = self._inodes.get(number) or b""
        names, group = _INODE.unpack_from(inode)
        encoded = inode[_INODE.size :]
        entry = decode_entry(encoded)
        if names == 1:
            return entry
        if not any(group):
            # As in an import of a directory: the first name in walk order names the set.
            group = blake3(path).digest(GROUP_BYTES)
            self._inodes.put(number, _INODE.pack(names, group) + encoded)
        return with_link(entry, Link(group, names))


def _like(name: bytes, entry: Entry | None) -> Entry:
    """Return a directory that nothing describes: owned and dated as *entry* is."""
    uid, gid, mtime_ns = (entry.uid, entry.gid, entry.mtime_ns) if entry else (0, 0, 0)
    return Entry(name, stat.S_IFDIR | 0o755, uid, gid, mtime_ns, 0, NO_CONTENT, 0, b"")
