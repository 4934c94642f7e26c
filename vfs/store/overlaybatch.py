"""What one write changes in an overlay, and how it becomes rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfs.model.overlay import InodeRow, encode_inode
from vfs.store.layout import key_number, number_key
from vfs.store.overlayrows import (
    PAIR,
    TRIPLE,
    inode_mark_key,
    name_mark_key,
    pack_name_mark,
    pack_patch,
    unpack_name_mark,
)

if TYPE_CHECKING:
    from vfs.store.environment import Table, Txn


@dataclass(slots=True)
class OverlayBatch:
    """Rows to be put, or with None to be removed, in one transaction.

    With an inode that is None go all rows that are its own: patches, links, and of a directory
    its names. That names in it were changed stays noted until the next commit.
    """

    inodes: dict[int, InodeRow | None] = field(default_factory=dict)
    names: dict[tuple[int, bytes], int | None] = field(default_factory=dict)
    links: dict[tuple[int, int, bytes], bool] = field(default_factory=dict)
    cuts: dict[int, int] = field(default_factory=dict)
    """The first page of an inode from which on all patches go, before `patches` are put."""
    patches: dict[tuple[int, int], bytes | None] = field(default_factory=dict)
    orphans: dict[int, bool] = field(default_factory=dict)
    changed_inodes: set[int] = field(default_factory=set)
    changed_names: set[tuple[int, bytes]] = field(default_factory=set)
    next_ino: int = 0  # as in the header, which never goes back
    generation: int | None = None  # of the ingest that stored the contents

    @property
    def has_changes(self) -> bool:
        """Say whether it makes the branch differ from its last commit."""
        return bool(self.changed_inodes or self.changed_names)


def apply(
    txn: Txn, tables: Mapping[str, Table], overlay: int, batch: OverlayBatch, seq: int
) -> None:
    """Write *batch*, as the write number *seq* of an overlay."""
    pair, triple = PAIR.pack, TRIPLE.pack
    rows: dict[str, dict[bytes, bytes | None]] = {
        "overlay_inodes": {
            pair(overlay, ino): encode_inode(row)
            for ino, row in batch.inodes.items()
            if row is not None
        },
        "overlay_names": {
            pair(overlay, directory) + name: None if ino is None else number_key(ino)
            for (directory, name), ino in batch.names.items()
        },
        "overlay_links": {
            triple(overlay, ino, directory) + name: b"" if there else None
            for (ino, directory, name), there in batch.links.items()
        },
        "overlay_orphans": {
            pair(overlay, ino): b"" if there else None for ino, there in batch.orphans.items()
        },
        "overlay_changes": _marks(txn, tables, overlay, batch, seq),
    }
    for ino, page in batch.cuts.items():
        remove_range(txn, tables["overlay_patches"], pair(overlay, ino), number_key(page))
    for table, changed in rows.items():
        _put(txn, tables[table], changed)
    # Not as the others: all patches at once would be in memory twice.
    for (ino, page), data in sorted(batch.patches.items()):
        key = triple(overlay, ino, page)
        if data is None:
            txn.delete(key, db=tables["overlay_patches"])
        else:
            txn.put(key, pack_patch(data), db=tables["overlay_patches"])
    for ino, row in batch.inodes.items():
        if row is None:
            remove_inode(txn, tables, overlay, ino)


def _marks(
    txn: Txn, tables: Mapping[str, Table], overlay: int, batch: OverlayBatch, seq: int
) -> dict[bytes, bytes | None]:
    """Return the marks of changes. Those of names keep what was there at the last commit."""
    marks: dict[bytes, bytes | None] = {}
    for ino in batch.changed_inodes:
        marks[inode_mark_key(overlay, ino)] = number_key(seq)
    for directory, name in batch.changed_names:
        key = name_mark_key(overlay, directory, name)
        old = txn.get(key, db=tables["overlay_changes"])
        if old is not None:
            before = unpack_name_mark(old)[1]
        else:
            row = txn.get(PAIR.pack(overlay, directory) + name, db=tables["overlay_names"])
            before = None if row is None else key_number(row)
        marks[key] = pack_name_mark(seq, before)
    return marks


def _put(txn: Txn, table: Table, rows: Mapping[bytes, bytes | None]) -> None:
    """Put rows, and remove those that are None, in the order of their keys."""
    with txn.cursor(table) as cursor:
        cursor.putmulti((key, value) for key, value in sorted(rows.items()) if value is not None)
    for key, value in rows.items():
        if value is None:
            txn.delete(key, db=table)


def remove_inode(txn: Txn, tables: Mapping[str, Table], overlay: int, ino: int) -> None:
    """Remove all rows of an inode, but not its name."""
    key = PAIR.pack(overlay, ino)
    for table in ("overlay_inodes", "overlay_orphans", "overlay_trees"):
        txn.delete(key, db=tables[table])
    for table in ("overlay_patches", "overlay_links", "overlay_names"):
        remove_range(txn, tables[table], key)
    txn.delete(inode_mark_key(overlay, ino), db=tables["overlay_changes"])


def remove_range(txn: Txn, table: Table, prefix: bytes, start: bytes = b"") -> None:
    """Remove the rows whose keys start with *prefix*, from *prefix* + *start* on."""
    with txn.cursor(table) as cursor:
        more = cursor.set_range(prefix + start)
        while more and bytes(cursor.key()).startswith(prefix):
            cursor.delete()  # which moves to the next, or off the end
            more = bool(cursor.key())
