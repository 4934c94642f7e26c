"""Erasing from a remote what was erased from a store: at once, not at the next collection.

First the journal says so: from then on nobody sends these chunks again, and who fetches knows why
they are not there. Then each pack that has one is copied without it, and deleted. Killed anywhere,
it is finished by doing it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vfs.errors import RemoteChanged
from vfs.ids import ObjectId
from vfs.remote import notes
from vfs.remote.layout import PACKS, PackId, index_name, pack_name, pack_of_name
from vfs.remote.notes import Reason
from vfs.store.layout import Kind
from vfs.sync.collecting.packs import Copier
from vfs.sync.collecting.report import OnProgress

if TYPE_CHECKING:
    from vfs.remote.remote import Remote
    from vfs.store.store import Store

TRIES: Final = 20


@dataclass(slots=True)
class Outcome:
    """What an erase on a remote came to."""

    chunks: int = 0  # that the remote had and has no more
    packs: int = 0  # that were deleted, and their other objects written to new ones
    unknown_packs: int = 0
    """Packs without an index, which nobody can look into: of killed pushes, or of running ones."""


def erase_from_remote(
    store: Store,
    remote: Remote,
    on_progress: OnProgress = lambda *_: None,
    *,
    contents: frozenset[ObjectId] = frozenset(),
) -> Outcome:
    """Erase all that was erased from *store*, or by others from *remote*, wherever it lies there.

    *contents*: which contents that were, as entries name them, for those who fetch. Raises
    RemoteProblem for what is damaged, RemoteUnavailable; RemoteChanged where others clean up the
    remote again and again meanwhile.
    """
    outcome = Outcome()
    for left in reversed(range(TRIES)):
        try:
            remote.refresh()
            _tell(store, remote, contents)
            remote.look()
            # Again until there is nothing, as a push that was under way may have brought it.
            while doomed := _packs_with_erased(remote, outcome):
                _rewrite(remote, doomed, on_progress)
                outcome.packs += len(doomed)
                remote.refresh()
            break
        except RemoteChanged:
            if not left:
                raise
    indexed = {index.pack for index in remote.catalog.indexes()}
    packs = {pack_of_name(item.name) for item in remote.bucket.items(PACKS)}
    outcome.unknown_packs = len(packs - indexed - {None})
    return outcome


def _tell(store: Store, remote: Remote, contents: frozenset[ObjectId]) -> None:
    """Have the journal say what was erased from the store."""
    for ids in store.erasures.all().values():
        chunks = frozenset(ids) - remote.journal.state.erased.keys()
        erasure = store.erasures.reason(ids[0])
        if chunks and erasure is not None:
            reason = Reason(erasure.time_ns, erasure.reason)
            remote.note(notes.erased(reason, chunks=chunks, contents=contents))


def _packs_with_erased(remote: Remote, outcome: Outcome) -> frozenset[PackId]:
    erased = remote.journal.state.erased
    found: set[PackId] = set()
    chunks: set[ObjectId] = set()
    for index in remote.catalog.indexes():
        for oid in erased:
            place = index.find(oid, is_node=False)
            if place is not None and place.kind is Kind.CHUNK:  # a node is part of the versions
                found.add(index.pack)
                chunks.add(oid)
    outcome.chunks += len(chunks)
    return frozenset(found)


def _rewrite(remote: Remote, doomed: frozenset[PackId], on_progress: OnProgress) -> None:
    """Copy all else that these packs have, needed or not, and delete them."""
    erased = remote.journal.state.erased

    def stays(oid: ObjectId, kind: Kind) -> bool:
        return kind is not Kind.CHUNK or oid not in erased

    Copier(remote, doomed, stays, on_progress).run()
    for name in (index_name, pack_name):
        for _ in remote.workers.in_order(remote.bucket.delete, map(name, sorted(doomed))):
            pass
