"""Branches that are written to: committing what changed, in O(what changed); their names.

Rows stay as they are: the overlay goes on being relative to its origin, and who has the branch
mounted notices nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vfs.clock import now_ns
from vfs.errors import Conflict, NotFound
from vfs.model.commit import JSON, Commit, check_text
from vfs.model.names import check_ref_name
from vfs.repo import identity
from vfs.repo.births import leaves_brought
from vfs.repo.branchstatus import overlay_status
from vfs.repo.branchtrees import BranchTrees
from vfs.repo.origin import EMPTY
from vfs.repo.repository import COMMIT_TRIES, CommitResult
from vfs.repo.revisions import near_misses
from vfs.repo.trees import TreeBuilder, with_tree
from vfs.store.births import NOTHING
from vfs.store.layout import Kind
from vfs.store.refrows import Ref
from vfs.store.refs import RefChange

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry, Totals
    from vfs.model.overlay import OverlayHeader
    from vfs.repo.repository import Repository
    from vfs.store.ingest import Ingest
    from vfs.store.overlayrows import OverlaySnapshot


def commit_overlay(
    repo: Repository,
    data_set: str,
    branch: str,
    *,
    message: str,
    author: str | None = None,
    allow_empty: bool = False,
    provenance: Mapping[str, JSON] | None = None,
    seq: int | None = None,
) -> CommitResult:
    """Commit all changes that the store has of a branch; all of them or nothing.

    *seq* is what a checkpoint of the process that serves the branch returned (None: nobody does):
    others may move the branch again, if that process has not claimed it since.
    Whoever serves the branch may go on: what is written from now on belongs to the next commit.
    Without a change there is no new commit, unless *allow_empty*. Raises NotFound when there is
    no such branch, or no version and nothing to make the first one of; InvalidInput for a text that
    is too long.
    """
    check_text("message", message)
    check_text("author", author or "")
    committing = _Committing(
        repo,
        data_set,
        branch,
        message=message,
        author=author or identity.author(),
        provenance={"kind": "commit", "host": identity.host(), **(provenance or {})},
        seq=seq,
    )
    for _ in range(COMMIT_TRIES):
        try:
            return committing.run(allow_empty=allow_empty)
        except Conflict:  # somebody else committed meanwhile
            continue
    raise Conflict(f"'{data_set}@{branch}' moves too fast to commit to it", hint="try again")


def delete_branch(repo: Repository, data_set: str, branch: str, *, force: bool = False) -> None:
    """Delete a branch; its log stays. Raises NotFound.

    Raises Conflict when it has changes that are not committed, unless *force*.
    """
    header = repo.store.overlays.header(data_set, branch)
    if not force:
        _require_unchanged(repo, data_set, branch, header)
    repo.delete_ref(data_set, branch, kind="branch", overlay=header)


def rename_branch(repo: Repository, data_set: str, old: str, new: str) -> Ref:
    """Give a branch another name, whose log says which one it had.

    Raises NotFound, InvalidName, AlreadyExists; Conflict when it has changes that are not
    committed.
    """
    check_ref_name(new)
    require_branch(repo, data_set, old)
    header = repo.store.overlays.header(data_set, old)
    _require_unchanged(repo, data_set, old, header)
    ref = repo.store.refs.rename_branch(
        data_set, old, new, time_ns=now_ns(), who=identity.who(), overlay=header
    )
    repo.store.overlays.sweep()
    return ref


def move_branch(repo: Repository, data_set: str, branch: str, commit: ObjectId) -> tuple[Ref, Ref]:
    """Let a branch name another version; return what it was and what it is.

    Raises NotFound; Conflict when it has changes that are not committed, or moves meanwhile.
    """
    old = require_branch(repo, data_set, branch)
    if old.commit == commit:
        return old, old
    why = "branch moved"
    return old, repo.set_branch(data_set, branch, commit, expected=old.commit, why=why)


def require_branch(repo: Repository, data_set: str, branch: str) -> Ref:
    """Return a branch. Raises NotFound with near misses."""
    branches = {ref.name: ref for ref in repo.refs(data_set) if ref.kind == "branch"}
    if branch not in branches:
        raise NotFound(
            f"there is no branch '{branch}' in '{data_set}'", hint=near_misses(branch, [*branches])
        )
    return branches[branch]


def _require_unchanged(
    repo: Repository, data_set: str, branch: str, header: OverlayHeader | None
) -> None:
    """Raise Conflict when a branch has changes; one that is only going to be changed has none."""
    if header is not None and header.dirty and overlay_status(repo, data_set, branch):
        repo.store.refs.require_committed(data_set, branch)


class _Committing:
    """One commit, as often as it has to be tried."""

    def __init__(
        self,
        repo: Repository,
        data_set: str,
        branch: str,
        *,
        message: str,
        author: str,
        provenance: Mapping[str, JSON],
        seq: int | None,
    ) -> None:
        self._repo = repo
        self._data_set = data_set
        self._branch = branch
        self._message = message
        self._author = author
        self._provenance = provenance
        self._seq = seq

    def run(self, *, allow_empty: bool) -> CommitResult:
        """Commit. Raises Conflict when somebody else did."""
        ref = self._repo.branch_to_commit_to(self._data_set, self._branch)
        old = None if ref is None else ref.commit
        overlays = self._repo.store.overlays
        with (
            self._repo.store.ingest() as ingest,  # first: what is in the snapshot must stay
            overlays.snapshot(self._data_set, self._branch) as taken,
        ):
            # One that is dirty without a change was only going to be written to.
            if taken is not None and taken.header.dirty and (old or taken.has_changes()):
                return self._commit_changes(taken, ingest, old, allow_empty=allow_empty)
            if not allow_empty:
                if old is None:
                    raise NotFound(
                        f"the data set '{self._data_set}' has no version, and nothing to commit",
                        hint=f"vfs import PATH {self._data_set}, or write to its mount first",
                    )
                return CommitResult(old, changed=False, branch=self._branch)
            if old is None:
                root = with_tree(EMPTY, *TreeBuilder(ingest).finish())
            else:
                root = self._repo.commit(old).root
            new = self._add(ingest, root, old)
            self._move(taken, old, new, {}, ingest)
            return CommitResult(new, changed=True, branch=self._branch)

    def _commit_changes(
        self, taken: OverlaySnapshot, ingest: Ingest, old: ObjectId | None, *, allow_empty: bool
    ) -> CommitResult:
        if taken.header.head != old:
            raise Conflict(f"'{self._data_set}@{self._branch}' moved meanwhile", hint="try again")
        head = None if old is None else self._repo.commit(old).root
        trees = BranchTrees(self._repo, taken, ingest, head)
        root = trees.make()
        if old is not None and root == head and not allow_empty:
            self._move(taken, old, old, trees.made, ingest)  # what changed was changed back
            return CommitResult(old, changed=False, branch=self._branch)
        new = self._add(ingest, root, old)
        self._move(taken, old, new, trees.made, ingest)
        return CommitResult(new, changed=True, branch=self._branch)

    def _add(self, ingest: Ingest, root: Entry, old: ObjectId | None) -> ObjectId:
        """Store a commit, and all that it leads to."""
        # Never before its parent, whatever the clock says: times order the log.
        earliest = 0 if old is None else self._repo.commit(old).time_ns + 1
        record = Commit(
            root=root,
            parents=() if old is None else (old,),
            time_ns=max(now_ns(), earliest),
            author=self._author,
            message=self._message,
            provenance=self._provenance,
        )
        new = ingest.add_object(Kind.COMMIT, record.encode())
        ingest.flush()
        return new

    def _move(
        self,
        taken: OverlaySnapshot | None,
        old: ObjectId | None,
        new: ObjectId,
        trees: Mapping[int, tuple[ObjectId, Totals]],
        ingest: Ingest,
    ) -> None:
        """Move the branch, and let its overlay know."""
        change = RefChange(
            data_set=self._data_set,
            name=self._branch,
            kind="branch",
            new=new,
            expected=old,
            brought=NOTHING if new == old else leaves_brought(self._repo, new),
            generation=ingest.generation,
        )
        store, time_ns, who = self._repo.store, now_ns(), identity.who()
        why = f"commit: {self._message.partition(chr(10))[0]}"
        if taken is not None and taken.header.head == old:
            change = replace(change, overlay=taken.header.id)
            store.overlays.commit(
                taken, change, trees, time_ns=time_ns, who=who, why=why, seq=self._seq
            )
        else:
            store.refs.move([change], time_ns=time_ns, who=who, why=why)
