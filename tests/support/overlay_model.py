"""A branch in plain Python that writes its rows as a serving process does, for tests of commits."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.trees import MTIME_NS, store_file
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra
from vfs.model.overlay import NEW_INO, PATCH_BYTES, ROOT_INO, WHITEOUT, InodeRow, OverlayHeader
from vfs.repo.origin import Origin
from vfs.repo.repository import Repository
from vfs.repo.trees import TreeBuilder
from vfs.store.overlaybatch import OverlayBatch

Place = tuple[int, bytes]
Path = tuple[bytes, ...]


@dataclass
class Inode:
    """What a file system knows of an inode."""

    mode: int
    data: bytes = b""  # of a file; of a symlink its target
    uid: int = 1
    gid: int = 2
    mtime_ns: int = MTIME_NS
    rdev: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    places: set[Place] = field(default_factory=set)
    group: bytes = b""
    stored: InodeRow | None = None  # as the overlay has it

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def attributes(self) -> tuple[object, ...]:
        """What must come back after a commit."""
        data = None if self.is_dir else self.data
        nlink = 1 if self.is_dir else len(self.places)
        xattrs = tuple(sorted(self.xattrs.items()))
        return self.mode, self.uid, self.gid, self.mtime_ns, data, self.rdev, nlink, xattrs


class ModelBranch:
    """One mounted branch; `flush` is a checkpoint."""

    def __init__(self, repo: Repository, data_set: str = "data", branch: str = "main") -> None:
        self.repo = repo
        self.where = data_set, branch
        self.header: OverlayHeader = repo.store.overlays.open(data_set, branch)
        root = None if self.header.origin is None else repo.commit(self.header.origin).root
        self.origin = Origin(repo.nodes, root, repo.store.numbering)
        self.inodes: dict[int, Inode] = {}
        self.children: dict[int, dict[bytes, int]] = {}
        self._load(ROOT_INO, self.origin.root)
        self.next_ino = self.header.next_ino
        self.clock = MTIME_NS
        self._begin()

    def _begin(self) -> None:
        self.names: set[Place] = set()
        self.changed: set[int] = set()
        self.removed: set[int] = set()
        self.links: set[tuple[int, Place]] = set()

    def _load(self, ino: int, entry: Entry) -> None:
        extra = Extra.decode(entry.extra)
        node = self.inodes.setdefault(
            ino,
            Inode(
                entry.mode, extra.target, entry.uid, entry.gid, entry.mtime_ns, extra.rdev,
                dict(extra.xattrs), group=extra.link.group if extra.link else b"",
            ),
        )  # fmt: skip
        if entry.is_file:
            node.data = b"".join(self.repo.read_file(entry))
            size = entry.size
            node.stored = self._row(ino, node, (0, b""))._replace(
                content=entry.content, flags=entry.flags, content_bytes=size, visible=size,
                holes=extra.holes,
            )  # fmt: skip
        if entry.is_dir:
            self.children[ino] = {}
            for name, child, below in self.origin.walk(ino):
                self.children[ino][name] = child
                self._load(child, below)
                self.inodes[child].places.add((ino, name))

    # looking

    def paths(self) -> dict[Path, int]:
        """Return all inodes by path."""
        return dict(self._paths(ROOT_INO, ()))

    def _paths(self, directory: int, path: Path) -> Iterator[tuple[Path, int]]:
        yield path, directory
        for name, ino in self.children[directory].items():
            if self.inodes[ino].is_dir:
                yield from self._paths(ino, (*path, name))
            else:
                yield (*path, name), ino

    def at(self, path: Path) -> int:
        ino = ROOT_INO
        for name in path:
            ino = self.children[ino][name]
        return ino

    # changing

    def _touch(self, *inos: int) -> None:
        self.clock += 1
        for ino in inos:
            self.inodes[ino].mtime_ns = self.clock
            self.changed.add(ino)

    def make(self, place: Place, mode: int, data: bytes = b"", rdev: int = 0) -> int:
        directory, name = place
        assert name not in self.children[directory]
        ino = NEW_INO | self.next_ino
        self.next_ino += 1
        self.inodes[ino] = Inode(mode, data, rdev=rdev)
        if stat.S_ISDIR(mode):
            self.children[ino] = {}
        self._name(place, ino)
        self._touch(ino)
        return ino

    def _name(self, place: Place, ino: int) -> None:
        """Let a name lead to an inode, or nowhere (0)."""
        directory, name = place
        old = self.children[directory].pop(name, 0)
        if ino:
            self.children[directory][name] = ino
            self._know_links(ino)
            self.inodes[ino].places.add(place)
            self.links.add((ino, place))
            self.changed.add(ino)
        if old and old != ino:
            self._know_links(old)
            self.inodes[old].places.discard(place)
            self.links.add((old, place))
            self.changed.add(old)
            if not self.inodes[old].places:
                self.removed.add(old)
        self.names.add(place)
        self._touch(directory)

    def _know_links(self, ino: int) -> None:
        """Write all names of an inode when one of them changes, as it may be one of the origin."""
        self.links.update((ino, place) for place in self.inodes[ino].places)

    def remove(self, place: Place) -> None:
        self._name(place, 0)

    def rename(self, old: Place, new: Place) -> None:
        ino = self.children[old[0]][old[1]]
        if self.children[new[0]].get(new[1]) == ino:
            return
        self._name(old, 0)
        self.removed.discard(ino)
        self._name(new, ino)

    def exchange(self, one: Place, other: Place) -> None:
        a, b = self.children[one[0]][one[1]], self.children[other[0]][other[1]]
        for place, ino in ((one, b), (other, a)):
            self._name(place, ino)
            self.removed.discard(ino)
        self.removed -= {a, b}

    def link(self, ino: int, place: Place) -> None:
        self._name(place, ino)

    def write(self, ino: int, data: bytes) -> None:
        self.inodes[ino].data = data
        self._know_links(ino)
        self._touch(ino)

    def change(self, ino: int, **attributes: object) -> None:
        for name, value in attributes.items():
            setattr(self.inodes[ino], name, value)
        self._know_links(ino)
        self.changed.add(ino)

    # storing

    def flush(self, *, patch: bool = False) -> None:
        """Write what changed; with *patch*, changes of contents as patches where they can be."""
        batch = OverlayBatch(next_ino=self.next_ino, changed_names=set(self.names))
        for ino in self.removed:
            batch.inodes[ino] = None
            self.children.pop(ino, None)
            self.inodes.pop(ino)
        for ino in self.changed - self.removed:
            batch.inodes[ino] = self._store(ino, batch, patch=patch)
            batch.changed_inodes.add(ino)
        for directory, name in self.names:
            ino = self.children.get(directory, {}).get(name, 0)
            batch.names[directory, name] = ino or self._absence(directory, name)
        for ino, place in self.links:
            if ino not in self.removed:
                places = self.inodes[ino].places
                batch.links[ino, *place] = (
                    len(places) > 1 and place in places and not self.inodes[ino].is_dir
                )
        self.header = self.repo.store.overlays.write(*self.where, self.header.id, batch)
        self._begin()

    def _absence(self, directory: int, name: bytes) -> int | None:
        hides = self.origin.is_base(directory) and self.origin.find(directory, name) is not None
        return WHITEOUT if hides else None

    def _row(self, ino: int, node: Inode, place: Place) -> InodeRow:
        nlink = len(node.places)
        if node.is_dir:
            nlink = 2 + sum(self.inodes[child].is_dir for child in self.children[ino].values())
        xattrs = tuple(sorted(node.xattrs.items()))
        is_link = stat.S_ISLNK(node.mode)
        size = 0 if node.is_dir else len(node.data)
        return InodeRow(
            node.mode, node.uid, node.gid, nlink, node.rdev, size, node.mtime_ns, 0, 0, NO_CONTENT,
            0, 0, 0, 0, 0, *place, node.group, node.data if is_link else b"", xattrs,
        )  # fmt: skip

    def _store(self, ino: int, batch: OverlayBatch, *, patch: bool) -> InodeRow:
        node = self.inodes[ino]
        row = self._row(ino, node, min(node.places, default=(ROOT_INO, b"")))
        if not stat.S_ISREG(node.mode):
            return row
        old = node.stored
        if not patch or old is None:
            with self.repo.store.ingest() as ingest:
                entry = store_file(ingest, b"f", node.data)
            batch.cuts[ino] = 0
            size = entry.size
            old = row._replace(content_bytes=size, visible=size, content=entry.content,
                               flags=entry.flags, patches=0, holes=0)  # fmt: skip
        else:
            old = self._patch(ino, node.data, old, batch)
        node.stored = row._replace(
            content=old.content, flags=old.flags, content_bytes=old.content_bytes,
            visible=old.visible, holes=old.holes, patches=old.patches,
        )  # fmt: skip
        return node.stored

    def _patch(self, ino: int, data: bytes, old: InodeRow, batch: OverlayBatch) -> InodeRow:
        """Patch every page of which the content below says something else."""
        below = Entry(
            b"f", stat.S_IFREG, 0, 0, 0, old.content_bytes, old.content, old.flags, b""
        )  # fmt: skip
        visible = min(old.visible, len(data))
        was = b"".join(self.repo.read_file(below))[:visible].ljust(len(data), b"\0")
        batch.cuts[ino] = 0
        count = 0
        for at in range(0, len(data), PATCH_BYTES):
            page = data[at : at + PATCH_BYTES]
            if page != was[at : at + PATCH_BYTES]:
                batch.patches[ino, at // PATCH_BYTES] = page.ljust(PATCH_BYTES, b"\0")
                count += 1
        return old._replace(visible=visible, patches=count)


# what was committed


def committed(repo: Repository, root: Entry) -> dict[Path, tuple[Entry, tuple[object, ...]]]:
    """Return all entries of a version by path, with the attributes that `Inode` has."""
    found: dict[Path, tuple[Entry, tuple[object, ...]]] = {}

    def add(path: Path, entry: Entry) -> None:
        extra = Extra.decode(entry.extra)
        data = None if entry.is_dir else extra.target
        if entry.is_file:
            data = b"".join(repo.read_file(entry))
        nlink = extra.link.nlink if extra.link else 1
        found[path] = (
            entry,
            (entry.mode, entry.uid, entry.gid, entry.mtime_ns, data, extra.rdev, nlink,
             extra.xattrs),
        )  # fmt: skip
        if entry.is_dir:
            for child in repo.entries(entry.content):
                add((*path, child.name), child)

    add((), root)
    return found


def built_anew(repo: Repository, root: Entry) -> Entry:
    """Return the root of a version as it comes out when all its trees are built from nothing."""
    with repo.store.ingest() as ingest:

        def build(entry: Entry) -> Entry:
            if not entry.is_dir:
                return entry
            builder = TreeBuilder(ingest)
            for child in repo.entries(entry.content):
                builder.add(build(child))
            tree, totals = builder.finish()
            xattrs = Extra.decode(entry.extra).xattrs
            extra = Extra(totals=totals, xattrs=xattrs).encode()
            return entry._replace(content=tree, extra=extra)

        return build(root)


def assert_committed(repo: Repository, branch: ModelBranch) -> None:
    """Check that the branch's head is what the model holds, links included."""
    root = repo.commit(repo.resolve(*branch.where).commit).root
    found = committed(repo, root)
    paths = branch.paths()
    assert found.keys() == paths.keys()
    for path, ino in paths.items():
        assert found[path][1] == branch.inodes[ino].attributes, path
    linked = {
        path: entry._replace(name=b"")
        for path, (entry, _) in found.items()
        if Extra.decode(entry.extra).link is not None
    }
    for one, entry in linked.items():
        for other, same in linked.items():
            assert (entry == same) == (paths[one] == paths[other]), (one, other)
    assert built_anew(repo, root) == root
