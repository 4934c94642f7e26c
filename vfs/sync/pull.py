"""Pull: fetch, then branches and tags here follow those of the remote where that loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.clock import now_ns
from vfs.errors import NotFastForward, VfsError
from vfs.repo import identity
from vfs.store.refs import RefChange
from vfs.sync.fetch import FetchResult, Wanted, fetch
from vfs.sync.graph import is_ancestor
from vfs.sync.progress import SILENT, Progress
from vfs.sync.push import How, Moved

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.refs import RemoteRef
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository
    from vfs.store.refrows import Ref


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull came to."""

    moved: list[Moved]
    problems: list[VfsError]  # references that stayed as they were, and why
    fetched: FetchResult


def pull(
    repo: Repository,
    remote: Remote,
    name: str,
    wanted: Sequence[Wanted],
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> PullResult:
    """Fetch, then make what is not here, and move branches on to versions that come after theirs.

    One that can't move stays, and is told in `problems`; the others move all the same. With *force*
    it moves whatever it was. What a remote deleted stays here. Raises what `fetch` does.
    """
    with repo.store.writers.announce():  # so that what was fetched is there when it is named
        fetched = fetch(repo, remote, name, wanted, progress=progress)
        moved: list[Moved] = []
        problems: list[VfsError] = []
        for head in fetched.refs:
            if head.commit is None:
                continue
            try:
                moved.append(_follow(repo, head, force=force, remote=name))
            except VfsError as error:
                problems.append(error)
    return PullResult(moved, problems, fetched)


def _follow(repo: Repository, head: RemoteRef, *, force: bool, remote: str) -> Moved:
    """Make a reference here what it is on the remote. Raises NotFastForward, Conflict."""
    assert head.commit is not None
    here = repo.store.refs.get(head.data_set, head.name)
    how = "new" if here is None else _how(repo, here, head.commit, force=force)
    old = None if here is None else here.commit
    if how != "same":
        change = RefChange(
            data_set=head.data_set, name=head.name, kind=head.kind, new=head.commit, expected=old
        )
        why = f"pull: from {remote}" if remote else "pull"
        repo.store.refs.move([change], time_ns=now_ns(), who=identity.who(), why=why)
    new = old if how == "same" else head.commit
    return Moved(head.data_set, head.name, head.kind, old, new, how)


def _how(repo: Repository, here: Ref, new: ObjectId, *, force: bool) -> How:
    """Return how a reference is to move to *new*. Raises NotFastForward."""
    label = f"{here.data_set}@{here.name}"
    is_branch = here.kind == "branch"
    if here.commit == new:
        return "same"
    if is_branch and is_ancestor(repo, here.commit, new):
        return "forward"
    if force:
        return "forced"
    if is_branch and is_ancestor(repo, new, here.commit):
        return "same"  # what is new is here, and waits for a push
    if is_branch:
        raise NotFastForward(
            f"'{label}' has versions here that the remote lacks, and lacks some that are there",
            hint=f"vfs merge {here.data_set}@{new.hex()[:12]} into {label}, then vfs push; or "
            "vfs pull --force gives up what is only here",
        )
    raise NotFastForward(
        f"the tag '{label}' names another version on the remote",
        hint=f"to move it here, too: vfs pull --force {label}",
    )
