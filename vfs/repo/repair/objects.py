"""Objects that are damaged or missing: stored again from wherever they are sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.blob import decode_blob_node
from vfs.model.commit import Commit
from vfs.model.node import decode_node
from vfs.repo.repair.sources import StoreSource
from vfs.store.layout import Kind, Location, unpack_location
from vfs.store.store import RowChange

if TYPE_CHECKING:
    from vfs.repo.fsck import Damage
    from vfs.repo.repair.sources import Source
    from vfs.store.held import HeldStore
    from vfs.store.store import Store

_DECODERS: Final = (
    (Kind.TREE, decode_node),
    (Kind.BLOB, decode_blob_node),
    (Kind.COMMIT, Commit.decode),
)
_NOUNS: Final = {
    Kind.CHUNK: "chunk",
    Kind.TREE: "tree node",
    Kind.BLOB: "list of chunks",
    Kind.COMMIT: "commit",
}


def drop_malformed(store: Store, *, dry_run: bool) -> list[str]:
    """Remove rows of the index that say no object, or no place: they lead nobody anywhere."""
    with store.held() as held:
        changes = [
            RowChange("objects", key, bytes(value), None)
            for key, value in held.rows("objects")
            if len(key) != ID_BYTES or _location(value) is None
        ]
        if not dry_run:
            store.mend(changes)
    what = f"the index of objects has {len(changes):,} rows less, which led nowhere"
    return [what] if changes else []


def repair_objects(
    store: Store, damages: Iterable[Damage], sources: Sequence[Source], *, dry_run: bool
) -> list[str]:
    """Store again each damaged object that one of *sources* has; say of each from where."""
    wanted = {ObjectId(bytes.fromhex(d.object)): d for d in damages if d.object is not None}
    with store.held() as held:
        misplaced = [oid for oid in wanted if _is_misplaced_tree(held, oid)]
    own = StoreSource(store, "the store itself")
    done = []
    with store.ingest(verify=True, when_erased="note") as ingest:
        for oid, damage in wanted.items():
            if oid not in misplaced and own.get(oid) is not None:
                continue  # it is sound, and its damage another one
            for source in (own, *sources):
                data = source.get(oid)
                if data is None:
                    continue
                kind = _kind_of(data)
                if not dry_run:
                    ingest.add_object(kind, data)
                what = f"the {_NOUNS[kind]} {oid.hex()} is stored again, from {source.name}"
                done.append(f"{_places(damage)}: {what}")
                break
    return done


def _is_misplaced_tree(held: HeldStore, oid: ObjectId) -> bool:
    """Say whether a tree node is in the index as something else, so that it has no numbers."""
    row = held.row("objects", oid)
    place = None if row is None else _location(row)
    if place is None or place.kind == Kind.TREE:
        return False
    data = StoreSource(held, "").get(oid)
    return data is not None and _kind_of(data) is Kind.TREE


def _kind_of(data: bytes) -> Kind:
    """Return what an object is.

    Bytes that are a tree leaf are stored as one, with their inode numbers, even if they are only
    the content of a file: who reads the file finds them all the same.
    """
    for kind, decode in _DECODERS:
        try:
            decode(data)
        except CorruptObject:
            continue
        return kind
    return Kind.CHUNK


def _location(row: memoryview) -> Location | None:
    try:
        return unpack_location(row)
    except CorruptObject:
        return None


def _places(damage: Damage) -> str:
    """Return where a damage is felt: one place, and how many more there are."""
    if not damage.places:
        return "in no version"
    more = len(damage.places) - 1 + damage.more
    return f"{damage.places[0]} and {more:,} more" if more else damage.places[0]
