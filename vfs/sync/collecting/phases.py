"""A collection of a remote's garbage. Why so: docs/decisions/0006-remote-gc.md.

First phase: mark what is needed; copy what is needed from packs that are to go into new ones;
condemn these in the journal. Second phase, when nobody can rely on them any more: mark what was
referred to since, copy that, too, and remove them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vfs.clock import NS, now_ns
from vfs.errors import RemoteChanged
from vfs.remote import notes
from vfs.remote.layout import PACKS, PackId, index_name, pack_name, pack_of_name
from vfs.store.layout import Kind
from vfs.sync.collecting.packs import Copier, take_census
from vfs.sync.collecting.reach import Reach
from vfs.sync.collecting.report import OnProgress, Report
from vfs.sync.collecting.roots import find_expired, find_roots

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.notes import Condemned
    from vfs.remote.remote import Remote
    from vfs.repo.gc.retention import Rules
    from vfs.sync.collecting.packs import Census
    from vfs.sync.collecting.roots import Roots

KEEP_S: Final = 30 * 86_400
GRACE_S: Final = 86_400
"""Between the phases. A writer looks at the journal an hour before it writes at most
(`vfs.remote.remote.VIEW_SECONDS`); the rest is for clocks that differ, and writes that hang."""

YOUNG_S: Final = 7 * 86_400
"""What was sent within that time stays, as the push that sent it may be under way."""

REPACK_SHARE: Final = 0.5
TRIES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to collect."""

    keep_s: int = KEEP_S  # seconds for which what references led to is kept
    grace_s: int = GRACE_S  # seconds between the phases
    repack_share: float = REPACK_SHARE  # packs of which less than this part is needed are rewritten
    rules: Mapping[str, Rules] = field(default_factory=dict)  # of retention, by data set


def collect(remote: Remote, options: Options, on_progress: OnProgress = lambda *_: None) -> Report:
    """Do what can be done now: the second phase of a collection that is due, and a first phase.

    Safe while others push, fetch and collect, and to be killed at any moment. Raises RemoteProblem
    where damage hides what is needed: then nothing is removed. RemoteUnavailable.
    """
    for left in reversed(range(TRIES)):
        try:
            return _Collecting(remote, options, on_progress).run()
        except RemoteChanged:
            if not left:
                raise
    raise AssertionError


def preview(remote: Remote, options: Options, on_progress: OnProgress = lambda *_: None) -> Report:
    """Return what the first phase would condemn now; changes nothing. Raises as `collect`."""
    return _Collecting(remote, options, on_progress).preview()


class _Collecting:
    """What one process does."""

    def __init__(self, remote: Remote, options: Options, on_progress: OnProgress) -> None:
        self._remote = remote
        self._options = options
        self._on_progress = on_progress
        self._report = Report()

    def preview(self) -> Report:
        _, census = self._survey()
        self._tell(census)
        collection = self._remote.journal.state.collection
        if collection is not None:
            self._report.due_ns = self._due_ns(collection)
        self._report.kept_packs -= len(census.condemned)
        return self._report

    def run(self) -> Report:
        if self._finish():
            self._begin()
            self._finish()
        grace_ns = self._options.grace_s * NS
        self._remote.journal.compact(now_ns(), grace_ns)
        self._remote.bucket.sweep(now_ns() - grace_ns)
        self._report.kept_packs = sum(
            index.pack not in self._remote.catalog.condemned
            for index in self._remote.catalog.indexes()
        )
        return self._report

    # first phase

    def _survey(self) -> tuple[Reach, Census]:
        """Mark what is needed, and find the packs that are to go."""
        remote, options = self._remote, self._options
        now = now_ns()
        roots = find_roots(remote, now - options.keep_s * NS)
        remote.refresh()  # after that: so that all that references name is in these indexes
        self._report.expired = find_expired(remote, roots, options.rules) if options.rules else []
        gone = remote.journal.state.pruned.keys() | {one.commit for one in self._report.expired}
        reach = Reach(remote, self._on_progress)
        reach.walk(self._commits(roots), without_content=gone - roots.named)
        young_ns = now - min(options.keep_s, YOUNG_S) * NS
        for index in list(remote.catalog.indexes()):
            if remote.catalog.modified_ns(index.pack) > young_ns:
                reach.walk(
                    ((kind, oid) for oid, kind in index.ids()),
                    without_content=gone - roots.named,
                )
        census = take_census(remote, reach, options.repack_share)
        self._report.kept_packs = sum(1 for _ in remote.catalog.indexes())
        return reach, census

    def _commits(self, roots: Roots) -> list[tuple[Kind, ObjectId]]:
        """Return what is to be kept of references; what they named before may be gone already."""
        catalog = self._remote.catalog
        there = [oid for oid in roots.before if catalog.find(oid, is_node=True) is not None]
        return [(Kind.COMMIT, oid) for oid in (*roots.named, *there)]

    def _begin(self) -> None:
        """Condemn what is to go, if there is anything."""
        remote, now = self._remote, now_ns()
        reach, census = self._survey()
        orphans = self._orphans(now)
        expired = {one.commit: notes.Reason(now, one.reason) for one in self._report.expired}
        if expired:
            remote.note(notes.pruned(expired))
        self._tell(census)
        if not census.condemned and not orphans:
            return
        copier = Copier(remote, frozenset(census.condemned), reach.needs, self._on_progress)
        copier.run()
        packs = frozenset(census.condemned) - copier.written
        self._report.copied_objects = copier.objects
        kept = frozenset(index.pack for index in remote.catalog.indexes()) - packs
        remote.note(
            notes.condemned(
                time_ns=now_ns(),
                since_ns=now - self._options.keep_s * NS,
                packs=packs,
                kept=kept,
                orphans=orphans,
            )
        )

    def _orphans(self, now: int) -> frozenset[PackId]:
        """Return the packs without an index that no push may be about to give one."""
        indexed = {index.pack for index in self._remote.catalog.indexes()}
        young_ns = now - min(self._options.keep_s, YOUNG_S) * NS
        found = (
            pack_of_name(item.name)
            for item in self._remote.bucket.items(PACKS)
            if item.modified_ns <= young_ns
        )
        return frozenset(pack for pack in found if pack is not None and pack not in indexed)

    def _tell(self, census: Census) -> None:
        report = self._report
        report.objects, report.object_bytes = census.objects, census.object_bytes
        report.condemned_packs = len(census.condemned)
        report.condemned_bytes = census.condemned_bytes

    # second phase

    def _due_ns(self, collection: Condemned) -> int:
        return collection.time_ns + self._options.grace_s * NS

    def _finish(self) -> bool:
        """Do the second phase of what is due; say whether a first one may begin."""
        remote = self._remote
        remote.look()
        collection = remote.journal.state.collection
        if collection is None:
            return True
        due_ns = self._due_ns(collection)
        if now_ns() < due_ns:
            self._report.due_ns = due_ns
            return False
        # What was over before the first phase kept it may be gone in part, by an earlier try.
        roots = find_roots(remote, collection.since_ns)
        remote.refresh()
        self._rescue(collection, roots)
        self._remove(collection)
        remote.note(notes.removed(number=collection.number, time_ns=now_ns()))
        remote.refresh()
        return True

    def _rescue(self, collection: Condemned, roots: Roots) -> None:
        """Copy what has come to be referred to since it was condemned."""
        remote = self._remote
        catalog, pruned = remote.catalog, remote.journal.state.pruned
        fresh = [
            index
            for index in catalog.indexes()
            if index.pack not in collection.kept and index.pack not in collection.packs
        ]
        not_kept = collection.packs.union(index.pack for index in fresh)

        def is_known(kind: Kind, oid: ObjectId) -> bool:
            if kind is Kind.COMMIT and oid in pruned:
                return False  # it is there without what it names
            return catalog.counts(oid, is_node=True, without=not_kept)

        gone = pruned.keys() - roots.named
        reach = Reach(remote, self._on_progress)
        reach.walk(self._commits(roots), without_content=gone, is_known=is_known)
        for index in fresh:
            nodes = ((kind, oid) for oid, kind in index.ids())
            reach.walk(nodes, without_content=gone, is_known=is_known)
        Copier(remote, collection.packs, reach.needs, self._on_progress).run()
        revived = frozenset(pruned.keys() & roots.named)
        if revived:
            remote.note(notes.whole(revived))

    def _remove(self, collection: Condemned) -> None:
        """Delete packs, their indexes first: what counts is there."""
        remote, report = self._remote, self._report
        there = {index.pack: index.size for index in remote.catalog.indexes()}
        sizes = {pack_of_name(item.name): item.size for item in remote.bucket.items(PACKS)}
        names = [index_name(pack) for pack in sorted(collection.packs & there.keys())]
        orphans = collection.orphans - there.keys()
        doomed = [pack for pack in sorted(collection.packs | orphans) if pack in sizes]
        for work in (names, [pack_name(pack) for pack in doomed]):
            for done, _ in enumerate(remote.workers.in_order(remote.bucket.delete, work)):
                self._on_progress("objects of the bucket deleted", done)
        report.removed_packs += len(doomed)
        report.removed_bytes += sum(sizes[pack] for pack in doomed)
