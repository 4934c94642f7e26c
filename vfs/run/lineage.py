"""Which versions something was made from, and what was made from it, by the records of runs.

A version, or a path in it, was made by the versions that introduced what it holds now. Those that
runs have made were made from the runs' inputs, which were made by versions, and so on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vfs.errors import CorruptObject, NotADirectory, NotFound
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.entry import Entry, directory_totals
from vfs.repo.history import entry_or_none, history
from vfs.repo.who import Introductions
from vfs.run.record import has_inputs, path_of

if TYPE_CHECKING:
    from vfs.model.commit import Commit
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path


@dataclass(frozen=True, slots=True)
class Source:
    """An input of a run."""

    facts: Mapping[str, Any]  # as they were recorded
    commit: ObjectId
    path: Path
    made_by: Sequence[ObjectId] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """A run that had something as an input."""

    run: ObjectId
    name: str  # of the input
    read: bool | None  # whether it was opened; None where there is no record of that


@dataclass(frozen=True, slots=True)
class Step:
    """A version on the way."""

    data_set: str
    commit: Commit
    sources: Sequence[Source] = ()
    used_by: Sequence[Use] = ()


@dataclass(frozen=True, slots=True)
class Lineage:
    """All versions that lead to something, or that it led to."""

    made_by: Sequence[ObjectId] = ()
    used_by: Sequence[Use] = ()
    steps: Mapping[ObjectId, Step] = field(default_factory=dict)


class Makers:
    """Finds the versions that introduced what stands at a path of a version, and remembers them."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._known: dict[tuple[ObjectId, Path], Sequence[ObjectId]] = {}

    def of(self, commit: ObjectId, path: Path) -> Sequence[ObjectId]:
        """Return them, the newest first; none where the version or its content is gone."""
        key = (commit, path)
        if key not in self._known:
            try:
                found = self._find(commit, path) if self._repo.is_whole(commit) else set()
            except (NotFound, NotADirectory):
                found = set()
            newest_first = sorted(found, key=lambda oid: -self._repo.commit(oid).time_ns)
            self._known[key] = tuple(newest_first)
        return self._known[key]

    def _find(self, commit: ObjectId, path: Path) -> set[ObjectId]:
        repo = self._repo
        entry = repo.entry_at(repo.commit(commit).root, path)
        if not entry.is_dir:
            return {Introductions(repo, commit, path[:-1]).of(path[-1])}
        introductions = Introductions(repo, commit, path, recursive=True)
        makers: set[ObjectId] = set()
        files = 0
        for below, maker in introductions.by_path().items():
            there = entry_or_none(repo.nodes, entry, tuple(below.split(b"/")))
            if there is not None and not there.is_dir:
                files += 1
                makers.add(maker)
        if files < directory_totals(entry).files:
            makers.add(introductions.base)
        return makers


def made_from(repo: Repository, commit: ObjectId, path: Path) -> Lineage:
    """Return what a version, or a path in it, was made from. Raises NotFound, NotADirectory."""
    repo.entry_at(repo.commit(commit).root, path)
    makers = Makers(repo)
    first = makers.of(commit, path)
    steps: dict[ObjectId, Step] = {}
    waiting = list(first)
    while waiting:
        oid = waiting.pop()
        if oid in steps:
            continue
        record = repo.commit(oid)
        sources = [
            Source(facts, source, below, makers.of(source, below))
            for facts, source, below in _inputs(record)
        ]
        steps[oid] = Step(_data_set(repo, oid), record, sources)
        waiting += (maker for source in sources for maker in source.made_by)
    return Lineage(made_by=first, steps=steps)


def made_of(repo: Repository, data_set: str, commit: ObjectId, path: Path) -> Lineage:
    """Return what runs made from a version, or from what stands at a path in it, and so on.

    Of a path, runs count that had the same entry there in any version of the data set, unless their
    record says that it was not read. Raises NotFound, NotADirectory.
    """
    wanted = repo.entry_at(repo.commit(commit).root, path)
    runs = dict(_runs(repo))
    makers = Makers(repo)
    users: dict[ObjectId, list[Use]] = {}
    direct: list[Use] = []
    for oid, record in runs.items():
        for facts, source, below in _inputs(record):
            for maker in makers.of(source, below):
                users.setdefault(maker, []).append(Use(oid, facts["name"], None))
            has_it = source == commit
            if path and not has_it and facts["data_set"] == data_set:
                has_it = _entry(repo, source, path) == wanted
            read = _was_read(facts, below, path)
            if has_it and read is not False and _meet(below, path):
                direct.append(Use(oid, facts["name"], read))
    steps: dict[ObjectId, Step] = {}
    waiting = [use.run for use in direct]
    while waiting:
        oid = waiting.pop()
        if oid not in steps:
            uses = users.get(oid, [])
            steps[oid] = Step(_data_set(repo, oid), runs[oid], used_by=uses)
            waiting += (use.run for use in uses)
    return Lineage(used_by=direct, steps=steps)


def _runs(repo: Repository) -> Iterator[tuple[ObjectId, Commit]]:
    """Yield all versions that runs have made and that a branch or tag leads to."""
    seen: set[ObjectId] = set()
    for ref in repo.all_refs():
        if ref.commit in seen:
            continue
        for version in history(repo, ref.commit):
            if version.id not in seen:
                seen.add(version.id)
                if has_inputs(version.commit):
                    yield version.id, version.commit


def _inputs(record: Commit) -> Iterator[tuple[Mapping[str, Any], ObjectId, Path]]:
    """Yield what was recorded of a run's inputs, their versions and paths."""
    if not has_inputs(record):
        return
    inputs: Any = record.provenance.get("inputs", ())
    for facts in inputs:
        oid = bytes.fromhex(facts["commit"])
        if len(oid) == ID_BYTES:
            yield facts, ObjectId(oid), path_of(facts)


def _data_set(repo: Repository, commit: ObjectId) -> str:
    number = repo.store.refs.commit_slot(commit)
    slot = None if number is None else repo.store.refs.slot(number)
    return "" if slot is None else slot.data_set


def _entry(repo: Repository, commit: ObjectId, path: Path) -> Entry | None:
    if not repo.is_whole(commit):
        return None
    try:
        return repo.entry_at(repo.commit(commit).root, path)
    except (NotFound, NotADirectory, CorruptObject):
        return None


def _meet(one: Path, other: Path) -> bool:
    """Say whether one path is, or is below, the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _was_read(facts: Mapping[str, Any], below: Path, path: Path) -> bool | None:
    """Say whether anything at *path* was read of an input at *below*; None where nobody knows."""
    read = facts.get("read")
    if read is None:
        return None
    if not read["files"]:
        return False
    if read["files"] == read["of"] or len(path) <= len(below):
        return True
    if read["paths"] is None:
        return None
    inner = os.fsdecode(b"/".join(path[len(below) :]))
    return any(one == inner or one.startswith(f"{inner}/") for one in read["paths"])
