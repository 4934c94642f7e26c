"""Fetch: versions come from a remote, and what its references are is remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.clock import now_ns
from vfs.errors import NotFound, RemoteProblem
from vfs.model.commit import Commit
from vfs.repo import identity
from vfs.repo.births import leaves_brought
from vfs.store.births import NOTHING
from vfs.store.identity import PROMISED
from vfs.store.layout import Kind
from vfs.store.pruned import Pruned
from vfs.sync.accepting import Acceptance
from vfs.sync.progress import SILENT, Progress
from vfs.sync.push import known_ref, tracked
from vfs.sync.receiving import Receiver, Task

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.refs import RemoteRef
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class Wanted:
    """A data set of a remote, or one reference of it."""

    data_set: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch came to."""

    refs: list[RemoteRef]  # all that were asked for, as they are there
    commits: int  # that are new here
    objects: int
    bytes: int  # of them, before compression
    erased: dict[ObjectId, str]  # chunks that are here, and why they were erased from the remote
    erased_contents: set[ObjectId]  # the files' contents that have such, as entries name them


def fetch(
    repo: Repository,
    remote: Remote,
    name: str,
    wanted: Sequence[Wanted],
    *,
    progress: Progress = SILENT,
) -> FetchResult:
    """Bring here what a remote's branches and tags name. No branch or tag here changes.

    *name* is what the remote is called here; "" for one that is not remembered, whose commits can
    be named by their ids. Raises NotFound for a reference that is not there, RemoteProblem,
    RemoteUnavailable, StoreFull.
    """
    with repo.store.writers.announce():  # until something refers to what came
        return _fetch(repo, remote, name, wanted, progress)


def _fetch(
    repo: Repository, remote: Remote, name: str, wanted: Sequence[Wanted], progress: Progress
) -> FetchResult:
    heads = ref_heads(repo, remote, name, wanted)
    commits = [(head.data_set, head.commit) for head in heads if head.commit is not None]
    new: dict[ObjectId, tuple[str, Commit]] = {}
    objects = size = 0
    remote.look()  # also without new versions: what was erased there is to be told
    if repo.store.is_promised:
        return _noted(repo, remote, name, heads)
    if any(repo.store.refs.commit_slot(commit) is None for _, commit in commits):
        remote.refresh()
        with repo.store.ingest(when_erased="note") as ingest:
            receiver = Receiver(repo.reader, ingest, remote, progress)
            new = _new_commits(repo, receiver, commits)
            acceptance = Acceptance(receiver, repo.nodes)
            pruned = _pruned(remote, new, {oid for _, oid in commits})
            for oid, commit, base in _with_bases(repo, new):
                if oid not in pruned:
                    acceptance.version(commit, base)
            receiver.run()
        _note_what_is_gone(repo, remote, new, pruned, receiver.erased)
        objects, size = receiver.objects, receiver.bytes
    for data_set in dict.fromkeys(head.data_set for head in heads):
        if not repo.store.refs.has_data_set(data_set):
            repo.create_data_set(data_set)
    repo.store.tracking.record(
        [tracked(name, head) for head in heads] if name else [],
        [(data_set, oid, leaves_brought(repo, oid)) for oid, (data_set, _) in new.items()],
    )
    state = remote.journal.state
    there = {oid: str(why) for oid, why in state.erased.items() if _is_here(repo, oid)}
    contents = {oid for oid in state.erased_contents if there and _is_here(repo, oid)}
    return FetchResult(heads, len(new), objects, size, there, contents)


def _noted(repo: Repository, remote: Remote, name: str, heads: Sequence[RemoteRef]) -> FetchResult:
    """Note what a remote's references are in its cache, which brings their content when asked."""
    if remote.uuid != (repo.store.settings.get(PROMISED) or {}).get("uuid"):
        raise RemoteProblem(
            "a cache takes versions from its own remote alone",
            hint="vfs clone makes a store that takes them from any",
        )
    new = {
        head.commit: head.data_set
        for head in heads
        if head.commit is not None and repo.store.refs.commit_slot(head.commit) is None
    }
    for oid in new:
        repo.commit(oid)  # there, and a commit
    for data_set in dict.fromkeys(head.data_set for head in heads):
        if not repo.store.refs.has_data_set(data_set):
            repo.create_data_set(data_set)
    repo.store.tracking.record(
        [tracked(name, head) for head in heads] if name else [],
        [(data_set, oid, NOTHING) for oid, data_set in new.items()],
    )
    return FetchResult(list(heads), len(new), 0, 0, {}, set())


def _is_here(repo: Repository, oid: ObjectId) -> bool:
    return repo.store.object_size(oid) is not None


def _pruned(
    remote: Remote, new: Iterable[ObjectId], heads: Collection[ObjectId]
) -> dict[ObjectId, Pruned]:
    """Return which new versions have no content on the remote. What a reference names has."""
    found = remote.journal.state.pruned
    return {
        oid: Pruned(found[oid].time_ns, found[oid].text)
        for oid in new
        if oid in found and oid not in heads
    }


def _note_what_is_gone(
    repo: Repository,
    remote: Remote,
    new: Iterable[ObjectId],
    pruned: dict[ObjectId, Pruned],
    erased: set[ObjectId],
) -> None:
    """Have the store know why it lacks what did not come, before anything can miss it."""
    store = repo.store
    known = [oid for oid in new if oid in pruned or store.pruned.get(oid)]
    store.pruned.put_all([(oid, pruned.get(oid)) for oid in known])
    by_reason: dict[str, list[ObjectId]] = {}
    for oid in erased:
        by_reason.setdefault(str(remote.journal.state.erased[oid]), []).append(oid)
    for reason, chunks in by_reason.items():
        store.erasures.learn(reason, chunks, time_ns=now_ns(), who=identity.who())


def known_data_sets(repo: Repository, remote: Remote, name: str) -> list[str]:
    """Return the data sets that a remote has, or had when it was last looked at."""
    seen = {one.data_set for one in repo.store.tracking.all(name)}
    return sorted(seen.union(remote.refs.data_sets()))


def ref_heads(
    repo: Repository, remote: Remote, name: str, wanted: Sequence[Wanted]
) -> list[RemoteRef]:
    """Return what was asked for, as it is on the remote now. Raises NotFound, RemoteProblem."""
    pairs: dict[tuple[str, str], bool] = {}  # and whether it has to be there
    for one in wanted:
        if one.name is not None:
            pairs[one.data_set, one.name] = True
            continue
        names = remote.refs.names(one.data_set)
        seen = [ref.name for ref in repo.store.tracking.all(name) if ref.data_set == one.data_set]
        names += sorted(set(seen) - set(names))  # gone without a record: `head` refuses them
        if not names:
            raise NotFound(f"there is no data set '{one.data_set}' on the remote")
        for ref in names:
            pairs.setdefault((one.data_set, ref), False)

    def head(pair: tuple[str, str]) -> RemoteRef | None:
        return remote.refs.head(*pair, known=known_ref(repo, name, *pair))

    found = []
    for (data_set, ref), there in zip(pairs, remote.workers.in_order(head, pairs), strict=True):
        if there is not None and (there.commit is not None or not pairs[data_set, ref]):
            found.append(there)
        elif pairs[data_set, ref]:
            raise NotFound(f"there is no '{data_set}@{ref}' on the remote")
    return found


def _new_commits(
    repo: Repository, receiver: Receiver, heads: Sequence[tuple[str, ObjectId]]
) -> dict[ObjectId, tuple[str, Commit]]:
    """Return the commits that are not complete here, parents first."""
    found: dict[ObjectId, tuple[str, Commit]] = {}

    def visit(data_set: str, oid: ObjectId) -> Task:
        (data,) = yield [(Kind.COMMIT, oid)]
        commit = Commit.decode(data)
        found[oid] = data_set, commit
        for parent in commit.parents:
            begin(data_set, parent)

    def begin(data_set: str, oid: ObjectId) -> None:
        # A commit with a slot came here with all that it needs.
        if oid not in asked and repo.store.refs.commit_slot(oid) is None:
            asked.add(oid)
            receiver.start(visit(data_set, oid))

    asked: set[ObjectId] = set()
    for data_set, oid in heads:
        begin(data_set, oid)
    receiver.run()
    return _sorted(found)


def _sorted(
    found: dict[ObjectId, tuple[str, Commit]],
) -> dict[ObjectId, tuple[str, Commit]]:
    """Return commits with parents first. Raises RemoteProblem unless times order them."""
    ordered = dict(sorted(found.items(), key=lambda one: (one[1][1].time_ns, one[0])))
    for _, commit in found.values():
        for parent in commit.parents:
            if parent in found and found[parent][1].time_ns >= commit.time_ns:
                raise RemoteProblem(
                    f"the remote holds what can't be: the version {parent.hex()} is not older "
                    "than one that comes after it"
                )
    return ordered


def _with_bases(
    repo: Repository, new: dict[ObjectId, tuple[str, Commit]]
) -> list[tuple[ObjectId, Commit, Commit | None]]:
    """Return new commits, each with the nearest version before it that is complete here."""
    bases: dict[ObjectId, Commit | None] = {}
    for oid, (_, commit) in new.items():
        bases[oid] = None
        if commit.parents:
            parent = commit.parents[0]
            if parent in new:
                bases[oid] = bases[parent]
            elif repo.store.pruned.get(parent) is None:
                bases[oid] = repo.commit(parent)
    return [(oid, commit, bases[oid]) for oid, (_, commit) in new.items()]
