"""Which datums are done, and what each wrote: a version on a branch of its own.

`out/ID` is the directory that the datum ID wrote, `in/ID` a JSON list of what it was made from. So
outputs are stored once, and kept as long as something leads to them, as all else is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.chunking import CHUNK_MAX_BYTES
from vfs.model.entry import Entry, directory_entry, directory_totals
from vfs.repo.blobs import BlobBuilder
from vfs.repo.treediff import pairs
from vfs.repo.trees import Edit, find, merge_tree, walk

if TYPE_CHECKING:
    from vfs.model.commit import Commit
    from vfs.pipeline.datums import Datum
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest

KIND: Final = "datums"
FIND_COST: Final = 16
"""One name is found in the time in which so many are read one after the other."""

_OUT: Final = b"out"
_IN: Final = b"in"
_FILE_MODE: Final = 0o100644


def root_of(commit: Commit | None) -> Entry | None:
    """Return the root of a table; None where the version is none, as a new branch has one."""
    return commit.root if commit is not None and commit.provenance.get("kind") == KIND else None


def outputs(repo: Repository, root: Entry | None) -> dict[str, ObjectId]:
    """Return the trees that datums wrote, by the datums' ids."""
    if root is None:
        return {}
    return {os.fsdecode(e.name): e.content for e in _entries(repo, root, _OUT)}


def outputs_of(
    repo: Repository, root: Entry | None, datums: Collection[str]
) -> dict[str, ObjectId]:
    """Return the trees that some datums wrote, of those that are done."""
    if not datums:
        return {}
    tree = _directory(repo, root, _OUT)
    if root is None or len(datums) * FIND_COST > directory_totals(root).dirs:
        return {one: oid for one, oid in outputs(repo, root).items() if one in datums}
    found = ((one, find(repo.nodes, tree, os.fsencode(one))) for one in datums)
    return {one: place.entry.content for one, place in found if place is not None}


def changes(
    repo: Repository, old: Entry | None, new: Entry | None
) -> dict[str, tuple[ObjectId | None, ObjectId | None]]:
    """Return the trees of all datums of which two tables don't say the same, in O(their number)."""
    trees = (_directory(repo, root, _OUT) for root in (old, new))
    found = {}
    for was, now in pairs(repo.nodes, *trees):
        either = was or now
        assert either is not None
        before, after = (None if one is None else one.content for one in (was, now))
        if before != after:
            found[os.fsdecode(either.name)] = before, after
    return found


def inputs(repo: Repository, root: Entry) -> Iterator[tuple[str, list[Any]]]:
    """Yield the ids of datums, and what each was made from."""
    for entry in _entries(repo, root, _IN):
        yield os.fsdecode(entry.name), json.loads(b"".join(repo.read_file(entry)))


def with_changes(
    repo: Repository,
    ingest: Ingest,
    root: Entry | None,
    done: Mapping[str, tuple[Datum, Entry]],
    gone: set[str],
) -> Entry:
    """Return the root with datums that are *done*, and the directories they wrote; without *gone*.

    What *done* leads to must be flushed.
    """
    out: dict[bytes, Entry | None] = {os.fsencode(one): None for one in gone}
    made: dict[bytes, Entry | None] = dict(out)
    for one, (datum, wrote) in done.items():
        text = json.dumps(datum.facts(), separators=(",", ":")).encode()
        name = os.fsencode(one)
        made[name] = _file(ingest, name, text)
        out[name] = wrote._replace(name=name)
    ingest.flush()
    top: list[Edit] = []
    for name, edits in ((_IN, made), (_OUT, out)):
        below = None if root is None else find(repo.nodes, root.content, name)
        tree = None if below is None else below.entry.content
        done_tree = merge_tree(repo.reader, ingest, tree, sorted(edits.items()))
        top.append((name, directory_entry(name, *done_tree)))
    ingest.flush()
    return directory_entry(b"", *merge_tree(repo.reader, ingest, None, top))


def _file(ingest: Ingest, name: bytes, data: bytes) -> Entry:
    starts = range(0, len(data), CHUNK_MAX_BYTES)
    ids = ingest.add_chunks([data[at : at + CHUNK_MAX_BYTES] for at in starts])
    content, flags = ids[0], 0
    if len(ids) > 1:  # a group may have many files
        blob = BlobBuilder(ingest)
        for at, oid in zip(starts, ids, strict=True):
            blob.add(oid, min(CHUNK_MAX_BYTES, len(data) - at))
        content, flags, _, _ = blob.finish()
    return Entry(name, _FILE_MODE, 0, 0, 0, len(data), content, flags, b"")


def _entries(repo: Repository, root: Entry, name: bytes) -> Iterator[Entry]:
    tree = _directory(repo, root, name)
    if tree != NO_CONTENT:
        yield from (place.entry for place in walk(repo.nodes, tree))


def _directory(repo: Repository, root: Entry | None, name: bytes) -> ObjectId:
    """Return a directory of the table; NO_CONTENT for a table of nothing."""
    if root is None or root.content == NO_CONTENT:
        return NO_CONTENT
    found = find(repo.nodes, root.content, name)
    return NO_CONTENT if found is None else found.entry.content
