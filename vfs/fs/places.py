"""The hub in which branches are mounted: each has a directory there that stays.

What is seen in such a directory while nothing is mounted on it is the branch as it was committed
last. Where a branch has changes on top of that, nothing is seen: it would be wrong.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vfs.errors import Conflict, NoData, NotFound, ReadOnly, StaleHandle, StoreError
from vfs.fs.attrs import Attr
from vfs.fs.hub import NAMES_TIMEOUT, Hub
from vfs.fs.nodes import ROOT, is_name, name_node, position
from vfs.fs.past import Subject
from vfs.fs.snapshot import open_shown
from vfs.model.names import DEFAULT_BRANCH
from vfs.repo.repository import Repository
from vfs.store.refrows import Ref
from vfs.store.shown import ShownSlots

if TYPE_CHECKING:
    from vfs.sync.ondemand import Patience

log = logging.getLogger(__name__)

_DOTS: Final = 2
_UNBORN: Final = 1 << 62  # offsets of a listing behind those of all references

Make = Callable[[str], None]
"""Makes what a name in the top directory is to stand for. Raises VfsError."""


IsMounted = Callable[[str, str, int], bool]
"""Says whether a branch is mounted by now; waits a moment for one that is about to be, unless it is
asked on behalf of the process that does it, by its id."""


class _Place(NamedTuple):
    """What a node id made of a name stands for.

    A data set without a version has a link to its only branch; while it is made, it is a directory,
    as that was asked for.
    """

    data_set: str
    branch: str
    kind: Literal["branch", "link", "made"] = "branch"

    @property
    def name(self) -> bytes:
        return f"{self.data_set}@{self.branch}".encode("ascii")


class HubWithBranches(Hub):
    """The top directory, snapshots, and a place for each branch."""

    _top_mode = 0o755

    def __init__(
        self,
        repo: Repository,
        make: Make,
        is_mounted: IsMounted,
        shown: ShownSlots | None = None,
    ) -> None:
        super().__init__(repo, shown)
        self._make = make
        self._is_mounted = is_mounted
        self._places: dict[int, _Place] = {}

    def lookup(self, parent: int, name: bytes) -> Attr:
        if is_name(parent):
            return self._lookup_below(parent, name)
        if parent == ROOT and (place := self._place_named(name)) is not None:
            return self._place_attr(place)
        return super().lookup(parent, name)

    def negative_timeout(self, parent: int) -> float:
        return 0 if is_name(parent) else super().negative_timeout(parent)

    def keeps_listing(self, node: int) -> bool:
        return not is_name(node) and super().keeps_listing(node)

    def getattr(self, node: int, pid: int = 0) -> Attr:
        if not is_name(node):
            return super().getattr(node, pid)
        place = self._place(node)
        if place.kind == "branch" and self._place_named(place.name) != place:
            raise NotFound(f"there is no {place.name!r} any more")
        if place.kind == "branch" and self._is_mounted(place.data_set, place.branch, pid):
            # Whoever came here by a path goes it once more (retry_estale in fs/namei.c), and comes
            # into the branch.
            raise StaleHandle("the branch is mounted on top of it")
        return self._place_attr(place)

    def readdir(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        if is_name(node):
            yield from self._readdir_below(node, offset)
            return
        yield from super().readdir(node, offset)
        if node == ROOT:
            unborn = sorted((self._node(place), place) for place in self._unborn())
            for number, place in unborn:
                after = _UNBORN | number & (_UNBORN - 1)
                if after > offset:
                    yield place.name, self._place_attr(place)._replace(entry_timeout=0), after

    def readlink(self, node: int) -> bytes:
        return self._place(node).name if is_name(node) else super().readlink(node)

    def listxattr(self, node: int) -> list[bytes]:
        return [] if is_name(node) else super().listxattr(node)

    def _xattrs(self, node: int) -> tuple[tuple[bytes, bytes], ...]:
        return () if is_name(node) else super()._xattrs(node)

    def _subject(self, node: int) -> Subject:
        if not is_name(node):
            return super()._subject(node)
        root = self._root_of(self._place(node))
        if root is None:
            raise NoData("there is no version yet")
        return super()._subject(root)

    def mkdir(self, parent: int, name: bytes) -> Attr:
        if parent != ROOT:
            raise ReadOnly("a version never changes")
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError:
            raise ReadOnly("no data set can have that name") from None
        self._make(text)
        data_set, _, branch = text.partition("@")
        place = _Place(data_set, branch) if branch else _Place(data_set, DEFAULT_BRANCH, "made")
        return self._place_attr(place)._replace(entry_timeout=0)

    def _make_difference(self, name: str) -> None:
        try:
            self._make(name)
        except StoreError as error:
            log.warning("%s", error)  # nobody is there who may write

    # places

    def _listed(self, ref: Ref) -> Attr:
        if ref.kind != "branch":
            return super()._listed(ref)
        attr = self._place_attr(_Place(ref.data_set, ref.name))
        return attr._replace(entry_timeout=0)

    def _place_named(self, name: bytes) -> _Place | None:
        if not name.isascii():
            return None
        data_set, at, branch = name.decode("ascii").partition("@")
        refs = self.repo.store.refs
        if at and (ref := refs.get(data_set, branch)) is not None:
            return _Place(data_set, branch) if ref.kind == "branch" else None
        if at and branch != DEFAULT_BRANCH:
            return None
        if not refs.has_data_set(data_set) or refs.of(data_set):
            return None
        return _Place(data_set, DEFAULT_BRANCH, "branch" if at else "link")

    def _unborn(self) -> list[_Place]:
        """Return the branches of data sets that have no version yet."""
        begun = {ref.data_set for ref in self._refs_by_slot()}
        names = (name for name in self.repo.data_sets() if name not in begun)
        return [_Place(name, DEFAULT_BRANCH) for name in names]

    def _node(self, place: _Place) -> int:
        return name_node(self.repo.store.numbering.number("\0".join(place).encode("ascii")))

    def _place(self, node: int) -> _Place:
        """Return what *node* stands for: another worker may have answered the look-up."""
        if node not in self._places:
            unborn = self._unborn()
            branches = [ref for ref in self._refs_by_slot() if ref.kind == "branch"]
            places = [_Place(ref.data_set, ref.name) for ref in branches] + unborn
            places += [place._replace(kind="link") for place in unborn]
            self._places = {self._node(place): place for place in places}
        try:
            return self._places[node]
        except KeyError:
            raise NotFound(f"there is no name {node}") from None

    def _place_attr(self, place: _Place) -> Attr:
        node = self._node(place)
        ref = self.repo.store.refs.get(place.data_set, place.branch)
        changed_ns = 0 if ref is None else ref.time_ns
        mode, nlink, size, blocks = stat.S_IFDIR | 0o755, 2, 4096, 8
        if place.kind == "link":
            mode, nlink, size, blocks = stat.S_IFLNK | 0o777, 1, len(place.name), 0
        uid, gid, timeout = os.getuid(), os.getgid(), NAMES_TIMEOUT
        # The attributes are not kept, so that whoever uses the directory asks for them (`getattr`).
        return Attr(node, node, mode, nlink, uid, gid, 0, size, blocks, changed_ns, timeout, 0)

    # what is seen of a branch that is not mounted

    def _root_of(self, place: _Place) -> int | None:
        """Return the node of a branch's last commit; None where there is none. Raises Conflict."""
        store = self.repo.store
        header = store.overlays.header(place.data_set, place.branch)
        if header is not None and header.dirty:
            raise Conflict(f"'{place.data_set}@{place.branch}' is not mounted, and has changes")
        ref = store.refs.get(place.data_set, place.branch)
        return None if ref is None else position(ref.slot, 0)

    def _lookup_below(self, node: int, name: bytes) -> Attr:
        place = self._place(node)
        if name == b".":
            return self._place_attr(place)
        if name == b"..":
            return self._top()
        root = self._root_of(place)
        if root is None:
            raise NotFound(f"there is no {name!r}")
        return super().lookup(root, name)._replace(entry_timeout=0)

    def _readdir_below(self, node: int, offset: int) -> Iterator[tuple[bytes, Attr, int]]:
        place = self._place(node)
        dots = [(b".", self._place_attr(place), 1), (b"..", self._top(), _DOTS)]
        yield from dots[offset:]
        root = self._root_of(place)
        if root is not None:
            for name, attr, after in super().readdir(root, max(offset, _DOTS)):
                yield name, attr._replace(entry_timeout=0), after


def open_hub_with_branches(
    store: Path,
    make: Make,
    is_mounted: IsMounted,
    shown: ShownSlots | None = None,
    patience: Patience | None = None,
) -> HubWithBranches:
    """Open a store, or with *patience* a remote's cache, and return its hub.

    Not to be held over a fork.
    """
    return HubWithBranches(open_shown(store, patience), make, is_mounted, shown)
