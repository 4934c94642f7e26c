"""Inode numbers: that of each entry leads back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs.ids import ID_BYTES, ObjectId
from vfs.model.node import Leaf
from vfs.recent import Recent
from vfs.repo.fsck.findings import Flaw
from vfs.repo.fsck.trees import TreeCheck
from vfs.store.layout import number_key, unpack_number_row

if TYPE_CHECKING:
    from vfs.repo.fsck.run import Run

_LEAF_NUMBERS_KEPT: Final = 4096


class StoreTreeCheck(TreeCheck):
    """Checks the trees of a store, whose entries have inode numbers."""

    _run: Run

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._leaf_ids: Recent[int, ObjectId] = Recent(_LEAF_NUMBERS_KEPT)

    def _check_number(self, oid: ObjectId, leaf: Leaf, index: int) -> None:
        """Check that an entry's inode number leads back to it."""
        run = self._run
        identity = leaf.identity(index)
        number, check = run.store.numbering.row_of(identity)
        key = number_key(number)
        value = run.store.row("numbers", key)
        if value is None or len(value) != 10:
            run.loose.pop(("numbers", key), None)
            run.add_flaw(oid, index, "number", f"its inode number {number} is in no table")
            return
        row = unpack_number_row(value)
        there = self._leaf_id(row.leaf) if row.check == check else None
        other: Leaf | None = None
        if there == oid:
            if row.at == index:
                return
            other = leaf
        elif there is not None:
            other = self._leaf(there)
        if other is not None and row.at < len(other) and other.identity(row.at) == identity:
            return
        run.loose.pop(("numbers", key), None)
        run.loose.pop(("leaves", number_key(row.leaf)), None)
        if there in run.bad and other is None:
            # It is that node's damage which is felt here, too.
            run.flaws.setdefault(oid, []).append(Flaw(index, run.bad[there]))
        else:
            message = f"its inode number {number} leads to something else"
            run.add_flaw(oid, index, "number", message)

    def _leaf_id(self, number: int) -> ObjectId | None:
        oid = self._leaf_ids.get(number)
        if oid is None:
            value = self._run.store.row("leaves", number_key(number))
            if value is None or len(value) != ID_BYTES:
                return None
            oid = ObjectId(bytes(value))
            self._leaf_ids.put(number, oid)
        return oid

    def _leaf(self, oid: ObjectId) -> Leaf | None:
        leaf = self._leaves.get(oid)
        if leaf is None:
            node = (
                self._node(oid) if self._run.kind_and_size(oid, is_node=True) is not None else None
            )
            if not isinstance(node, Leaf):
                return None
            leaf = node
            self._leaves.put(oid, leaf)
        return leaf
