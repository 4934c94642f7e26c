"""Reading the rows of one overlay, and the keys that they stand under. Writes nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.errors import CorruptObject
from vfs.ids import ObjectId
from vfs.model.entry import Totals
from vfs.model.overlay import (
    PATCH_BYTES,
    InodeRow,
    OverlayHeader,
    check_row_name,
    decode_header,
    decode_inode,
    decode_tree,
)
from vfs.store.layout import key_number, number_key, ref_key

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Table, Txn

PAIR: Final = struct.Struct(">QQ")  # overlay, inode (a directory's, in front of a name)
TRIPLE: Final = struct.Struct(">QQQ")  # overlay, inode, page or directory
_INODE_CHANGED: Final = b"i"
_NAME_CHANGED: Final = b"n"
_NO_ROW: Final = 2**64 - 1
CHECK_BYTES: Final = 16  # of the BLAKE3 of a patch


def find_header(
    txn: Txn, tables: Mapping[str, Table], data_set: str, branch: str
) -> OverlayHeader | None:
    """Return the header of a branch's overlay, or None. Raises CorruptObject."""
    table = tables.get("overlays")
    value = table and txn.get(ref_key(data_set, branch), db=table)
    return decode_header(bytes(value)) if value else None


def keys_from(txn: Txn, table: Table, prefix: bytes) -> Iterator[bytes]:
    """Yield the rest of each key that starts with *prefix*, in their order."""
    size = len(prefix)
    with txn.cursor(table) as cursor:
        if cursor.set_range(prefix):
            for key in cursor.iternext(keys=True, values=False):
                raw = bytes(key)
                if not raw.startswith(prefix):
                    return
                yield raw[size:]


def items_from(txn: Txn, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rest of each key that starts with *prefix*, and its value."""
    size = len(prefix)
    with txn.cursor(table) as cursor:
        if cursor.set_range(prefix):
            for key, value in cursor:
                raw = bytes(key)
                if not raw.startswith(prefix):
                    return
                yield raw[size:], bytes(value)


def inode_mark_key(overlay: int, ino: int) -> bytes:
    """Return the key under which it is noted that an inode was changed."""
    return number_key(overlay) + _INODE_CHANGED + number_key(ino)


def name_mark_key(overlay: int, directory: int, name: bytes) -> bytes:
    """Return the key under which it is noted that a name was changed."""
    return number_key(overlay) + _NAME_CHANGED + number_key(directory) + name


def split_name_mark_key(key: bytes) -> tuple[int, bytes] | None:
    """Return the directory and the name of a name's mark; None for an inode's."""
    if key[8:9] != _NAME_CHANGED:
        return None
    return key_number(key[9:17]), key[17:]


def pack_name_mark(seq: int, before: int | None) -> bytes:
    """Return the value of a name's mark: the last write, and its row at the last commit."""
    return PAIR.pack(seq, _NO_ROW if before is None else before)


def unpack_name_mark(value: memoryview | bytes) -> tuple[int, int | None]:
    """Return what `pack_name_mark` was given. Raises CorruptObject."""
    if len(value) != PAIR.size:
        raise CorruptObject("a change noted in an overlay is damaged")
    seq, before = PAIR.unpack(value)
    return seq, None if before == _NO_ROW else before


def pack_patch(data: bytes | memoryview) -> bytes:
    """Return the value of a patch's row."""
    if len(data) != PATCH_BYTES:
        raise ValueError(f"a patch of {len(data)} bytes")
    return blake3(data).digest(CHECK_BYTES) + data


def unpack_patch(value: memoryview | bytes) -> bytes:
    """Return the page of a patch's row, verified. Raises CorruptObject."""
    data = bytes(value[CHECK_BYTES:])
    if len(data) != PATCH_BYTES or blake3(data).digest(CHECK_BYTES) != value[:CHECK_BYTES]:
        raise CorruptObject("bytes of a branch that are not committed yet are damaged")
    return data


class OverlayRows:
    """Point reads, each a transaction of its own. For one thread."""

    def __init__(self, env: Environment, overlay: int) -> None:
        self._env = env
        self._t = env.tables
        self._id = overlay
        self._inodes = env.tables["overlay_inodes"]
        self._names = env.tables["overlay_names"]

    def _reading(self) -> AbstractContextManager[Txn]:
        return self._env.read()

    def inode(self, ino: int) -> InodeRow | None:
        """Return what the overlay knows of an inode; None: what the origin says holds."""
        with self._reading() as txn:
            value = txn.get(PAIR.pack(self._id, ino), db=self._inodes)
            return None if value is None else decode_inode(bytes(value))

    def is_marked(self, ino: int) -> bool:
        """Say whether an inode was changed since the last commit."""
        with self._reading() as txn:
            key = inode_mark_key(self._id, ino)
            return txn.get(key, db=self._t["overlay_changes"]) is not None

    def name(self, directory: int, name: bytes) -> int | None:
        """Return the inode of a name, or WHITEOUT; None: what the origin says holds."""
        with self._reading() as txn:
            value = txn.get(PAIR.pack(self._id, directory) + name, db=self._names)
            return None if value is None else _number(value)

    def names(self, directory: int) -> list[tuple[bytes, int]]:
        """Return all rows of a directory, sorted by name."""
        with self._reading() as txn:
            rows = items_from(txn, self._names, PAIR.pack(self._id, directory))
            return [(check_row_name(name), _number(value)) for name, value in rows]

    def links(self, ino: int) -> list[tuple[int, bytes]]:
        """Return the directories and names of an inode that has several."""
        with self._reading() as txn:
            keys = keys_from(txn, self._t["overlay_links"], PAIR.pack(self._id, ino))
            return [(key_number(key[:8]), check_row_name(key[8:])) for key in keys]

    def patches(self, ino: int, first: int, last: int) -> dict[int, bytes]:
        """Return the patches of an inode from page *first* to page *last*, both included.

        Raises CorruptObject.
        """
        start, end = TRIPLE.pack(self._id, ino, first), TRIPLE.pack(self._id, ino, last)
        found = {}
        with self._reading() as txn, txn.cursor(self._t["overlay_patches"]) as cursor:
            more = cursor.set_range(start)
            while more and (key := bytes(cursor.key())) <= end:
                found[key_number(key[16:])] = unpack_patch(cursor.value())
                more = cursor.next()
        return found

    def patched_pages(self, ino: int, first: int, last: int) -> list[int]:
        """Return which pages from *first* to *last*, both included, have patches."""
        start, end = TRIPLE.pack(self._id, ino, first), TRIPLE.pack(self._id, ino, last)
        found = []
        with self._reading() as txn, txn.cursor(self._t["overlay_patches"]) as cursor:
            more = cursor.set_range(start)
            while more and (key := bytes(cursor.key())) <= end:
                found.append(key_number(key[16:]))
                more = cursor.next()
        return found

    def orphans(self) -> list[int]:
        """Return the inodes that were open, but without a name, at the last write."""
        with self._reading() as txn:
            keys = keys_from(txn, self._t["overlay_orphans"], number_key(self._id))
            return [key_number(key) for key in keys]


class OverlaySnapshot(OverlayRows):
    """An overlay as it was at one moment, while it goes on changing. For one thread."""

    def __init__(self, env: Environment, txn: Txn, header: OverlayHeader) -> None:
        super().__init__(env, header.id)
        self.header = header
        self._txn = txn
        self._held = nullcontext(txn)

    def _reading(self) -> AbstractContextManager[Txn]:
        return self._held

    def has_changes(self) -> bool:
        """Say whether anything was changed since the last commit."""
        changes = keys_from(self._txn, self._t["overlay_changes"], number_key(self._id))
        return next(changes, None) is not None

    def inodes(self) -> Iterator[tuple[int, InodeRow]]:
        """Yield all inodes that have a row, ascending, and their rows. Raises CorruptObject."""
        rows = items_from(self._txn, self._t["overlay_inodes"], number_key(self._id))
        return ((key_number(key), decode_inode(value)) for key, value in rows)

    def changed_inodes(self) -> Iterator[int]:
        """Yield the inodes that were changed since the last commit, ascending."""
        prefix = number_key(self._id) + _INODE_CHANGED
        return map(key_number, keys_from(self._txn, self._t["overlay_changes"], prefix))

    def changed_names(self) -> Iterator[tuple[int, bytes, int | None]]:
        """Yield directories and names that were changed since the last commit, ascending.

        With each, what `name` said of it then.
        """
        prefix = number_key(self._id) + _NAME_CHANGED
        for key, value in items_from(self._txn, self._t["overlay_changes"], prefix):
            yield key_number(key[:8]), check_row_name(key[8:]), unpack_name_mark(value)[1]

    def all_patches(self, ino: int) -> Iterator[tuple[int, bytes]]:
        """Yield the pages and patches of an inode, ascending. Raises CorruptObject."""
        rows = items_from(self._txn, self._t["overlay_patches"], PAIR.pack(self._id, ino))
        return ((key_number(key), unpack_patch(value)) for key, value in rows)

    def tree(self, directory: int) -> tuple[ObjectId, Totals] | None:
        """Return what a directory was committed as; None: as it is in the origin, if there."""
        value = self._txn.get(PAIR.pack(self._id, directory), db=self._t["overlay_trees"])
        return None if value is None else decode_tree(bytes(value))


def _number(value: memoryview | bytes) -> int:
    if len(value) != 8:
        raise CorruptObject("a name's row in an overlay is damaged")
    return key_number(value)
