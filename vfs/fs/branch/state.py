"""The state of a branch: inodes and names as the layers, the stored rows and the origin have them.

Whoever asks sees the newest layer that knows an inode or a name. All calls come from one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from vfs.errors import NotFound, StaleHandle
from vfs.fs.branch.layers import Layer
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra, directory_totals
from vfs.model.overlay import WHITEOUT, InodeRow
from vfs.recent import Recent

if TYPE_CHECKING:
    from vfs.repo.origin import Origin
    from vfs.store.overlayrows import OverlayRows

ROWS_CACHED: Final = 20_000  # about 1 KiB each


class State:
    """Inodes and names of one branch, and the layers that hold what is not stored yet."""

    def __init__(self, rows: OverlayRows, origin: Origin, *, pristine: bool) -> None:
        """*pristine*: nothing is stored in the overlay, so nothing needs to be looked up there."""
        self.rows = rows
        self.origin = origin
        self.dirty = Layer()
        self.frozen: Layer | None = None
        self._pristine = pristine
        self._kept: Recent[int, InodeRow] = Recent(ROWS_CACHED)

    # inodes

    def row(self, ino: int) -> InodeRow:
        """Return an inode. Raises StaleHandle when there is none."""
        found = self.dirty.inodes.get(ino)
        if found is not None:
            return found
        for layer in self._layers():
            if ino in layer.inodes:
                found = layer.inodes[ino]
                if found is None:
                    raise StaleHandle(f"the inode {ino} is gone")
                return found
        return self._kept.get(ino) or self._load(ino)

    def _layers(self) -> tuple[Layer, ...]:
        return (self.dirty,) if self.frozen is None else (self.dirty, self.frozen)

    def _load(self, ino: int) -> InodeRow:
        found = None if self._pristine else self.rows.inode(ino)
        if found is None:
            if not self.origin.is_base(ino):
                raise StaleHandle(f"there is no inode {ino}")
            try:
                entry, parent = self.origin.entry(ino)
            except NotFound as error:
                raise StaleHandle(str(error)) from None
            found = base_row(entry, parent)
        self._kept.put(ino, found)
        return found

    def base(self, ino: int, entry: Entry, parent: int) -> InodeRow:
        """Return the inode that *entry* of the origin has become."""
        for layer in self._layers():
            found = layer.inodes.get(ino)
            if found is not None:
                return found
        found = self._kept.get(ino)
        if found is None:
            found = (None if self._pristine else self.rows.inode(ino)) or base_row(entry, parent)
            self._kept.put(ino, found)
        return found

    def put(self, ino: int, row: InodeRow, *, counts: bool = True) -> None:
        """Change an inode; *counts* if a commit would hold the change."""
        self.dirty.inodes[ino] = row
        if counts:
            self.dirty.changed.add(ino)

    def drop(self, ino: int) -> None:
        """Forget an inode that has no name and no user any more."""
        dirty = self.dirty
        if ino in dirty.born:
            dirty.born.discard(ino)
            dirty.inodes.pop(ino, None)
        else:
            dirty.inodes[ino] = None
        dirty.names_changed -= len(dirty.names.pop(ino, ()))
        dirty.links.pop(ino, None)
        dirty.changed.discard(ino)
        self.drop_content(ino)

    def drop_content(self, ino: int) -> None:
        """Forget what was written to an inode since the last checkpoint."""
        layer = self.dirty.files.pop(ino, None)
        if layer is not None:
            self.dirty.bytes -= layer.runs.size

    # names

    def find(self, directory: int, name: bytes) -> int:
        """Return the inode behind a name, or 0."""
        for layer in self._layers():
            names = layer.names.get(directory)
            if names is not None and name in names:
                return names[name]
            if directory in layer.born:
                return WHITEOUT
        if not self._pristine:
            stored = self.rows.name(directory, name)
            if stored is not None:
                return stored
        if self.origin.is_base(directory):
            found = self.origin.find(directory, name)
            if found is not None:
                return found[0]
        return WHITEOUT

    def put_name(self, directory: int, name: bytes, ino: int) -> None:
        """Let a name lead to an inode, or nowhere (0)."""
        names = self.dirty.names.get(directory)
        if names is None:
            names = self.dirty.names[directory] = {}
        self.dirty.names_changed += name not in names
        names[name] = ino

    def changed_names(self, directory: int) -> dict[bytes, int]:
        """Return the names of a directory that differ from the origin's."""
        names = {} if self._pristine else dict(self.rows.names(directory))
        for layer in reversed(self._layers()):
            names.update(layer.names.get(directory, {}))
        return names

    def is_empty(self, directory: int) -> bool:
        """Say whether nothing is in a directory."""
        names = self.changed_names(directory)
        if any(names.values()):
            return False
        if not self.origin.is_base(directory):
            return True
        return all(name in names for name, _, _ in self.origin.walk(directory))

    # hard links

    def names_of(self, ino: int) -> list[tuple[int, bytes]]:
        """Return all names of an inode that has, or had, several; the newest state."""
        known: dict[tuple[int, bytes], bool] = {}
        if not self._pristine:
            known.update(dict.fromkeys(self.rows.links(ino), True))
        for layer in reversed(self._layers()):
            known.update(layer.links.get(ino, {}))
        return [place for place, there in known.items() if there]

    def put_link(self, ino: int, directory: int, name: bytes, *, there: bool) -> None:
        """Note that an inode of several names has, or no longer has, this one."""
        self.dirty.links.setdefault(ino, {})[directory, name] = there

    # layers

    def freeze(self) -> Layer:
        """Begin a new layer; return the one that was written to until now."""
        assert self.frozen is None
        self.frozen, self.dirty = self.dirty, Layer()
        return self.frozen

    def stored(self) -> None:
        """Note that the frozen layer is stored."""
        assert self.frozen is not None
        for ino, row in self.frozen.inodes.items():
            if row is not None:
                self._kept.put(ino, row)
            else:
                self._kept.pop(ino)
        self.frozen = None
        self._pristine = False

    def not_stored(self) -> None:
        """Take the frozen layer back."""
        assert self.frozen is not None
        self.frozen.put_under(self.dirty)
        self.frozen = None


def base_row(entry: Entry, parent: int) -> InodeRow:
    """Return an inode as it is in the origin."""
    extra = Extra.decode(entry.extra)
    nlink = 1
    if entry.is_dir:
        nlink = 2 + directory_totals(entry).subdirs
    elif extra.link is not None:
        nlink = extra.link.nlink
    content = entry.content if entry.is_file else NO_CONTENT
    size = entry.size if entry.is_file else 0
    return InodeRow(
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        nlink=nlink,
        rdev=extra.rdev,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        ctime_ns=entry.mtime_ns,
        atime_ns=entry.mtime_ns,
        content=content,
        flags=entry.flags,
        content_bytes=size,
        visible=size,
        holes=extra.holes,
        patches=0,
        parent=parent,
        name=entry.name,
        group=extra.link.group if extra.link else b"",
        target=extra.target,
        xattrs=extra.xattrs,
    )


def merged(
    changed: dict[bytes, int], base: Iterable[tuple[bytes, int, Entry]]
) -> Iterator[tuple[bytes, int, Entry | None]]:
    """Yield the names of a directory in order: the origin's, and those that changed."""
    ours = sorted(name for name, ino in changed.items() if ino)
    at = 0
    for name, ino, entry in base:
        while at < len(ours) and ours[at] <= name:
            yield ours[at], changed[ours[at]], None
            at += 1
        if name not in changed:
            yield name, ino, entry
    for name in ours[at:]:
        yield name, changed[name], None
