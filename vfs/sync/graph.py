"""What objects name: the edges of the graph of commits, trees, blobs and chunks."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.blob import decode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import FLAG_BLOB
from vfs.model.node import Inner, decode_node
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.store.objects import ObjectSource


def below(kind: Kind, data: bytes) -> Iterator[tuple[Kind, ObjectId]]:
    """Yield what an object that is no chunk names. Raises CorruptObject."""
    if kind is Kind.COMMIT:
        commit = Commit.decode(data)
        for parent in commit.parents:
            yield Kind.COMMIT, parent
        yield Kind.TREE, commit.root.content
    elif kind is Kind.BLOB:
        node = decode_blob_node(data)
        for span in node.spans:
            if not span.is_hole:
                yield Kind.BLOB if node.level else Kind.CHUNK, span.content
    else:
        tree = decode_node(data)
        if isinstance(tree, Inner):
            for child in tree.children:
                yield Kind.TREE, child.node
            return
        for entry in tree.entries():
            if entry.is_dir:
                yield Kind.TREE, entry.content
            elif entry.content != NO_CONTENT:
                yield Kind.BLOB if entry.flags & FLAG_BLOB else Kind.CHUNK, entry.content


def outgoing(
    source: ObjectSource,
    commit: ObjectId,
    has: Callable[[Kind, ObjectId], bool],
    names: Callable[[Kind, ObjectId, bytes], Iterator[tuple[Kind, ObjectId]]],
) -> Iterator[tuple[Kind, ObjectId, bytes]]:
    """Yield all that a commit needs and *has* denies: each after everything that it names.

    Chunks come without their bytes, which are read where they are needed. *names* says what an
    object names, as `below` does, or less. What *has* affirms is not entered: there, a node is only
    ever together with all below it. It is asked again at every edge, so it must know of what was
    yielded.
    """
    if has(Kind.COMMIT, commit):
        return
    data = source.get(commit)
    # A stack of its own: directories and histories are deeper than Python's.
    stack = [(Kind.COMMIT, commit, data, names(Kind.COMMIT, commit, data))]
    while stack:
        kind, oid, data, rest = stack[-1]
        for child_kind, child in rest:
            if has(child_kind, child):
                continue
            if child_kind is Kind.CHUNK:
                yield child_kind, child, b""
                continue
            child_data = source.get(child)
            stack.append((child_kind, child, child_data, names(child_kind, child, child_data)))
            break
        else:
            stack.pop()
            yield kind, oid, data


def is_ancestor(repo: Repository, old: ObjectId, new: ObjectId) -> bool:
    """Say whether *new* is *old* or comes after it. False where *old* is not in the store."""
    if repo.store.refs.commit_slot(old) is None:
        return False
    oldest_ns = repo.commit(old).time_ns
    waiting = [(-repo.commit(new).time_ns, new)]
    seen = {new}
    while waiting:
        time_ns, oid = heapq.heappop(waiting)
        if oid == old:
            return True
        if -time_ns <= oldest_ns:
            continue  # a version is later than its parents
        for parent in repo.commit(oid).parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(waiting, (-repo.commit(parent).time_ns, parent))
    return False
