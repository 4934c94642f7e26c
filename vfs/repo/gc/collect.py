"""A collection of garbage from its beginning to its end. Why so: docs/decisions/0005-gc.md.

Find what stays and mark it; let go of lines, commits and versions that have expired; condemn what
is not marked; wait for writers that began before; mark what these refer to by now; remove.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from vfs.clock import now_ns
from vfs.errors import Conflict, CorruptObject, StoreError, StoreFull
from vfs.repo import identity
from vfs.repo.gc.lock import collecting
from vfs.repo.gc.mark import Marker
from vfs.repo.gc.report import Expired, Report
from vfs.repo.gc.retention import load_rules
from vfs.repo.gc.roots import RootFinder, Roots, overlay_contents, overlay_trees
from vfs.repo.importer.index import OldIndex
from vfs.repo.stages import OnStage, Stage
from vfs.store.layout import number_key
from vfs.store.marks import TREE, Marks
from vfs.store.pruned import Pruned
from vfs.store.shown import shown_slots

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.canonical import JSON
    from vfs.store.environment import Txn
    from vfs.store.store import Store

log = logging.getLogger(__name__)

LAST: Final = "gc.last"  # the setting that says when the last one began
KEEP_S: Final = 30 * 86_400
REPACK_SHARE: Final = 0.5
PLAN_TRIES: Final = 50
ROWS_AT_ONCE: Final = 2_000
"""Lines of logs and commits that one transaction removes at most; each is up to three rows."""

EXPIRED_NOTED: Final = 1_000  # versions that a line of the audit record names

_TOLD_EVERY: Final = 1000  # nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """How to collect."""

    keep_s: int = KEEP_S  # seconds for which logs, and what only they lead to, are kept
    repack_share: float = REPACK_SHARE
    """Blocks of which less than this part is live are rewritten: 0 none, 1 all that could."""


def collect(
    store: Store,
    options: Collection,
    on_stage: OnStage = lambda _: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Report:
    """Remove what nobody needs; safe beside all else, and to be killed at any moment.

    *on_wait* is called when writers that began before have to end first. Raises Conflict while
    another process does the same, StoreError where damage hides what is needed.
    """
    with collecting(store.path):
        if store.erasures.unfinished() is not None:
            raise Conflict("an erase was interrupted", hint="finish it with: vfs erase --resume")
        store.settings.put(LAST, {"begun_ns": now_ns()})
        store.overlays.sweep()
        report = _Collecting(store, options, on_stage).run(on_wait)
        _note(store, report)
        return report


def _note(store: Store, report: Report) -> None:
    """Add what was removed to the audit record."""
    if not (report.objects or report.expired or report.log_lines):
        return
    facts: dict[str, JSON] = {
        "bytes": report.stored_bytes,
        "expired": [
            {"commit": one.commit.hex(), "data_set": one.data_set, "reason": one.reason}
            for one in report.expired[:EXPIRED_NOTED]
        ],
        "expired_count": len(report.expired),
        "log_lines": report.log_lines,
        "objects": report.objects,
        "versions": report.versions,
    }
    time_ns, who = now_ns(), identity.who()
    store.change(lambda txn: store.audit.append_in(txn, "gc", facts, time_ns=time_ns, who=who))


def preview(store: Store, options: Collection, on_stage: OnStage = lambda _: None) -> Report:
    """Return what `collect` would remove now; changes nothing. Raises StoreError."""
    return _Collecting(store, options, on_stage).preview()


class _Collecting:
    """One collection."""

    def __init__(self, store: Store, options: Collection, on_stage: OnStage) -> None:
        self._store = store
        self._options = options
        self._on_stage = on_stage
        self._nodes = 0
        self._since_ns = now_ns() - options.keep_s * 1_000_000_000
        self._marks: Marks | None = None
        self._report = Report()

    def preview(self) -> Report:
        roots, expired = self._mark()
        assert self._marks is not None
        self._take_plan(roots, expired)
        amount = self._store.garbage(self._marks).count()
        return self._counted(amount.objects, amount.bytes, amount.stored)

    def run(self, on_wait: Callable[[], None]) -> Report:
        self._let_go()
        assert self._marks is not None
        garbage = self._store.garbage(self._marks)
        self._on_stage(Stage("condemning"))
        garbage.condemn()
        self._store.writers.await_older(on_wait)
        self._mark_again()
        self._on_stage(Stage("removing objects"))
        garbage.pardon()
        amount = garbage.remove()
        self._counted(amount.objects, amount.bytes, amount.stored)
        self._repack()
        return self._report

    def _counted(self, objects: int, size: int, stored: int) -> Report:
        assert self._marks is not None
        report = self._report
        report.objects, report.object_bytes, report.stored_bytes = objects, size, stored
        report.kept_objects = len(self._marks) - objects
        return report

    # marking

    def _mark(self) -> tuple[Roots, list[Expired]]:
        """Find the roots as they are now, and mark what they lead to and was not marked before.

        Returns which versions are to be pruned: those of which nothing is left but shared parts.
        """
        rules = load_rules(self._store.settings)
        shown = shown_slots(self._store.path)
        with self._store.held() as held, _told():
            if self._marks is None:
                self._on_stage(Stage("reading the index"))
                self._marks = Marks(held.keys("objects"))
            roots = RootFinder(held, rules, shown, self._since_ns).find()
            marker = Marker(self._marks, held.is_erased, self._on_node)
            reader = held.reader()
            for commit in roots.commits:
                marker.object(commit)
            marker.trees(reader, roots.trees.values())
            marker.trees(reader, overlay_trees(held))
            for content, flags in overlay_contents(held):
                marker.content(reader, content, flags)
        expired = [one for one, tree in roots.expired if not self._marks.has(tree, TREE)]
        return roots, expired

    def _mark_again(self) -> None:
        """Mark what was referred to since; what turns out to be needed is not pruned any more."""
        roots, _ = self._mark()
        again = [oid for oid in roots.named if self._store.pruned.get(oid) is not None]

        def change(txn: Txn) -> None:
            for oid in again:
                self._store.pruned.put(txn, oid, None)

        if again:
            self._store.change(change)

    def _on_node(self) -> None:
        self._nodes += 1
        if not self._nodes % _TOLD_EVERY:
            self._on_stage(Stage("reading what is kept", self._nodes))

    # what has expired

    def _let_go(self) -> None:
        """Mark, and remove the rows through which what has expired could be found.

        From here on nobody who comes anew can come across it. If a reference moves meanwhile, what
        stays is found out once more.
        """
        for _ in range(PLAN_TRIES):
            roots, expired = self._mark()
            if self._remove_rows(roots, expired):
                self._take_plan(roots, expired)
                self._drop_indices(roots)
                return
        raise Conflict("references move too fast to collect garbage", hint="try again")

    def _take_plan(self, roots: Roots, expired: list[Expired]) -> None:
        report = self._report
        report.versions = len(roots.lost)
        report.log_lines = len(roots.lines)
        report.pinned = roots.pinned
        report.expired = sorted(expired, key=lambda one: (one.data_set, one.time_ns))

    def _remove_rows(self, roots: Roots, expired: list[Expired]) -> bool:
        """Remove rows, in bounded transactions; False where a reference has moved."""
        store, now = self._store, now_ns()

        def drop_line(txn: Txn, line: tuple[bytes, int]) -> None:
            txn.delete(line[0], db=store.table("ref_log"))
            txn.delete(number_key(line[1]), db=store.table("slots"))

        def drop_commit(txn: Txn, lost: tuple[ObjectId, int]) -> None:
            txn.delete(lost[0], db=store.table("commits"))
            txn.delete(number_key(lost[1]), db=store.table("slots"))

        def prune(txn: Txn, one: Expired) -> None:
            store.pruned.put(txn, one.commit, Pruned(now, one.reason))

        def keep(txn: Txn, commit: ObjectId) -> None:
            store.pruned.put(txn, commit, None)

        def drop_mark(txn: Txn, lost: tuple[ObjectId, int]) -> None:
            store.pruned.put(txn, lost[0], None)

        work: list[Callable[[Txn], None]] = [
            *(partial(drop_line, line=line) for line in roots.lines),
            *(partial(drop_commit, lost=lost) for lost in roots.lost),
            *(partial(drop_mark, lost=lost) for lost in roots.lost),
            *(partial(prune, one=one) for one in expired),
            *(partial(keep, commit=oid) for oid in roots.named if store.pruned.get(oid)),
        ]

        def change(some: list[Callable[[Txn], None]], txn: Txn) -> bool:
            if store.refs.newest_slot_in(txn) != roots.newest_slot:
                return False
            for step in some:
                step(txn)
            return True

        # At least one, as what was marked holds only if nothing has moved.
        return all(
            store.change(partial(change, work[at : at + ROWS_AT_ONCE]))
            for at in range(0, max(len(work), 1), ROWS_AT_ONCE)
        )

    def _drop_indices(self, roots: Roots) -> None:
        """Remove import indices of versions that are gone: nobody can use them."""
        for path in (self._store.path / "cache" / "import").glob("*"):
            index = OldIndex.load(path)
            if index is not None:
                commit = index.commit
                index.close()
                if commit not in roots.trees:
                    path.unlink(missing_ok=True)

    # blocks

    def _repack(self) -> None:
        def on_block(done: int, total: int) -> None:
            self._on_stage(Stage("freeing blocks", done, total))

        repacker = self._store.repacker(on_block)
        try:
            repacker.run(self._options.repack_share)
        except StoreFull as error:
            log.warning("blocks that are partly free stay as they are: %s", error)
        done = repacker.done
        self._report.freed_bytes = done.freed
        self._report.blocks_rewritten = done.rewritten
        self._report.unrepaired = done.damaged


@contextmanager
def _told() -> Iterator[None]:
    """Say of damage that it keeps garbage from being told from the rest."""
    try:
        yield
    except CorruptObject as error:
        raise StoreError(
            f"nothing was removed, as the store is damaged: {error}",
            hint="vfs fsck says what is touched",
        ) from error
