"""What a store holds and what it saves."""

from __future__ import annotations

from dataclasses import dataclass

from vfs.ids import ObjectId
from vfs.model.entry import directory_totals
from vfs.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class DataSetStats:
    """One data set; sizes in bytes."""

    name: str
    branches: int
    tags: int
    versions: int
    files: int  # of the newest version
    bytes: int  # of the same version
    logical_bytes: int  # of all versions, as if each were a copy


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A store; sizes in bytes. logical - unique is what deduplication saves, unique - stored what
    compression does; `file_bytes` is what the disk gives for all of it, index and free pages too.
    """

    data_sets: tuple[DataSetStats, ...]
    versions: int
    objects: int
    logical_bytes: int
    unique_bytes: int
    stored_bytes: int
    metadata_bytes: int  # trees, lists of chunks and commits, after compression
    file_bytes: int

    @property
    def saved_by_deduplication(self) -> int:
        """Return the bytes that need not be stored because they are there already."""
        return max(self.logical_bytes - self.unique_bytes, 0)

    @property
    def saved_by_compression(self) -> int:
        """Return the bytes that compression saves of the contents of files."""
        return self.unique_bytes - self.stored_bytes


def store_stats(repo: Repository) -> StoreStats:
    """Count what is in the store. Reads the index and every commit that a reference leads to."""
    data_sets = tuple(_data_set_stats(repo, name) for name in repo.data_sets())
    counts = repo.store.count_objects()
    chunks = next(count for kind, count in counts.items() if kind.name == "CHUNK")
    everything = sum(count.stored for count in counts.values())
    return StoreStats(
        data_sets=data_sets,
        versions=sum(data_set.versions for data_set in data_sets),
        objects=sum(count.objects for count in counts.values()),
        logical_bytes=sum(data_set.logical_bytes for data_set in data_sets),
        unique_bytes=chunks.bytes,
        stored_bytes=chunks.stored,
        metadata_bytes=everything - chunks.stored,
        file_bytes=repo.store.data_bytes(),
    )


def _data_set_stats(repo: Repository, name: str) -> DataSetStats:
    refs = repo.refs(name)
    seen: set[ObjectId] = set()
    waiting = [ref.commit for ref in refs]
    logical = 0
    newest = (-1, 0, 0)  # time, files, bytes
    while waiting:
        oid = waiting.pop()
        if oid in seen:
            continue
        seen.add(oid)
        commit = repo.commit(oid)
        totals = directory_totals(commit.root)
        logical += totals.bytes
        newest = max(newest, (commit.time_ns, totals.files, totals.bytes))
        waiting.extend(commit.parents)
    return DataSetStats(
        name=name,
        branches=sum(ref.kind == "branch" for ref in refs),
        tags=sum(ref.kind == "tag" for ref in refs),
        versions=len(seen),
        files=newest[1],
        bytes=newest[2],
        logical_bytes=logical,
    )
