"""The overlays of a store's branches: opening, writing, committing and dropping them.

An overlay has a number, which is in the keys of all its rows. One that is given up gets its
branch a new number; its rows are then of no overlay, and `sweep` removes them. A row is never
changed but in a transaction that finds the header as its writer knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.errors import Conflict, NotFound
from vfs.ids import ObjectId
from vfs.model.entry import Totals
from vfs.model.overlay import OverlayHeader, decode_header, encode_header, encode_tree
from vfs.store.erasures import require_generation
from vfs.store.layout import key_number, number_key, ref_key
from vfs.store.overlaybatch import OverlayBatch, apply, remove_inode
from vfs.store.overlayrows import (
    PAIR,
    OverlayRows,
    OverlaySnapshot,
    find_header,
    pack_name_mark,
    split_name_mark_key,
)
from vfs.store.tables import OVERLAY_TABLES

if TYPE_CHECKING:
    import lmdb

    from vfs.store.environment import Environment, Table, Txn
    from vfs.store.refs import RefChange, RefTable

SWEPT_ROWS: Final = 5_000
"""Rows that one transaction removes at most: other writers wait for it."""

ORPHANS_AT_ONCE: Final = 200

_ROW_TABLES: Final = tuple(name for name in OVERLAY_TABLES if name != "overlays")
_LAST_ID: Final = b"overlay"  # in the table `meta`


class Overlays:
    """The overlays of one store. Thread-safe."""

    def __init__(self, env: Environment, refs: RefTable) -> None:
        self._env = env
        self._refs = refs
        self._t = env.tables

    def header(self, data_set: str, branch: str) -> OverlayHeader | None:
        """Return the header of a branch's overlay, None where it never had one."""
        with self._env.read() as txn:
            return find_header(txn, self._t, data_set, branch)

    def is_current(self, data_set: str, branch: str, overlay: int) -> bool:
        """Say whether a branch still has this overlay, and is where its last commit left it."""
        with self._env.read() as txn:
            header = find_header(txn, self._t, data_set, branch)
            try:
                commit = self._refs.branch_in(txn, data_set, branch)
            except NotFound:
                return False
            return header is not None and header.id == overlay and header.head == commit

    def open(self, data_set: str, branch: str) -> OverlayHeader:
        """Return the overlay of a branch for its one writer; it is made, or made anew, if clean.

        A clean one begins again at the branch's commit. From one that has changes, what was open
        and had no name is removed. Raises NotFound when there is no such branch, unless its data
        set has none at all. The caller sees to `sweep`.
        """

        def change(txn: Txn) -> OverlayHeader:
            commit = self._refs.branch_in(txn, data_set, branch)
            header = find_header(txn, self._t, data_set, branch)
            if header is not None and header.dirty and self._has_changes(txn, header):
                return header
            if header is not None and not header.seq and header.origin == commit:
                return header
            return self._begin(txn, data_set, branch, commit)

        header = self._env.write(change)
        orphans = self.rows(header.id).orphans()
        for at in range(0, len(orphans), ORPHANS_AT_ONCE):
            self._remove(header.id, orphans[at : at + ORPHANS_AT_ONCE])
        return header

    def _remove(self, overlay: int, inodes: Sequence[int]) -> None:
        def change(txn: Txn) -> None:
            for ino in inodes:
                remove_inode(txn, self._t, overlay, ino)

        self._env.write(change)

    def rows(self, overlay: int) -> OverlayRows:
        """Return a reader of the rows of the overlay with this id, for one thread."""
        return OverlayRows(self._env, overlay)

    def claim(self, data_set: str, branch: str, overlay: int) -> OverlayHeader:
        """Note that changes are about to come: from now on nobody else moves the branch.

        It holds until a commit has taken up all that was written since. Raises Conflict when the
        branch was moved by somebody else since its overlay was opened.
        """

        def change(txn: Txn) -> OverlayHeader:
            header = self._own(txn, data_set, branch, overlay)
            self._require_head(txn, data_set, branch, header)
            header = header._replace(seq=header.seq + 1, dirty=True)
            return self._put(txn, data_set, branch, header)

        return self._env.write(change)

    def write(self, data_set: str, branch: str, overlay: int, batch: OverlayBatch) -> OverlayHeader:
        """Write *batch* in one durable transaction; return the header as it is then.

        Raises Conflict when the branch has another overlay by now, or when the first change after
        a commit would go on top of another version than the overlay knows; ErasedMeanwhile.
        Raises StoreFull.
        """

        def change(txn: Txn) -> OverlayHeader:
            if batch.generation is not None:
                require_generation(txn, self._t, batch.generation)
            header = self._own(txn, data_set, branch, overlay)
            if batch.has_changes and not header.dirty:
                self._require_head(txn, data_set, branch, header)
            header = header._replace(
                seq=header.seq + 1,
                next_ino=max(header.next_ino, batch.next_ino),
                dirty=header.dirty or batch.has_changes,
            )
            apply(txn, self._t, overlay, batch, header.seq)
            return self._put(txn, data_set, branch, header)

        return self._env.write(change)

    @contextmanager
    def snapshot(self, data_set: str, branch: str) -> Iterator[OverlaySnapshot | None]:
        """Hold a branch's overlay as it is now; None where it has none.

        Meanwhile the store can be read and written, also by the same thread.
        """
        with self._env.hold() as txn:
            header = find_header(txn, self._t, data_set, branch)
            yield None if header is None else OverlaySnapshot(self._env, txn, header)

    def commit(
        self,
        taken: OverlaySnapshot,
        change: RefChange,
        trees: Mapping[int, tuple[ObjectId, Totals]],
        *,
        time_ns: int,
        who: str,
        why: str,
        seq: int | None = None,
    ) -> OverlayHeader:
        """Note that all of the overlay, as *taken* has it, is in the commit *change.new*.

        Others may move the branch from now on if no write came after number *seq*, by default the
        last one of *taken*.

        One transaction moves the branch (unless it is there), keeps *trees*, what directories
        were committed as, and forgets the changes up to then. Raises Conflict when the branch or
        the overlay's last commit is not what it was in the snapshot.
        """
        data_set, branch = change.data_set, change.name

        def write(txn: Txn) -> OverlayHeader:
            header = self._own(txn, data_set, branch, taken.header.id)
            if header.head != taken.header.head:
                raise Conflict(f"'{data_set}@{branch}' was committed meanwhile", hint="try again")
            self._require_head(txn, data_set, branch, header)
            if change.new != header.head:
                self._refs.move_in(txn, [change], time_ns=time_ns, who=who, why=why)
            rows = [
                (PAIR.pack(header.id, directory), encode_tree(*trees[directory]))
                for directory in sorted(trees)
            ]
            with txn.cursor(self._t["overlay_trees"]) as cursor:
                cursor.putmulti(rows)
            self._forget_changes(txn, taken)
            dirty = header.seq != (taken.header.seq if seq is None else seq)
            return self._put(txn, data_set, branch, header._replace(head=change.new, dirty=dirty))

        return self._env.write(write)

    def discard(self, data_set: str, branch: str) -> OverlayHeader:
        """Give up all changes of a branch; return its new overlay. The caller sees to `sweep`."""

        def change(txn: Txn) -> OverlayHeader:
            commit = self._refs.branch_in(txn, data_set, branch)
            return self._begin(txn, data_set, branch, commit)

        return self._env.write(change)

    def renew(self, data_set: str, branch: str) -> bool:
        """Begin a branch's overlay anew, unless it has changes; say whether it has none now.

        For who owns the branch. The caller sees to `sweep`.
        """

        def change(txn: Txn) -> bool:
            header = find_header(txn, self._t, data_set, branch)
            if header is not None and header.dirty:
                return False
            if header is not None:
                commit = self._refs.branch_in(txn, data_set, branch)
                self._begin(txn, data_set, branch, commit)
            return True

        return self._env.write(change)

    def sweep(self) -> None:
        """Remove the rows of overlays that were given up, in bounded transactions.

        Safe at any time, by any process. Where there are none it only reads.
        """
        for name in _ROW_TABLES:
            while not self._is_swept(name):
                self._env.write(partial(self._sweep, self._t[name]))

    def _is_swept(self, name: str) -> bool:
        with self._env.read() as txn, txn.cursor(self._t[name]) as cursor:
            cursor.first()
            return not _find_given_up(cursor, self._live(txn))

    def _sweep(self, table: Table, txn: Txn) -> None:
        live = self._live(txn)
        with txn.cursor(table) as cursor:
            cursor.first()
            for _ in range(SWEPT_ROWS):
                if not _find_given_up(cursor, live):
                    return
                cursor.delete()

    def _live(self, txn: Txn) -> set[int]:
        with txn.cursor(self._t["overlays"]) as cursor:
            return {decode_header(bytes(value)).id for _, value in cursor}

    def _begin(
        self, txn: Txn, data_set: str, branch: str, commit: ObjectId | None
    ) -> OverlayHeader:
        meta = self._t["meta"]
        last = txn.get(_LAST_ID, db=meta)
        number = 1 if last is None else key_number(last) + 1
        txn.put(_LAST_ID, number_key(number), db=meta)
        header = OverlayHeader(number, commit, commit, next_ino=1, seq=0, dirty=False)
        return self._put(txn, data_set, branch, header)

    def _put(self, txn: Txn, data_set: str, branch: str, header: OverlayHeader) -> OverlayHeader:
        txn.put(ref_key(data_set, branch), encode_header(header), db=self._t["overlays"])
        return header

    def _own(self, txn: Txn, data_set: str, branch: str, overlay: int) -> OverlayHeader:
        header = find_header(txn, self._t, data_set, branch)
        if header is None or header.id != overlay:
            raise Conflict(
                f"'{data_set}@{branch}' was discarded, or deleted, meanwhile", hint="mount it again"
            )
        return header

    def _require_head(self, txn: Txn, data_set: str, branch: str, header: OverlayHeader) -> None:
        if self._refs.branch_in(txn, data_set, branch) != header.head:
            raise Conflict(f"'{data_set}@{branch}' moved meanwhile", hint="mount it again")

    def _has_changes(self, txn: Txn, header: OverlayHeader) -> bool:
        with txn.cursor(self._t["overlay_changes"]) as cursor:
            head = number_key(header.id)
            return cursor.set_range(head) and bytes(cursor.key()).startswith(head)

    def _forget_changes(self, txn: Txn, taken: OverlaySnapshot) -> None:
        """Remove the marks of the writes that *taken* has.

        Others stay, and say of names from now on what they were in *taken*.
        """
        head, last = number_key(taken.header.id), number_key(taken.header.seq)
        with txn.cursor(self._t["overlay_changes"]) as cursor:
            more = cursor.set_range(head)
            while more and cursor.key()[:8] == head:
                seq = bytes(cursor.value()[:8])
                if seq <= last:
                    cursor.delete()
                    more = bool(cursor.key())
                    continue
                key = bytes(cursor.key())
                place = split_name_mark_key(key)
                if place is not None:
                    cursor.put(key, pack_name_mark(key_number(seq), taken.name(*place)))
                more = cursor.next()


def _find_given_up(cursor: lmdb.Cursor[memoryview], live: set[int]) -> bool:
    """Move *cursor*, from where it is on, to a row of no overlay; say whether there is one."""
    while key := cursor.key():
        overlay = key_number(key[:8])
        if overlay not in live:
            return True
        cursor.set_range(number_key(overlay + 1))
    return False
