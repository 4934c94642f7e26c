"""The past of what is in a branch: of what is as its last commit has it, at the same path."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from vfs.errors import NoData
from vfs.fs.past import Past, Subject
from vfs.ids import NO_CONTENT, Number
from vfs.model.entry import Extra
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.repo.history import entry_or_none
from vfs.repo.repository import Repository
from vfs.store.layout import Slot

if TYPE_CHECKING:
    from vfs.fs.branch.state import State
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.model.overlay import InodeRow
    from vfs.repo.treepaths import Path
    from vfs.store.store import Store


class Asked(NamedTuple):
    """What a branch knows of an inode at one moment, before anything is read from the store."""

    ino: int
    row: InodeRow
    path: Path | None
    linked: Entry | None  # without a path: of several names in the origin, none of them touched
    is_changed: bool  # since the last checkpoint that is stored


def asked(state: State, ino: int) -> Asked:
    """Return what is known of *ino*. In the loop's thread. Raises NoData, StaleHandle."""
    row = state.row(ino)
    layers = (state.dirty,) if state.frozen is None else (state.dirty, state.frozen)
    is_changed = any(ino in layer.changed for layer in layers)
    path = _path(state, ino, row)
    linked = state.origin.entry(ino)[0] if path is None else None
    return Asked(ino, row, path, linked, is_changed)


def _path(state: State, ino: int, row: InodeRow) -> Path | None:
    if not row.nlink:
        raise NoData("it has no name any more")
    parent, name = row.parent, row.name
    if row.nlink > 1 and not stat.S_ISDIR(row.mode):
        places = state.names_of(ino)
        if not places:
            return None
        parent, name = min(places)
    names = []
    while ino != ROOT_INO:
        names.append(name)
        ino = parent
        above = state.row(ino)
        parent, name = above.parent, above.name
    return tuple(reversed(names))


class BranchPast:
    """Answers for one branch. In any thread, but one at a time."""

    def __init__(self, store: Store, data_set: str, branch: str, overlay: int) -> None:
        self._store = store
        self._data_set, self._branch = data_set, branch
        self._repo = Repository(store)
        self._rows = store.overlays.rows(overlay)
        self._past = Past(self._repo)

    def answer(self, name: bytes, what: Asked) -> bytes:
        """Return the attribute *name*. Raises NoData, CorruptObject."""
        header = self._store.overlays.header(self._data_set, self._branch)
        if header is None or header.head is None:
            slot = Slot(NO_CONTENT, self._data_set, self._branch)
            return self._past.answer(name, Subject(entry=None, slot=slot))
        slot = Slot(header.head, self._data_set, self._branch)
        entry = None
        if not what.is_changed and not self._rows.is_marked(what.ino):
            entry = self._committed(header.head, what)
        number = Number(what.ino ^ LINKED_INO) if what.path is None else None
        subject = Subject(entry=entry, slot=slot, path=what.path, number=number)
        return self._past.answer(name, subject)

    def _committed(self, head: ObjectId, what: Asked) -> Entry | None:
        """Return what the last commit has of an inode, if that is what it is now."""
        if what.path is None:
            return what.linked
        entry = entry_or_none(self._repo.nodes, self._repo.commit(head).root, what.path)
        return entry if entry is not None and _is_same(what.row, entry) else None


def _is_same(row: InodeRow, entry: Entry) -> bool:
    """Say whether an inode without a mark is what *entry* was made of: not moved there since."""
    if (row.mode, row.uid, row.gid, row.mtime_ns) != entry[1:5]:
        return False
    if entry.is_dir:
        return True
    extra = Extra.decode(entry.extra)
    if (row.size, row.target, row.rdev, row.xattrs) != (
        entry.size,
        extra.target,
        extra.rdev,
        extra.xattrs,
    ):
        return False
    # Patches stay in their rows although a commit has them in the content.
    is_plain = not row.patches and row.visible == row.content_bytes == row.size
    return not is_plain or row.content == entry.content
