"""Hard links: which names of the source are one inode. On disk, as there may be millions.

A set of links is named after the path of its first name in walk order, and counts the links in
the import. How many of an inode's links lie inside is known only at the end: until then an entry
carries the inode's own count, and `correct` mends those of which some links lead outside.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from blake3 import blake3

from vfs.model.entry import Entry, Extra, Link
from vfs.repo.importer.inode import (
    CHANGED,
    Unreadable,
    decode_entry,
    encode_entry,
    with_link,
)
from vfs.repo.trees import edit_tree, with_tree

if TYPE_CHECKING:
    import os

    from vfs.store.ingest import Ingest
    from vfs.store.reader import Reader
    from vfs.store.scratch import Scratch
    from vfs.store.store import Store

GROUP_BYTES: Final = 8

_INODE: Final = struct.Struct(">QQ")
_NUMBER: Final = struct.Struct(">Q")
_SET: Final = struct.Struct("<8sQQq")  # group, links there are, links seen, ctime_ns
_SEEN: Final = struct.Struct(">I")
_NUMBER_MAX: Final = 2**64 - 1
_EDITS_AT_ONCE: Final = 4096

# Prefixes of the keys.
_INODES: Final = b"i"
_ENTRIES: Final = b"c"
_PLACES: Final = b"p"
_DIRECTORIES: Final = b"d"


class Links:
    """The hard links of one import. For one thread; a context manager."""

    def __init__(self, store: Store, prefix: tuple[bytes, ...]) -> None:
        """*prefix*: where in the revision the source goes."""
        self._store = store
        self._prefix = b"".join(name + b"/" for name in prefix)
        self._resources = ExitStack()
        self._opened: Scratch | None = None
        self._edits: Scratch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._resources.close()

    @property
    def _map(self) -> Scratch:
        if self._opened is None:
            self._opened = self._resources.enter_context(self._store.scratch())
            self._edits = self._resources.enter_context(self._store.scratch())
        return self._opened

    @staticmethod
    def key(st: os.stat_result) -> bytes:
        """Return what names the inode here."""
        return _INODE.pack(st.st_dev & _NUMBER_MAX, st.st_ino)

    def see(self, key: bytes, st: os.stat_result, path: bytes) -> bool:
        """Note one more name of an inode; say whether it is the first.

        Raises Unreadable, and notes nothing, when the inode has changed since the first one.
        """
        known = self._map.get(_INODES + key)
        if known is None:
            group = blake3(self._prefix + path).digest(GROUP_BYTES)
            self._map.put(_INODES + key, _SET.pack(group, st.st_nlink, 1, st.st_ctime_ns))
            return True
        group, nlink, seen, ctime_ns = _SET.unpack(known)
        if ctime_ns != st.st_ctime_ns:
            raise Unreadable(CHANGED)
        self._map.put(_INODES + key, _SET.pack(group, nlink, seen + 1, ctime_ns))
        return False

    def forget(self, key: bytes) -> None:
        """The first name could not be imported: the next one is the first."""
        self._map.pop(_INODES + key)

    def first(self, key: bytes, entry: Entry, directory: int) -> Entry:
        """Return the *entry* of an inode's first name as a link, and keep it for the others."""
        group, nlink, _, _ = _SET.unpack(self._map.get(_INODES + key) or b"")
        entry = with_link(entry, Link(group, nlink))
        self._map.put(_ENTRIES + key, encode_entry(entry))
        self._place(key, 0, entry.name, directory)
        return entry

    def other(self, key: bytes, name: bytes, directory: int) -> Entry:
        """Return the entry of one more name of an inode."""
        entry = decode_entry(self._map.get(_ENTRIES + key) or b"")
        turn = int.from_bytes(self._map.get(_PLACES + key) or b"", "big") + 1
        self._place(key, turn, name, directory)
        return entry._replace(name=name)

    def _place(self, key: bytes, turn: int, name: bytes, directory: int) -> None:
        self._map.put(_PLACES + key, turn.to_bytes(4, "big"))
        place = _NUMBER.pack(directory) + name
        self._map.put(_PLACES + key + _SEEN.pack(turn), place)

    def leave(self, number: int, parent: int, entry: Entry) -> None:
        """Note the finished directory *number*, somewhere below which there are links."""
        self._map.put(_DIRECTORIES + _NUMBER.pack(number), _encode_directory(parent, entry))

    def correct(self, reader: Reader, ingest: Ingest, root: Entry) -> Entry:
        """Return *root* with the right count in every link."""
        if self._opened is None:
            return root
        self._plan()
        return self._apply(reader, ingest, root)

    def _plan(self) -> None:
        """Note each entry that has to change."""
        for key, value in self._map.items(_INODES):
            _, nlink, seen, _ = _SET.unpack(value)
            if nlink != seen:
                self._plan_set(key[len(_INODES) :], seen)

    def _plan_set(self, key: bytes, seen: int) -> None:
        entry = decode_entry(self._map.get(_ENTRIES + key) or b"")
        link = Extra.decode(entry.extra).link
        assert link is not None
        entry = with_link(entry, Link(link.group, seen) if seen > 1 else None)
        for turn in range(seen):
            place = self._map.get(_PLACES + key + _SEEN.pack(turn)) or b""
            (number,) = _NUMBER.unpack_from(place)
            self._edit(number, entry._replace(name=place[_NUMBER.size :]))

    def _edit(self, number: int, entry: Entry) -> None:
        # The deepest directories first: a parent's number is below its children's.
        key = _NUMBER.pack(_NUMBER_MAX - number) + entry.name
        self._edits.put(key, encode_entry(entry))

    def _apply(self, reader: Reader, ingest: Ingest, root: Entry) -> Entry:
        """Change directories, each after all that are below it."""
        at = _NUMBER.size
        while True:
            # A directory that comes up again is read as it was just written.
            ingest.flush()
            batch = list(islice(self._edits.items(), _EDITS_AT_ONCE))
            if not batch:
                return root
            of_directory: dict[bytes, dict[bytes, Entry | None]] = {}
            for key, value in batch:
                self._edits.pop(key)
                of_directory.setdefault(key[:at], {})[key[at:]] = decode_entry(value)
            for prefix, edits in of_directory.items():
                number = _NUMBER_MAX - _NUMBER.unpack(prefix)[0]
                root = self._change(reader, ingest, number, edits) or root

    def _change(
        self, reader: Reader, ingest: Ingest, number: int, edits: dict[bytes, Entry | None]
    ) -> Entry | None:
        """Change one directory; return it if it is the root."""
        key = _DIRECTORIES + _NUMBER.pack(number)
        parent, entry = _decode_directory(self._map.get(key) or b"", number)
        tree, totals = edit_tree(reader, ingest, entry.content, edits)
        entry = with_tree(entry, tree, totals)
        self._map.put(key, _encode_directory(parent, entry))
        if number == 0:
            return entry
        self._edit(parent, entry)
        return None


def _encode_directory(parent: int, entry: Entry) -> bytes:
    # No leaf holds the root's empty name.
    return _NUMBER.pack(parent) + encode_entry(entry._replace(name=entry.name or b"root"))


def _decode_directory(data: bytes, number: int) -> tuple[int, Entry]:
    (parent,) = _NUMBER.unpack_from(data)
    entry = decode_entry(data[_NUMBER.size :])
    return parent, entry if number else entry._replace(name=b"")
