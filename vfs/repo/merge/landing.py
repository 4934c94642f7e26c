"""New versions of a branch, made of trees that are not stored yet: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.clock import now_ns
from vfs.ids import ObjectId
from vfs.model.commit import JSON, Commit
from vfs.model.node import Leaf, decode_node
from vfs.repo import identity
from vfs.repo.births import leaves_brought
from vfs.store.layout import Kind
from vfs.store.refs import RefChange

if TYPE_CHECKING:
    from vfs.model.entry import Entry
    from vfs.repo.repository import Repository
    from vfs.repo.uncommitted import PassingObjects
    from vfs.store.ingest import Ingest


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version to be made on top of another one."""

    root: Entry
    message: str
    author: str
    provenance: Mapping[str, JSON]
    merged: tuple[ObjectId, ...] = ()  # its parents behind the first


def land(
    repo: Repository,
    data_set: str,
    branch: str,
    head: ObjectId | None,
    drafts: Sequence[Draft],
    *,
    objects: PassingObjects,
    why: str,
) -> ObjectId:
    """Store *drafts*, one on top of the other, and move a branch from *head* to the last.

    Raises Conflict when the branch is not at *head* or has changes that are not committed.
    """
    moves = []
    time_ns = repo.commit(head).time_ns if head else 0
    with repo.store.ingest() as ingest:
        for draft in drafts:
            _store_tree(objects, ingest, draft.root)
            parents = (*((head,) if head else ()), *draft.merged)
            # Never before a parent, whatever the clock says: times order the log.
            after = max([time_ns, *(repo.commit(parent).time_ns for parent in draft.merged)])
            time_ns = max(now_ns(), after + 1)
            record = Commit(
                root=draft.root,
                parents=parents,
                time_ns=time_ns,
                author=draft.author,
                message=draft.message,
                provenance=draft.provenance,
            )
            new = ingest.add_object(Kind.COMMIT, record.encode())
            moves.append((head, new))
            head = new
        ingest.flush()
        changes = [
            RefChange(
                data_set=data_set,
                name=branch,
                kind="branch",
                new=new,
                expected=old,
                brought=leaves_brought(repo, new),
                generation=ingest.generation,
            )
            for old, new in moves
        ]
        repo.store.refs.move(changes, time_ns=now_ns(), who=identity.who(), why=why)
    assert head is not None
    return head


def _store_tree(objects: PassingObjects, ingest: Ingest, root: Entry) -> None:
    """Store the nodes of a tree that are in no store yet."""
    waiting = [root.content]
    while waiting:
        oid = waiting.pop()
        if oid not in objects:
            continue
        data = objects.get(oid)
        ingest.add_object(Kind.TREE, data)
        node = decode_node(data)
        if isinstance(node, Leaf):
            waiting += (entry.content for entry in node.entries() if entry.is_dir)
        else:
            waiting += (child.node for child in node.children)
