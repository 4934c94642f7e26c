"""Taking marks from what was made in a cache and nothing needs any more: eviction does the rest.

What is written to a branch again and again leaves contents that no version ever gets. They are
found as garbage of a store is (docs/decisions/0005-gc.md): doubt what nothing leads to, wait for
writers that relied on it before, look once more, and let go of what is doubted still.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from vfs.clock import now_ns
from vfs.ids import ObjectId
from vfs.model.entry import FLAG_BLOB
from vfs.repo.gc.lock import collecting
from vfs.repo.gc.roots import overlay_contents, overlay_headers, overlay_trees
from vfs.store.layout import Kind
from vfs.store.refrows import unpack_update
from vfs.store.shown import shown_slots
from vfs.store.unpushed import DOUBTED, SURE, TABLE
from vfs.sync.graph import below

if TYPE_CHECKING:
    from vfs.store.held import HeldStore
    from vfs.store.store import Store


def release(store: Store, keep_s: int, on_wait: Callable[[], None] = lambda: None) -> int:
    """Let what nothing needs be evicted; return how many objects. To be killed at any moment.

    What branches and tags led to in the last *keep_s* seconds stays. *on_wait* is called when
    writers have to end first. Memory grows with what was not pushed: 0.1 KiB for an object. Raises
    Conflict while another process removes something, CorruptObject.
    """
    since_ns = now_ns() - keep_s * 1_000_000_000
    with collecting(store.path):
        store.overlays.sweep()
        store.unpushed.change(_unneeded(store, since_ns), SURE, DOUBTED)
        store.writers.begin_generation()
        store.writers.await_older(on_wait)
        going = _unneeded(store, since_ns)
        with store.held() as held:
            doubted = {
                ObjectId(bytes(key)) for key, mark in held.rows(TABLE) if bytes(mark) == DOUBTED
            }
        store.unpushed.change(doubted - going, DOUBTED, SURE)
        return store.unpushed.change(going, DOUBTED, None)


def _unneeded(store: Store, since_ns: int) -> set[ObjectId]:
    """Return what is marked, and nothing leads to."""
    shown = shown_slots(store.path)
    with store.held() as held:
        reader = held.reader()
        left = {ObjectId(bytes(key)) for key in held.keys(TABLE)}
        waiting = list(_roots(held, shown, since_ns))
        while waiting:
            kind, oid = waiting.pop()
            # Below what has no mark there is nothing that the remote does not have.
            if oid in left:
                left.remove(oid)
                if kind is not Kind.CHUNK:
                    waiting.extend(below(kind, reader.get(oid)))
    return left


def _roots(
    store: HeldStore, shown: Collection[int], since_ns: int
) -> Iterator[tuple[Kind, ObjectId]]:
    for commit in _commits(store, shown, since_ns):
        if commit is not None:
            yield Kind.COMMIT, commit
    for tree in overlay_trees(store):
        yield Kind.TREE, tree
    for content, flags in overlay_contents(store):
        yield Kind.BLOB if flags & FLAG_BLOB else Kind.CHUNK, content


def _commits(store: HeldStore, shown: Collection[int], since_ns: int) -> Iterator[ObjectId | None]:
    """Yield the versions that stay, and what is below them."""
    for ref in store.refs.all():
        yield ref.commit
    for key, value in store.rows("ref_log"):
        update = unpack_update(bytes(key), bytes(value))
        if update.time_ns >= since_ns:
            yield from (update.old, update.new)
    for number in shown:
        slot = store.refs.slot(number)
        if slot is not None and not slot.is_difference:
            yield slot.commit
    for _, header in overlay_headers(store):
        yield from (header.origin, header.head)
