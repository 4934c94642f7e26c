"""What a push confirmed to be on the remote of a cache: from then on it may be evicted here.

Marks (`vfs.store.unpushed`) are taken from below upwards: killed in between, what is left of them
is found by the next push of the same version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from vfs.store.identity import PROMISED
from vfs.sync.graph import below, outgoing

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository
    from vfs.store.layout import Kind

MARKS_AT_ONCE: Final = 5_000


def confirm(repo: Repository, remote: Remote, commits: Iterable[ObjectId]) -> None:
    """Note that what *commits* need is on *remote*, whose references lead to it.

    What was erased there was not sent, and stays marked. Raises CorruptObject for what is damaged.
    """
    store = repo.store
    promised = store.settings.get(PROMISED)
    if promised is None or promised.get("uuid") != remote.uuid:
        return
    erased = remote.journal.state.erased
    seen: set[ObjectId] = set()

    def is_settled(_kind: Kind, oid: ObjectId) -> bool:
        return oid in seen or oid in erased or not store.unpushed.has(oid)

    def names(kind: Kind, _oid: ObjectId, data: bytes) -> Iterator[tuple[Kind, ObjectId]]:
        return below(kind, data)

    for commit in commits:
        for _, oid, _ in outgoing(repo.reader, commit, is_settled, names):
            seen.add(oid)
            if len(seen) >= MARKS_AT_ONCE:
                store.unpushed.change(seen, None, None)
                seen.clear()
    store.unpushed.change(seen, None, None)
