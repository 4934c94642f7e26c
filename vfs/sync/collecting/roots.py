"""What a remote has to keep: what its references name, or named not long ago; and what expires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vfs.errors import CorruptObject, RemoteProblem
from vfs.model.commit import Commit
from vfs.repo.gc.report import Expired
from vfs.repo.gc.retention import Candidate, Rules

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.refs import RemoteRef
    from vfs.remote.remote import Remote


@dataclass(frozen=True, slots=True)
class Roots:
    """What references lead to."""

    heads: list[RemoteRef]  # as they are now; deleted ones, too
    named: frozenset[ObjectId]  # their commits
    before: frozenset[ObjectId]  # what they led to since the time that was asked for


def find_roots(remote: Remote, since_ns: int) -> Roots:
    """Return what references name, or named at any time from *since_ns* on.

    To be asked for before the indexes are listed, so that these have all of it. Raises
    RemoteProblem where a record is damaged.
    """
    refs = remote.refs
    labels = [(data_set, name) for data_set in refs.data_sets() for name in refs.names(data_set)]

    def recent(label: tuple[str, str]) -> list[RemoteRef]:
        found: list[RemoteRef] = []
        for record in refs.log(*label):
            found.append(record)
            if record.time_ns < since_ns:
                break  # what came before it was over by then
        return found

    heads: list[RemoteRef] = []
    named: set[ObjectId] = set()
    before: set[ObjectId] = set()
    for records in remote.workers.in_order(recent, labels):
        heads += records[:1]
        named.update(one.commit for one in records[:1] if one.commit is not None)
        before.update(one.commit for one in records[1:] if one.commit is not None)
    return Roots(heads, frozenset(named), frozenset(before - named))


class _Version(NamedTuple):
    parents: tuple[ObjectId, ...]
    time_ns: int


def find_expired(remote: Remote, roots: Roots, rules: Mapping[str, Rules]) -> list[Expired]:
    """Return the versions in the histories of references that no rule keeps.

    Never what a reference names, or named since the time of the roots and no other leads to, as a
    store does it (`vfs.repo.gc`). Raises RemoteProblem.
    """
    pruned = remote.journal.state.pruned
    expired: dict[ObjectId, Expired] = {}
    kept: set[ObjectId] = set(roots.named)
    for data_set in {head.data_set for head in roots.heads}:
        own = [
            (head, head.commit)
            for head in roots.heads
            if head.data_set == data_set and head.commit is not None
        ]
        versions = _load(remote, [commit for _, commit in own])
        rule = rules.get(data_set)
        if rule is None:
            kept.update(versions)
            continue
        branches = [_ancestors(versions, [one]) for head, one in own if head.kind == "branch"]
        tagged = _ancestors(versions, [one for head, one in own if head.kind == "tag"])
        for history in (*branches, tagged.difference(*branches)):
            kept |= rule.kept(Candidate(versions[oid].time_ns, oid) for oid in history)
            for oid in history:
                reason = f"retention of {data_set} ({rule})"
                expired[oid] = Expired(data_set, oid, versions[oid].time_ns, reason)
    found = [one for oid, one in expired.items() if oid not in kept and oid not in pruned]
    return sorted(found, key=lambda one: (one.data_set, one.time_ns))


def _load(remote: Remote, heads: Iterable[ObjectId]) -> dict[ObjectId, _Version]:
    """Return the history of commits, a generation at a time."""
    found: dict[ObjectId, _Version] = {}
    wanted = set(heads)
    while wanted:
        for oid, data in remote.objects.nodes(wanted).items():
            try:
                commit = Commit.decode(data)
            except CorruptObject as error:
                raise RemoteProblem(f"{oid.hex()} on the remote is no commit") from error
            found[oid] = _Version(commit.parents, commit.time_ns)
        wanted = {parent for oid in wanted for parent in found[oid].parents} - found.keys()
    return found


def _ancestors(versions: Mapping[ObjectId, _Version], heads: Iterable[ObjectId]) -> set[ObjectId]:
    """Return *heads* and all that they come after."""
    found: set[ObjectId] = set()
    waiting = list(heads)
    while waiting:
        oid = waiting.pop()
        if oid not in found:
            found.add(oid)
            waiting.extend(versions[oid].parents)
    return found
