"""Branches and tags of a cache follow those of its remote, where that loses nothing made here."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vfs.clock import now_ns
from vfs.errors import AlreadyExists, Conflict
from vfs.repo import identity
from vfs.store.refs import RefChange
from vfs.sync.graph import is_ancestor
from vfs.sync.push import known_ref
from vfs.sync.remotes import DEFAULT

if TYPE_CHECKING:
    from vfs.remote.refs import RemoteRef
    from vfs.repo.repository import Repository
    from vfs.store.refrows import Ref

_WHY: Final = "as on the remote"

log = logging.getLogger(__name__)


def follow(repo: Repository, data_set: str, heads: Sequence[RemoteRef]) -> None:
    """Move the branches and tags of a data set to where the remote's are now.

    What was made here stays: a branch with versions that the remote lacks, or with changes that are
    not committed, and what the remote never had. To be called before *heads* are noted as seen.
    Raises CorruptObject, RemoteProblem, RemoteUnavailable.
    """
    with suppress(AlreadyExists):
        repo.create_data_set(data_set)
    here = {ref.name: ref for ref in repo.refs(data_set)}
    for head in heads:
        ref = here.get(head.name)
        is_over = ref is not None and (head.commit is None or head.kind != ref.kind)
        if ref is not None and is_over and _is_as_seen(repo, ref) and _given_up(repo, ref):
            del here[head.name]
    changes = list(_changes(repo, here, heads))
    try:
        if changes:
            _move(repo, changes)
    except Conflict:  # of one of them
        for change in changes:
            try:
                _move(repo, [change])
            except Conflict as error:
                log.info("it stays where it is: %s", error)


def _changes(
    repo: Repository, here: dict[str, Ref], heads: Sequence[RemoteRef]
) -> Iterator[RefChange]:
    for head in heads:
        ref = here.get(head.name)
        if head.commit is None or (ref is not None and ref.kind != head.kind):
            continue
        if ref is not None and ref.commit == head.commit:
            continue
        repo.commit(head.commit)  # there, and a commit
        if (
            ref is None
            or _is_as_seen(repo, ref)
            or (ref.kind == "branch" and is_ancestor(repo, ref.commit, head.commit))
        ):
            yield RefChange(
                data_set=head.data_set,
                name=head.name,
                kind=head.kind,
                new=head.commit,
                expected=None if ref is None else ref.commit,
            )


def _is_as_seen(repo: Repository, ref: Ref) -> bool:
    """Say whether a reference is where the remote's was when it was last seen."""
    seen = known_ref(repo, DEFAULT, ref.data_set, ref.name)
    return seen is not None and seen.commit == ref.commit


def _given_up(repo: Repository, ref: Ref) -> bool:
    """Delete a reference, but no branch with changes that are not committed; say whether."""
    who, now = identity.who(), now_ns()
    try:
        repo.store.refs.delete(ref.data_set, ref.name, ref.kind, time_ns=now, who=who, why=_WHY)
    except Conflict as error:
        log.info("it stays: %s", error)
        return False
    return True


def _move(repo: Repository, changes: Sequence[RefChange]) -> None:
    repo.store.refs.move(changes, time_ns=now_ns(), who=identity.who(), why=_WHY)
