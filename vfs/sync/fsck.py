"""Checking a remote: all that its references lead to is there, and is what it should be.

By the code that checks a store (`vfs.repo.fsck`), which here reads nodes from the remote. No copy
of the data is needed, and nothing is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, NotFound, RemoteProblem
from vfs.remote.layout import PACK_MAX_BYTES, PACKS, PackId, PackIndex, pack_name, pack_of_name
from vfs.repo.fsck.findings import Findings
from vfs.repo.fsck.places import Places
from vfs.repo.fsck.refs import Versions
from vfs.repo.fsck.report import DAMAGES_MAX, Damage, Report
from vfs.repo.fsck.trees import TreeCheck
from vfs.repo.stages import OnStage, Stage
from vfs.store.layout import Kind
from vfs.sync.graph import below

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.ids import ObjectId
    from vfs.remote.layout import Place
    from vfs.remote.refs import RemoteRef
    from vfs.remote.remote import Remote

DEPTH_MAX: Final = 100_000  # of Python calls: directories may be nested as deep as a path is long


def check_remote(
    remote: Remote,
    temporary: Path,
    *,
    data: bool,
    seen: Sequence[RemoteRef] = (),
    on_stage: OnStage | None = None,
) -> Report:
    """Check a remote; with *data* the bytes of every object, too.

    *temporary*: a directory for what does not fit into memory. *seen*: records of references that
    have to be there, or to have been followed by others. Raises RemoteUnavailable.
    """
    report = Report()
    findings = _Findings(remote, _Line(report, on_stage), temporary)
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH_MAX)
    try:
        check = _Check(remote, findings)
        check.history(seen)
        check.all(data=data)
    finally:
        sys.setrecursionlimit(depth)
    findings.tell()
    report.counts = findings.counts
    return report


class _Line:
    """Puts what is found into a report."""

    def __init__(self, report: Report, on_stage: OnStage | None) -> None:
        self._report = report
        self._on_stage = on_stage
        self._stage = ""

    def begin(self, stage: str) -> None:
        self._stage = stage
        self.progress(0)

    def progress(self, done: int, total: int = 0, *, is_bytes: bool = False) -> None:
        if self._on_stage is not None:
            self._on_stage(Stage(self._stage, done, total, is_bytes))

    def damage(self, damage: Damage) -> None:
        if len(self._report.damages) < DAMAGES_MAX:
            self._report.damages.append(damage)
        else:
            self._report.untold += 1


class _Findings(Findings):
    """What is known of a remote's objects."""

    def __init__(self, remote: Remote, line: _Line, temporary: Path) -> None:
        super().__init__(line, temporary)
        self._remote = remote

    def get(self, oid: ObjectId) -> bytes:
        if self._remote.catalog.find(oid, is_node=True) is None:
            raise CorruptObject(f"the object {oid.hex()} is missing")
        return self._remote.objects.nodes([oid])[oid]

    def kind_and_size(self, oid: ObjectId, *, is_node: bool) -> tuple[int, int] | None:
        place = self._remote.catalog.find(oid, is_node=is_node)
        return None if place is None else (place.kind, place.size)

    def is_pruned(self, commit: ObjectId) -> bool:
        return commit in self._remote.journal.state.pruned


class _Check:
    """One check, from the journal to the bytes."""

    def __init__(self, remote: Remote, findings: _Findings) -> None:
        self._remote = remote
        self._run = findings
        self._versions = Versions(findings)
        self._trees = TreeCheck(findings)

    def all(self, *, data: bool) -> None:
        """Do it."""
        run = self._run
        self._journal()
        self._packs()
        self._references()
        run.line.begin("the files and directories")
        for oid, commit in self._versions.roots.items():
            self._trees.check_root(oid, commit.root)
        run.count("versions", len(self._versions.roots))
        self._unnamed()
        if data:
            self._data()
        if run.bad or run.flaws:
            run.line.begin("what the damage touches")
            Places(run).all(self._versions)

    def _journal(self) -> None:
        self._run.line.begin("the journal")
        try:
            self._remote.look()
        except (RemoteProblem, NotFound) as problem:
            self._run.found("remote", str(problem))

    def _packs(self) -> None:
        """Check that indexes are sound, and their packs there and of the right size."""
        run, remote = self._run, self._remote
        run.line.begin("the indexes")
        problems = remote.catalog.refresh_tolerant(remote.workers)
        for problem in problems.values():
            run.found("remote", str(problem))
        sizes = {pack_of_name(item.name): item.size for item in remote.bucket.items(PACKS)}
        indexes = list(remote.catalog.indexes())
        for done, index in enumerate(indexes):
            run.line.progress(done, len(indexes))
            message = _index_problem(index, sizes.get(index.pack), remote.size_there(index.size))
            if message:
                run.found("remote", message)
                remote.catalog.leave_out(index.pack)
            run.count("objects", index.count)
        run.count("packs", len(indexes))
        lost = sizes.keys() - {index.pack for index in indexes} - problems.keys()
        run.count("packs without an index", len(lost))
        self._erased()

    def _erased(self) -> None:
        """Check that nothing is there that was erased."""
        run, state = self._run, self._remote.journal.state
        run.erased = set(state.erased)
        run.count("erased objects", len(run.erased))
        for oid, reason in state.erased.items():
            if self._remote.catalog.find(oid, is_node=False) is not None:
                message = f"the chunk {oid.hex()} was erased on {reason}; it is there again"
                run.found("remote", f"{message}: vfs gc --remote removes it")

    # references

    def history(self, seen: Sequence[RemoteRef]) -> None:
        """Check that what was *seen* of references is there, or what came after it."""
        self._run.line.begin("what was seen before")
        for one in seen:
            try:
                self._remote.refs.head(one.data_set, one.name, one)
            except (RemoteProblem, NotFound) as problem:
                self._run.found("reference", str(problem), f"{one.data_set}@{one.name}")

    def _references(self) -> None:
        refs, versions = self._remote.refs, self._versions
        self._run.line.begin("the references")
        heads: list[RemoteRef] = []
        others: list[tuple[RemoteRef, bool]] = []
        for data_set in refs.data_sets():
            for name in refs.names(data_set):
                records = list(self._records(data_set, name))
                heads += records[:1]
                for newer, record in pairwise(records):
                    may_be_gone = newer.time_ns < self._remote.journal.state.since_ns
                    others.append((record, may_be_gone))
        for head in heads:
            if head.commit is not None:
                versions.name(head.commit, f"{head.data_set}@{head.name}")
        for head in heads:
            if head.commit is not None:
                versions.add(head.commit)
        for record, may_be_gone in others:
            counts = record.commit is not None and self._remote.catalog.counts(
                record.commit, is_node=True
            )
            if record.commit is not None and (counts or not may_be_gone):
                versions.add_unnamed(record.commit, record.data_set)

    def _records(self, data_set: str, name: str) -> Iterator[RemoteRef]:
        """Yield the sound records of a reference, the last first."""
        run, refs, label = self._run, self._remote.refs, f"{data_set}@{name}"

        def read(number: int) -> RemoteRef | str:
            try:
                return refs.read(data_set, name, number)
            except (RemoteProblem, NotFound) as problem:
                return str(problem)

        numbers = refs.numbers(data_set, name)[::-1]
        if numbers and len(numbers) != numbers[0] + 1:
            run.found("reference", "its records on the remote have a gap", label)
        expected, before = "", -1
        for number, record in zip(
            numbers, self._remote.workers.in_order(read, numbers), strict=True
        ):
            run.count("records")
            if isinstance(record, str):
                run.found("reference", record, label)
                expected = ""
                continue
            if expected and number == before - 1 and record.digest != expected:
                run.found("reference", f"its record {number} on the remote was replaced", label)
            expected, before = record.previous, number
            yield record

    # objects

    def _unnamed(self) -> None:
        """Check that what counts is complete where no version needs it: a push relies on that."""
        run, remote = self._run, self._remote
        run.line.begin("what no version needs")
        for index in list(remote.catalog.indexes()):
            if index.pack in remote.catalog.condemned:
                continue
            for oid, kind in index.ids():
                if kind is not Kind.CHUNK and not self._was_seen(oid) and oid not in run.bad:
                    self._check_below(kind, oid)

    def _was_seen(self, oid: ObjectId) -> bool:
        versions = self._versions
        return self._trees.has_seen(oid) or oid in versions.roots or oid in versions.pruned

    def _check_below(self, kind: Kind, oid: ObjectId) -> None:
        run = self._run
        data = run.read(oid, "node")
        if data is None:
            return
        try:
            children = list(below(kind, data))
        except CorruptObject as error:
            run.add_bad(oid, f"the node {oid.hex()} is none: {error}")
            return
        for child_kind, child in children:
            if (kind is Kind.COMMIT and child_kind is Kind.TREE and run.is_pruned(oid)) or (
                child in run.erased
            ):
                continue
            if run.kind_and_size(child, is_node=child_kind is not Kind.CHUNK) is None:
                run.add_bad(child, f"the object {child.hex()} is missing, which a push may rely on")

    def _data(self) -> None:
        """Read and verify every segment."""
        run = self._run
        run.line.begin("the packs' bytes")
        indexes = list(self._remote.catalog.indexes())
        done, total = 0, sum(index.size for index in indexes)
        for index in indexes:
            places = index.within(0, PACK_MAX_BYTES)
            if not self._is_sound(places):
                self._find_damage(index.pack, places)
            done += index.size
            run.line.progress(done, total, is_bytes=True)

    def _is_sound(self, places: list[tuple[ObjectId, Place]]) -> bool:
        try:
            for _ in self._remote.objects.read(places):
                pass
        except (RemoteProblem, NotFound):
            return False
        return True

    def _find_damage(self, pack: PackId, places: list[tuple[ObjectId, Place]]) -> None:
        """Find out which objects of a pack are damaged: by segments, then one by one."""
        places.sort(key=lambda one: one[1].segment)
        for _, group in groupby(places, key=lambda one: one[1].segment):
            some = list(group)
            if not self._is_sound(some):
                for one in some:
                    if len(some) == 1 or not self._is_sound([one]):
                        self._run.add_bad(
                            one[0], f"the object {one[0].hex()} in '{pack_name(pack)}' is damaged"
                        )


def _index_problem(index: PackIndex, size: int | None, expected: int) -> str:
    """Return what is wrong with an index, or with its pack as far as its size shows it."""
    if size is None:
        return f"'{pack_name(index.pack)}' is missing on the remote: it has an index"
    if size != expected:
        return f"'{pack_name(index.pack)}' has {size:,} bytes on the remote instead of {expected:,}"
    try:
        index.within(0, PACK_MAX_BYTES)
    except RemoteProblem as problem:
        return str(problem)
    return ""
