"""All of a version, or of a part of it, into the cache of a remote before anybody reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT
from vfs.repo.blobs import FileReader
from vfs.repo.trees import walk
from vfs.sync.ondemand import OnDemand
from vfs.sync.progress import SILENT, Progress

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository


def prefetch(repo: Repository, entry: Entry, progress: Progress = SILENT) -> tuple[int, int]:
    """Fetch an entry and all below it; return how many objects came, and their bytes.

    *repo*: a cache (`vfs.sync.cache.open_cache`). What is there already is not asked for, so it
    goes on where an earlier one was stopped. Raises StoreFull at the cache's limit, Erased,
    RemoteProblem, RemoteUnavailable.
    """
    supply = repo.store.bring
    assert isinstance(supply, OnDemand)
    objects = size = 0
    for came, length in supply.bring_all(_chunks(repo, entry)):
        objects, size = objects + came, size + length
        progress.advance(came, length)
    return objects, size


def _chunks(repo: Repository, entry: Entry) -> Iterator[ObjectId]:
    """Yield the chunks of all files, in the order of a walk. Nodes are fetched meanwhile."""
    files = FileReader(repo.reader)
    stack = [iter([entry])]
    while stack:
        one = next(stack[-1], None)
        if one is None:
            stack.pop()
        elif one.is_dir:
            if one.content != NO_CONTENT:
                stack.append(place.entry for place in walk(repo.nodes, repo.nodes.enter(one)))
        elif one.is_file and one.size:
            yield from (span.content for span in files.spans(one) if not span.is_hole)
