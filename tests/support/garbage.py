"""Collections of garbage for tests: what a store shows before and after."""

from __future__ import annotations

from pathlib import Path

from vfs.ids import ObjectId
from vfs.model.entry import Entry
from vfs.repo.fsck import check_store
from vfs.repo.gc import Collection, Report, collect
from vfs.repo.repository import Repository

NOW = Collection(keep_s=0, repack_share=1.0)
"""Remove all that can go, and rewrite all blocks that can be."""


def contents(repo: Repository, tree: ObjectId) -> dict[bytes, object]:
    """Return all files of a directory, and what is in them."""
    found: dict[bytes, object] = {}
    for entry in repo.entries(tree):
        found[entry.name] = _content(repo, entry)
    return found


def _content(repo: Repository, entry: Entry) -> object:
    if entry.is_dir:
        return contents(repo, entry.content)
    return b"".join(repo.read_file(entry)) if entry.is_file else None


def version(repo: Repository, commit: ObjectId) -> dict[bytes, object]:
    """Return all files of a version."""
    return contents(repo, repo.commit(commit).root.content)


def damages(path: Path) -> list[str]:
    """Return what a whole check of a store finds."""
    return [damage.message for damage in check_store(path, data=True).damages]


def collected(repo: Repository, options: Collection = NOW) -> Report:
    """Collect garbage; the store is sound afterwards."""
    report = collect(repo.store, options)
    assert damages(repo.store.path) == []
    return report


def object_ids(repo: Repository) -> set[bytes]:
    """Return the ids of all objects."""
    with repo.store.held() as held:
        return {bytes(key) for key in held.keys("objects")}
