"""What an erase would do: which contents match, in which versions, and who else has their bytes.

Two walks through everything. The first one finds the contents that match; the second one looks
for their chunks in all files that do not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from vfs.errors import Erased
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import FLAG_BLOB, Entry
from vfs.repo.blobs import Content as FileContent
from vfs.repo.blobs import FileReader
from vfs.repo.erasing.patterns import Patterns
from vfs.repo.erasing.versions import (
    Branch,
    Version,
    all_versions,
    overlays,
    uncommitted_files,
)
from vfs.repo.erasing.walking import Walk
from vfs.repo.repository import Repository

if TYPE_CHECKING:
    from vfs.model.blob import BlobNode
    from vfs.repo.blobs import File
    from vfs.repo.erasing.query import Query
    from vfs.store.erasures import Moment
    from vfs.store.held import HeldStore

PLACES_KEPT: Final = 20  # of each content, to be shown

OnProgress = Callable[[str, int], None]
"""Is told what is being done, and how many of it were."""

_SYMLINK: Final = 0o120000


class Kept(NamedTuple):
    """A chunk that stays, as a file has it that was not asked for."""

    size: int
    place: str


@dataclass(slots=True)
class Content:
    """A content that matches."""

    oid: ObjectId
    flags: int
    size: int
    places: list[str] = field(default_factory=list)  # data@revision:path, some of them
    more: int = 0  # places that are not in the list
    kept_bytes: int = 0
    kept_for: list[str] = field(default_factory=list)  # some of those who have them, too
    erased_before: int = 0  # bytes that were gone already

    def found_at(self, place: str) -> None:
        """Note one more place."""
        if len(self.places) < PLACES_KEPT:
            self.places.append(place)
        else:
            self.more += 1


class Shown(NamedTuple):
    """Where a mount shows a content that matches."""

    data_set: str
    revision: str  # a commit in hex, or the branch that it was written to
    path: bytes
    content: ObjectId


@dataclass(slots=True)
class Plan:
    """What is to be done, as of one moment."""

    query: Query
    moment: Moment
    contents: list[Content]
    doomed: list[ObjectId]  # chunks
    versions: list[str]
    branches: list[Branch]  # with overlays that have pages of what matches, as rows
    shown: list[Shown]
    symlinks: int
    others: list[str]
    """With `shared` "erase": files that lose bytes though they don't match; of several that have
    the same chunk, one."""

    @property
    def bytes(self) -> int:
        """Return the sizes of all contents that match."""
        return sum(content.size for content in self.contents)

    @property
    def kept(self) -> list[Content]:
        """Return the contents that are not erased, or not all of them."""
        return [content for content in self.contents if content.kept_bytes]


def make_plan(repo: Repository, query: Query, on_progress: OnProgress) -> Plan:
    """Return what *query* comes to. Raises CorruptObject where damage hides what there is."""
    if query.data_set is not None:
        repo.require_data_set(query.data_set)
    with repo.store.held() as held:
        return _Planner(held, query, on_progress).plan()


class _Planner:
    """Makes one plan, of one snapshot."""

    def __init__(self, store: HeldStore, query: Query, on_progress: OnProgress) -> None:
        self._store = store
        self._repo = Repository(store)
        self._files = FileReader(self._repo.reader)
        self._query = query = _settled(self._repo, query)
        self._patterns = Patterns(query.paths)
        self._on_progress = on_progress
        self._contents: dict[ObjectId, Content] = {}
        self._asked: set[ObjectId] = set()  # of them, those that match wherever they are
        self._hashed: dict[ObjectId, bytes] = {}
        self._chunks: dict[ObjectId, int] = {}  # of all contents, with their sizes
        self._gone: dict[ObjectId, bool] = {}  # chunks that have tombstones: of an earlier erase?
        self._others: dict[ObjectId, str] = {}  # chunks that others have, too: one of these
        self._blobs: set[ObjectId] = set()  # nodes that were looked through for chunks
        self._shown: list[Shown] = []
        self._symlinks: set[tuple[ObjectId, bytes]] = set()

    def plan(self) -> Plan:
        """Return it."""
        versions = list(all_versions(self._repo, self._store))
        matching, branches = self._find_contents(versions)
        for content in self._contents.values():
            self._chunks |= self._chunks_of(content)
        self._gone = self._erased_before()
        if self._chunks:
            self._find_others(versions)
        keeps = self._query.shared != "erase"
        doomed = [oid for oid in self._chunks if not (keeps and oid in self._others)]
        for content in self._contents.values():
            self._account(content, keeps=keeps)
        return Plan(
            query=replace(self._query, contents=self._query.contents | self._asked, hashes={}),
            moment=self._store.erasures.moment(),
            contents=list(self._contents.values()),
            doomed=doomed,
            versions=matching,
            branches=branches,
            shown=self._shown,
            symlinks=len(self._symlinks),
            others=[] if keeps else sorted(set(self._others.values())),
        )

    # what matches

    def _find_contents(self, versions: list[Version]) -> tuple[list[str], list[Branch]]:
        """Return the versions with files that match, and the branches with pages of such."""
        matching = []
        by_content = bool(self._query.contents or self._query.hashes)
        finding = Walk(self._repo, self._patterns, self._take, everywhere=by_content)
        for done, version in enumerate(versions):
            self._on_progress("versions searched", done)
            if self._is_in_scope(version.data_set) and finding.enter(version):
                matching.append(version.label)
        branches = [
            branch
            for branch in overlays(self._store)
            if self._is_in_scope(branch.data_set) and self._take_uncommitted(branch)
        ]
        return matching, branches

    def _erased_before(self) -> dict[ObjectId, bool]:
        """Return the chunks that are erased, and whether by another erase than this one."""
        unfinished = self._store.erasures.unfinished()
        number = 0 if unfinished is None else unfinished[0]
        found = ((oid, self._store.erasures.reason(oid)) for oid in self._chunks)
        return {oid: erasure.number != number for oid, erasure in found if erasure is not None}

    def _is_in_scope(self, data_set: str) -> bool:
        return self._query.data_set in (None, data_set)

    def _take(self, version: Version, path: bytes, entry: Entry, is_match: bool) -> bool:
        """Note what the first walk comes to; say whether it matches."""
        if not entry.is_file:
            if is_match and entry.kind == _SYMLINK:
                self._symlinks.add((version.commit, path))
            return False
        if entry.content == NO_CONTENT or not (self._is_content_asked(entry) or is_match):
            return False
        self._found(entry, f"{version.label}:{os.fsdecode(path)}")
        self._shown.append(Shown(version.data_set, version.commit.hex(), path, entry.content))
        return True

    def _found(self, file: File, place: str) -> None:
        content = self._contents.get(file.content)
        if content is None:
            content = self._contents[file.content] = Content(file.content, file.flags, file.size)
        content.found_at(place)

    def _take_uncommitted(self, branch: Branch) -> bool:
        """Note what matches in an overlay; say whether it has pages of such."""
        has_pages = False
        for row, paths, has_patches in uncommitted_files(self._repo, branch):
            file = FileContent(row.content, row.flags, row.content_bytes, row.holes)
            is_match = any(self._is_match(path) for path in paths)
            if not (self._is_content_asked(file) or is_match):
                continue
            has_pages |= has_patches
            if file.oid != NO_CONTENT:
                for path in map(b"/".join, paths):
                    self._found(file, f"{branch.label} (branch):{os.fsdecode(path)}")
                    self._shown.append(Shown(branch.data_set, branch.name, path, file.oid))
        return has_pages

    def _is_match(self, path: tuple[bytes, ...]) -> bool:
        states = self._patterns.start
        for name in path:
            states = self._patterns.step(states, name)
        return self._patterns.is_match(states)

    def _is_content_asked(self, file: File) -> bool:
        """Say whether a file has a content that is asked for, and note that it has."""
        query = self._query
        is_asked = file.content in query.contents or file.content in query.hashes
        if not is_asked and file.flags & FLAG_BLOB:
            sizes = query.hashes.values()
            is_asked = (None in sizes or file.size in sizes) and self._hash(file) in query.hashes
        if is_asked and file.content != NO_CONTENT:
            self._asked.add(file.content)
        return is_asked

    def _hash(self, file: File) -> bytes:
        digest = self._hashed.get(file.content)
        if digest is None:
            hasher = blake3()
            try:
                for part in self._files.stream(file):
                    hasher.update(part)
                digest = hasher.digest()
            except Erased:
                digest = b""  # nobody can know any more
            self._hashed[file.content] = digest
        return digest

    # who else has it

    def _find_others(self, versions: list[Version]) -> None:
        looking = Walk(self._repo, self._patterns, self._look, everywhere=True)
        for done, version in enumerate(versions):
            self._on_progress("versions compared", done)
            self._look_at_node(version.commit, f"{version.label}, the version itself")
            looking.enter(version, in_scope=self._is_in_scope(version.data_set))
        for oid in looking.nodes():
            self._look_at_node(oid, "a directory")
        for branch in overlays(self._store):
            self._look_at_uncommitted(branch)

    def _look(self, version: Version, path: bytes, entry: Entry, is_match: bool) -> bool:
        """Note which chunks a file has that doesn't match."""
        if entry.is_file and not is_match and not self._matches(version.data_set, entry):
            self._look_at(entry, f"{version.label}:{os.fsdecode(path)}")
        return False

    def _look_at_uncommitted(self, branch: Branch) -> None:
        in_scope = self._is_in_scope(branch.data_set)
        for row, paths, _ in uncommitted_files(self._repo, branch):
            file = FileContent(row.content, row.flags, row.content_bytes, row.holes)
            if self._matches(branch.data_set, file):
                continue
            for path in paths or [()]:
                if not (in_scope and self._is_match(path)):
                    name = os.fsdecode(b"/".join(path)) or "an open file without a name"
                    self._look_at(file, f"{branch.label} (branch):{name}")

    def _matches(self, data_set: str, file: File) -> bool:
        """Say whether a file matches by its content."""
        return file.content in self._asked and self._is_in_scope(data_set)

    def _look_at(self, file: File, place: str) -> None:
        """Note which of the chunks a file at *place* has; blob nodes are looked at once."""
        if file.content == NO_CONTENT:
            return
        if not file.flags & FLAG_BLOB:
            self._look_at_node(file.content, place)
        elif self._is_new_blob(file.content, place):
            waiting = [self._files.root(file)]
            while waiting:
                self._look_at_spans(waiting.pop(), place, waiting)

    def _look_at_spans(self, node: BlobNode, place: str, waiting: list[BlobNode]) -> None:
        for index, span in enumerate(node.spans):
            if not node.level:
                self._look_at_node(span.content, place)
            elif self._is_new_blob(span.content, place):
                waiting.append(self._files.child(node, index))

    def _is_new_blob(self, oid: ObjectId, place: str) -> bool:
        self._look_at_node(oid, place)
        is_new = oid not in self._blobs
        self._blobs.add(oid)
        return is_new

    def _look_at_node(self, oid: ObjectId, place: str) -> None:
        """Note that an object is needed at *place*, if it is one of the chunks."""
        if oid in self._chunks and oid not in self._gone:
            self._others.setdefault(oid, place)

    def _chunks_of(self, content: Content) -> dict[ObjectId, int]:
        """Return the chunks of a content, with their sizes."""
        file = FileContent(content.oid, content.flags, content.size, 0)
        return {span.content: span.length for span in self._files.spans(file) if not span.is_hole}

    def _account(self, content: Content, *, keeps: bool) -> None:
        """Note what of a content stays, and for whom."""
        for oid, size in self._chunks_of(content).items():
            if keeps and oid in self._others:
                content.kept_bytes += size
                place = self._others[oid]
                if place not in content.kept_for and len(content.kept_for) < PLACES_KEPT:
                    content.kept_for.append(place)
            elif self._gone.get(oid):
                content.erased_before += size


def _settled(repo: Repository, query: Query) -> Query:
    """Return *query* with those hashes that are ids of contents as such: nothing is to be read."""
    known = {
        ObjectId(digest)
        for digest, size in query.hashes.items()
        if size is None
        and (repo.reader.has(ObjectId(digest)) or repo.store.erasures.reason(ObjectId(digest)))
    }
    hashes = {digest: size for digest, size in query.hashes.items() if digest not in known}
    return replace(query, contents=query.contents | known, hashes=hashes)
