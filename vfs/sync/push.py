"""Push: versions go to a remote, then its references move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from vfs.errors import NotFastForward, RemoteProblem
from vfs.remote.refs import RemoteRef
from vfs.repo import identity
from vfs.store.tracking import Tracked
from vfs.sync.confirming import confirm
from vfs.sync.graph import is_ancestor
from vfs.sync.progress import SILENT, Progress
from vfs.sync.sending import Sender

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository
    from vfs.store.refrows import Ref

How: TypeAlias = Literal["new", "forward", "forced", "same", "deleted"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one reference."""

    data_set: str
    name: str
    kind: str
    old: ObjectId | None
    new: ObjectId | None
    how: How


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push came to."""

    moved: list[Moved]
    objects: int  # that the remote did not have
    bytes: int  # of them, as stored
    withheld: int = 0  # chunks that are here, and were erased from the remote


def push(
    repo: Repository,
    remote: Remote,
    name: str,
    refs: Sequence[Ref],
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> PushResult:
    """Make branches and tags of a remote what they are here.

    *name* is what the remote is called here, "" for one that is not remembered. Nothing is sent
    unless all of *refs* can move; one that somebody else moves meanwhile stops it, and those before
    it have moved. Raises NotFastForward, RemoteProblem, RemoteUnavailable, CorruptObject.
    """
    heads = list(
        remote.workers.in_order(
            lambda ref: remote.refs.head(
                ref.data_set, ref.name, known_ref(repo, name, ref.data_set, ref.name)
            ),
            refs,
        )
    )
    plans = [
        (ref, head, _plan(repo, ref, head, force=force))
        for ref, head in zip(refs, heads, strict=True)
    ]
    sender = Sender(repo, remote, progress)
    commits = [ref.commit for ref, _, how in plans if how != "same"]
    if commits:
        sender.send(commits)
    moved = []
    for ref, head, how in plans:
        record = head
        if how != "same":
            sender.confirm(commits)
            record = remote.refs.advance(
                ref.data_set,
                ref.name,
                head,
                ref.commit,
                kind=ref.kind,
                force=how == "forced",
                who=identity.who(),
                why=f"push: {repo.commit(ref.commit).message.partition(chr(10))[0]}",
            )
        if name and record is not None:
            repo.store.tracking.record([tracked(name, record)])
        old = None if head is None else head.commit
        moved.append(Moved(ref.data_set, ref.name, ref.kind, old, ref.commit, how))
    confirm(repo, remote, [ref.commit for ref in refs])
    return PushResult(moved, sender.objects, sender.bytes, len(sender.withheld))


def delete_remote_ref(
    repo: Repository, remote: Remote, name: str, data_set: str, ref: str
) -> Moved:
    """Delete a branch or tag of a remote: its log stays there. Raises NotFastForward."""
    head = remote.refs.head(data_set, ref)
    if head is None or head.commit is None:
        raise RemoteProblem(f"there is no '{data_set}@{ref}' on the remote")
    record = remote.refs.advance(
        data_set, ref, head, None, kind=head.kind, force=True, who=identity.who(), why="deleted"
    )
    if name:
        repo.store.tracking.record([tracked(name, record)])
    return Moved(data_set, ref, head.kind, head.commit, None, "deleted")


def known_ref(repo: Repository, remote: str, data_set: str, name: str) -> RemoteRef | None:
    """Return what was last seen of a reference on a remote."""
    seen = repo.store.tracking.get(remote, data_set, name) if remote else None
    return None if seen is None else untracked(seen)


def untracked(seen: Tracked) -> RemoteRef:
    """Return the record that `tracked` remembered."""
    return RemoteRef(
        data_set=seen.data_set,
        name=seen.name,
        number=seen.number,
        kind="tag" if seen.kind == "tag" else "branch",
        commit=seen.commit,
        digest=seen.digest,
    )


def tracked(remote: str, record: RemoteRef) -> Tracked:
    """Return what is to be remembered of a record."""
    return Tracked(
        remote=remote,
        data_set=record.data_set,
        name=record.name,
        kind=record.kind,
        commit=record.commit,
        number=record.number,
        digest=record.digest,
    )


def _plan(repo: Repository, ref: Ref, head: RemoteRef | None, *, force: bool) -> How:
    """Return how a reference is to move. Raises NotFastForward."""
    label = f"{ref.data_set}@{ref.name}"
    if head is None or head.commit is None:
        return "new"
    if head.kind != ref.kind:
        raise RemoteProblem(f"'{label}' is a {head.kind} on the remote, and a {ref.kind} here")
    if head.commit == ref.commit:
        return "same"
    if ref.kind == "branch" and is_ancestor(repo, head.commit, ref.commit):
        return "forward"
    if force:
        return "forced"
    if ref.kind == "tag":
        raise NotFastForward(
            f"the tag '{label}' names another version on the remote",
            hint="a tag never moves; to move it all the same: vfs push --force",
        )
    raise NotFastForward(
        f"'{label}' has versions on the remote that are not in it here",
        hint=f"vfs pull {label}, then push again; --force gives them up",
    )
