"""Snapshots: directories by their position, files by their number. Nothing in here ever changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs.errors import CorruptObject, NoData, NotFound, NotSupported, ReadOnly, VfsError
from vfs.fs.attrs import BLOCK_BYTES, Attr, Statfs, directory_attr, file_attr
from vfs.fs.lookahead import LookAhead
from vfs.fs.neighbours import BATCH_BYTES, FILE_MAX_BYTES, Neighbours
from vfs.fs.nodes import is_position, position, split_position
from vfs.fs.past import Past, Subject
from vfs.fs.trace import paths_of
from vfs.ids import Number, ObjectId
from vfs.model.entry import PAST_XATTRS, Entry, Extra
from vfs.model.node import Leaf, identity
from vfs.recent import Recent
from vfs.repo.blobs import FileReader
from vfs.repo.repository import Repository
from vfs.repo.treepaths import Path
from vfs.repo.trees import Found, Place, find, find_directory, walk
from vfs.store.layout import Slot
from vfs.store.objects import IsWanted, NotHere
from vfs.store.shown import ShownSlots

if TYPE_CHECKING:
    from vfs.sync.ondemand import Patience

CACHED_BYTES: Final = 4 << 20  # of directories, and as many of files: about 8,000 each
_DOTS: Final = 2  # offsets of "." and ".." in a listing

LABEL: Final = b"security.selinux"
"""`ls -l` asks each file for it, until it hears that a file system has no such thing: one of two
requests. (The other, for the access control list, the kernel remembers, and has to be answered.)"""


class Directory(NamedTuple):
    """A directory at its position."""

    slot: int
    rank: int
    parent_rank: int  # its own for the root of a revision
    entry: Entry

    @property
    def node(self) -> int:
        """Return the node id."""
        return position(self.slot, self.rank)


class Snapshots:
    """All that lies below the roots of revisions. Implements `View` for those nodes."""

    def __init__(self, repo: Repository, shown: ShownSlots | None = None) -> None:
        """*shown*: where it is noted which versions have to stay, as the kernel knows them."""
        self.repo = repo
        self._shown = shown
        self._files = FileReader(repo.reader)
        self._number = repo.store.numbering.number
        self._directories: Recent[int, Directory] = Recent(CACHED_BYTES)
        self._files_read: Recent[int, Entry] = Recent(CACHED_BYTES)
        self._neighbours = Neighbours()
        self._located: tuple[int, ObjectId, Leaf, int] | None = None  # the file found last
        self._newest_slot = 0  # of those that were looked at here
        self._past = Past(repo)
        self._only: Slot | None = None  # the version that all of this is, if there is but one
        supply = repo.store.bring
        self._lookahead = (
            None if supply is None else LookAhead(self._files, supply, repo.reader.has)
        )

    # objects that a remote has

    def wait_for_objects(self, *, wait: bool) -> None:
        self.repo.reader.waits = wait

    @contextmanager
    def waiting(self) -> Iterator[None]:
        before, self.repo.reader.waits = self.repo.reader.waits, True
        try:
            yield
        finally:
            self.repo.reader.waits = before

    def bring(self, oid: ObjectId, wanted: IsWanted) -> None:
        assert self.repo.store.bring is not None
        self.repo.store.bring(oid, wanted)

    # directories

    def root(self, slot: int) -> Directory:
        """Return the root directory of a slot. Raises NotFound."""
        return self.directory(position(slot, 0))

    def slot(self, number: int) -> Slot:
        """Return what a slot stands for. Raises NotFound."""
        slot = self.repo.store.refs.slot(number)
        if slot is None:
            raise NotFound(f"there is no root {number}")
        return slot

    def directory(self, node: int) -> Directory:
        """Return the directory at the position *node*. Raises NotFound."""
        found = self._directories.get(node)
        if found is None:
            found = self._descend(node)
            self._keep(found)
        return found

    def _descend(self, node: int) -> Directory:
        slot, rank = split_position(node)
        if self._shown is not None:
            self._shown.note(slot)
        if slot > self._newest_slot:
            # What came with this root may have brought collisions of inode numbers.
            self.repo.store.numbering.refresh()
            self._newest_slot = slot
        root = self.repo.commit(self.slot(slot).commit).root
        here = Directory(slot, 0, 0, root)
        nodes = self.repo.nodes
        while here.rank != rank:
            below = here.rank + 1
            entry, nth = find_directory(nodes, nodes.enter(here.entry), rank - below)
            here = Directory(slot, below + nth, here.rank, entry)
        return here

    def _keep(self, directory: Directory) -> None:
        self._directories.put(directory.node, directory, _weight(directory.entry))

    def _child(self, parent: Directory, place: Place | Found, entry: Entry) -> Directory:
        rank = parent.rank + 1 + place.dirs_before
        return Directory(parent.slot, rank, parent.rank, entry)

    def _attr(self, directory: Directory) -> Attr:
        node = directory.node
        # A root has a number of its own, or tools that watch for cycles would see one.
        number = self._number(identity(directory.entry)) if directory.rank else node
        return directory_attr(directory.entry, node, number)

    # files

    def file(self, node: int) -> Entry:
        """Return the entry of a file by its number. Raises NotFound."""
        entry = self._files_read.get(node)
        if entry is None:
            place, leaf, index = self._locate(node)
            if self._number(leaf.identity(index)) != node:
                # A damaged row would lead to another file's content.
                raise CorruptObject(f"the table of inode numbers is damaged at {node}")
            entry = leaf.entry(index)
            self._files_read.put(node, entry, _weight(entry))
            self._located = node, place, leaf, index
        return entry

    def _locate(self, node: int) -> tuple[ObjectId, Leaf, int]:
        place = self.repo.store.numbering.locate(Number(node))
        if place is None:
            raise NotFound(f"there is no inode {node}")
        leaf = self.repo.nodes.get(place[0])
        if not isinstance(leaf, Leaf) or place[1] >= len(leaf):
            raise CorruptObject("the table of inode numbers is damaged")
        return place[0], leaf, place[1]

    # the calls of a View

    @property
    def notes_opens(self) -> bool:
        return False

    def keeps_listing(self, node: int) -> bool:
        return True

    def lookup(self, parent: int, name: bytes) -> Attr:
        if name == b"." and not is_position(parent):
            return self.getattr(parent)
        directory = self.directory(parent)
        if name == b".":
            return self._attr(directory)
        if name == b"..":
            return self._attr(self.directory(position(directory.slot, directory.parent_rank)))
        nodes = self.repo.nodes
        place = find(nodes, nodes.enter(directory.entry), name)
        if place is None:
            raise NotFound(f"there is no {name!r}")
        entry = place.entry
        if entry.is_dir:
            child = self._child(directory, place, entry)
            self._keep(child)
            return self._attr(child)
        number = self._number(place.leaf.identity(place.leaf_index))
        # It is mostly read next: 21 us of lookup and read instead of 29 where it comes here again.
        self._files_read.put(number, entry, _weight(entry))
        return file_attr(entry, number)

    def getattr(self, node: int, pid: int = 0) -> Attr:
        if not is_position(node):
            return file_attr(self.file(node), node)
        return self._attr(self.directory(node))

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        directory = self.directory(node)
        if offset < 1:
            yield b".", self._attr(directory), 1
        if offset < _DOTS:
            parent = self.directory(position(directory.slot, directory.parent_rank))
            yield b"..", self._attr(parent), _DOTS
        number, nodes = self._number, self.repo.nodes
        for place in walk(nodes, nodes.enter(directory.entry), max(offset - _DOTS, 0)):
            leaf, at, index, *_ = place
            entry = leaf.entry(at)
            if entry.mode & 0o170000 == 0o040000:
                node = self._child(directory, place, entry).node
                attr = directory_attr(entry, node, number(leaf.identity(at)))
            else:
                attr = file_attr(entry, number(leaf.identity(at)))
            yield entry.name, attr, index + _DOTS + 1

    def readlink(self, node: int) -> bytes:
        target = Extra.decode(self.file(node).extra).target
        if not target:
            raise NotSupported("not a symlink")
        return target

    def open(self, node: int) -> None:
        """Do nothing: whether there is such a file shows when it is read."""

    def read(self, node: int, offset: int, length: int) -> list[bytes]:
        entry = self.file(node)
        try:
            if self._lookahead is not None:
                self._lookahead.note(entry, offset, length)
            return self._files.pieces(entry, offset, length)
        except CorruptObject as error:
            with self.waiting():
                where = paths_of(self.repo, entry)
            raise CorruptObject(f"{where} can't be read at byte {offset}: {error}") from error

    def read_ahead(self, node: int) -> list[tuple[int, bytes]]:
        # Where the file was looked up just now, the kernel knows none that follow.
        if self._located is None or self._located[0] != node:
            return []
        _, place, leaf, index = self._located
        files: list[tuple[int, bytes]] = []
        room = BATCH_BYTES
        for at in self._neighbours.after(place, index, len(leaf)):
            entry = leaf.entry(at)
            if not entry.is_file or not 0 < entry.size <= FILE_MAX_BYTES:
                continue
            room -= entry.size
            if room < 0 or (self._lookahead and not self.repo.reader.has(entry.content)):
                break
            try:
                data = self._files.read(entry, 0, entry.size)
            except (NotHere, VfsError):  # it is said when the file is read
                break
            files.append((self._number(leaf.identity(at)), data))
        return files

    def getxattr(self, node: int, name: bytes) -> bytes:
        if name.startswith(PAST_XATTRS):
            with self.waiting():  # it may need very many
                return self._past.answer(name, self._subject(node))
        for key, value in self._xattrs(node):
            if key == name:
                return value
        if name == LABEL:
            raise NotSupported(f"{name!r} means nothing here")
        raise NoData(f"there is no attribute {name!r}")

    def listxattr(self, node: int) -> list[bytes]:
        return [key for key, _ in self._xattrs(node) if not key.startswith(PAST_XATTRS)]

    def _subject(self, node: int) -> Subject:
        """Return what is known of a node's past. Raises NoData."""
        if not is_position(node):
            return Subject(entry=self.file(node), slot=self._only, number=Number(node))
        directory = self.directory(node)
        return Subject(
            entry=directory.entry, slot=self.slot(directory.slot), path=self._path(directory)
        )

    def _path(self, directory: Directory) -> Path:
        names: list[bytes] = []
        while directory.rank:
            names.append(directory.entry.name)
            directory = self.directory(position(directory.slot, directory.parent_rank))
        return tuple(reversed(names))

    def _xattrs(self, node: int) -> tuple[tuple[bytes, bytes], ...]:
        entry = self.directory(node).entry if is_position(node) else self.file(node)
        return Extra.decode(entry.extra).xattrs

    def mkdir(self, parent: int, name: bytes) -> Attr:
        raise ReadOnly("a version never changes")

    def statfs(self) -> Statfs:
        total, free, available = self.repo.store.free_bytes()
        return Statfs(
            blocks=total // BLOCK_BYTES,
            bfree=free // BLOCK_BYTES,
            bavail=available // BLOCK_BYTES,
            files=self.repo.store.numbering.count(),
        )

    def close(self) -> None:
        self.repo.close()


def _weight(entry: Entry) -> int:
    """Return about how many bytes of memory an entry takes."""
    return 500 + len(entry.name) + len(entry.extra)


def open_shown(store: FilePath, patience: Patience | None) -> Repository:
    """Open a store to be shown; with *patience* it is a remote's cache, and filled as it is read.

    Raises StoreError.
    """
    if patience is None:
        return Repository.open(store, readonly=True)
    from vfs.sync.cache import open_cache  # noqa: PLC0415 - most mounts know no remote

    return open_cache(store, patience)
