"""The repository: data sets, revisions and commits of one store."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path as FilePath
from typing import Final, Literal, Self

from vfs.clock import now_ns
from vfs.errors import AlreadyExists, Conflict, ErasedMeanwhile, NotADirectory, NotFound
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.commit import JSON, Commit
from vfs.model.entry import Entry
from vfs.model.names import check_data_set_name, check_ref_name
from vfs.model.overlay import OverlayHeader
from vfs.repo import identity
from vfs.repo.blobs import FileReader
from vfs.repo.checkednodes import nodes_of
from vfs.repo.revisions import Resolved, Revisions, near_misses
from vfs.repo.revparse import parse_revision
from vfs.repo.treepaths import Path
from vfs.repo.trees import find, leaves
from vfs.store.ingest import Ingest
from vfs.store.layout import Kind
from vfs.store.refrows import Ref, RefUpdate
from vfs.store.refs import RefChange
from vfs.store.store import Store

COMMIT_TRIES: Final = 20
HINT_NAMES: Final = 10_000  # of a directory, to look for near misses in

MakeRoot = Callable[[Commit | None], Entry]


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit came to; `changed` is False where the version was there already."""

    commit: ObjectId
    changed: bool
    branch: str


class Repository:
    """An open store and what its objects mean. For one thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reader = store.reader()
        self.nodes = nodes_of(store, self.reader)
        self._files = FileReader(self.reader)
        self._revisions = Revisions(store.refs, self.commit)

    @classmethod
    def open(
        cls, path: FilePath, *, readonly: bool = False, map_bytes: int | None = None
    ) -> Repository:
        """Open the store at *path* (see `Store.open`). Raises StoreError."""
        return cls(Store.open(path, readonly=readonly, map_bytes=map_bytes))

    @classmethod
    def create(cls, path: FilePath) -> Repository:
        """Make a store at *path*. Raises AlreadyExists."""
        return cls(Store.create(path))

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # data sets and references

    def create_data_set(self, name: str) -> None:
        """Make an empty data set. Raises InvalidName, AlreadyExists."""
        self.store.refs.add_data_set(check_data_set_name(name), now_ns(), identity.who())

    def data_sets(self) -> list[str]:
        """Return the names of all data sets, sorted."""
        return self.store.refs.data_sets()

    def require_data_set(self, name: str) -> str:
        """Return *name*. Raises InvalidName, or NotFound with near misses."""
        check_data_set_name(name)
        if not self.store.refs.has_data_set(name):
            known = self.data_sets()
            raise NotFound(
                f"there is no data set '{name}'",
                hint=near_misses(name, known) or f"make it with: vfs create {name}",
            )
        return name

    def refs(self, data_set: str) -> list[Ref]:
        """Return the branches and tags of a data set, sorted by name."""
        return self.store.refs.of(self.require_data_set(data_set))

    def all_refs(self) -> list[Ref]:
        """Return the branches and tags of all data sets."""
        return self.store.refs.all()

    def reflog(self, data_set: str, name: str) -> list[RefUpdate]:
        """Return the updates of a branch or tag, the last one first."""
        return self.store.refs.log(self.require_data_set(data_set), name)

    def set_branch(
        self, data_set: str, name: str, commit: ObjectId, *, expected: ObjectId | None, why: str
    ) -> Ref:
        """Point a branch to *commit* if it points to *expected* (None: is to be made)."""
        check_ref_name(name)
        self.require_data_set(data_set)
        if expected is None and (old := self.store.refs.get(data_set, name)) is not None:
            raise AlreadyExists(f"there is a {old.kind} '{data_set}@{name}' already")
        change = RefChange(
            data_set=data_set, name=name, kind="branch", new=commit, expected=expected
        )
        return self._name(change, why)

    def set_tag(
        self, data_set: str, name: str, commit: ObjectId, *, force: bool = False, why: str
    ) -> Ref:
        """Tag *commit*. A tag never moves unless *force*. Raises AlreadyExists."""
        self.require_data_set(data_set)
        old = self.check_tag(data_set, name, commit, force=force)
        if old is not None and old.commit == commit:
            return old
        return self._name(_tag_change(data_set, name, commit, old, force=force), why)

    def check_tag(
        self, data_set: str, name: str, commit: ObjectId | None = None, *, force: bool = False
    ) -> Ref | None:
        """Return the tag *name* as it is now. Raises AlreadyExists unless it can be set.

        *commit* is what it is to be set to, None for a commit that is still to be made.
        """
        check_ref_name(name)
        old = self.store.refs.get(data_set, name)
        if old is None:
            return None
        if old.kind != "tag":
            raise AlreadyExists(f"there is a branch '{data_set}@{name}' already")
        if not force and old.commit != commit:
            raise AlreadyExists(
                f"the tag '{data_set}@{name}' exists and names another version",
                hint=f"choose another name, or move it with: vfs tag --force {data_set} {name}",
            )
        return old

    def delete_ref(
        self,
        data_set: str,
        name: str,
        *,
        kind: Literal["branch", "tag"],
        overlay: OverlayHeader | None = None,
    ) -> None:
        """Delete a branch or tag; its log stays. Raises NotFound.

        Raises Conflict for a branch with changes that are not committed, unless they are those of
        *overlay*.
        """
        known = [ref.name for ref in self.refs(data_set) if ref.kind == kind]
        if name not in known:
            raise NotFound(
                f"there is no {kind} '{name}' in '{data_set}'", hint=near_misses(name, known)
            )
        self.store.refs.delete(
            data_set,
            name,
            kind,
            time_ns=now_ns(),
            who=identity.who(),
            why=f"{kind} deleted",
            overlay=overlay,
        )
        self.store.overlays.sweep()

    def _name(self, change: RefChange, why: str) -> Ref:
        """Let a reference name a version that is there."""
        with self.store.writers.announce():  # so that it is there afterwards, too
            if not self.is_whole(change.new):
                self.store.pruned.require_whole(change.new)
                raise NotFound(f"the commit {change.new.hex()} is not in the store any more")
            return self._move([change], why)[0]

    def _move(self, changes: list[RefChange], why: str) -> list[Ref]:
        return self.store.refs.move(changes, time_ns=now_ns(), who=identity.who(), why=why)

    # revisions

    def resolve(self, data_set: str, revision: str = "", *, pruned: bool = False) -> Resolved:
        """Return what *revision* (default: the branch main) means. Raises NotFound, InvalidName.

        A version whose content was removed is found only if *pruned* ones will do.
        """
        self.require_data_set(data_set)
        found = self._revisions.resolve(data_set, parse_revision(revision), revision)
        if not pruned and found.kind in ("commit", "link"):  # what has a name is never pruned
            self.store.pruned.require_whole(found.commit)
        return found

    def is_whole(self, commit: ObjectId) -> bool:
        """Say whether a commit is there, with all its content.

        It stays so for a writer (`Writers.announce`) that asks after it has announced itself.
        """
        return self.store.is_kept(commit) and self.store.pruned.get(commit) is None

    # commits and what is in them

    def commit(self, oid: ObjectId) -> Commit:
        """Return a commit. Raises CorruptObject when it is damaged or missing."""
        return Commit.decode(self.reader.get(oid))

    def whole_parents(self, commit: Commit) -> tuple[ObjectId, ...]:
        """Return the parents of a commit to compare it with: those that have their content.

        In the place of one whose content was removed stand those of its own.
        """
        found: dict[ObjectId, None] = {}
        waiting = list(reversed(commit.parents))
        seen: set[ObjectId] = set()
        while waiting:
            oid = waiting.pop()
            if oid in seen:
                continue
            seen.add(oid)
            if self.store.pruned.get(oid) is None:
                found[oid] = None
            else:
                waiting.extend(reversed(self.commit(oid).parents))
        return tuple(found)

    def log(
        self, data_set: str, revision: str = "", *, limit: int | None = None
    ) -> Iterator[tuple[ObjectId, Commit]]:
        """Yield a revision and its ancestors, the newest first."""
        start = self.resolve(data_set, revision, pruned=True).commit
        waiting = [(-self.commit(start).time_ns, start)]
        seen = {start}
        while waiting and limit != 0:
            _, oid = heapq.heappop(waiting)
            record = self.commit(oid)
            yield oid, record
            limit = None if limit is None else limit - 1
            for parent in record.parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(waiting, (-self.commit(parent).time_ns, parent))

    def entry_at(self, root: Entry, path: Path) -> Entry:
        """Return the entry at *path*. Raises NotFound, NotADirectory. Follows no symlink."""
        entry = root
        for depth, name in enumerate(path):
            if not entry.is_dir:
                raise NotADirectory(f"'{_show(path[:depth])}' is not a directory")
            place = find(self.nodes, self.nodes.enter(entry), name)
            if place is None:
                some = islice(self.entries(entry.content), HINT_NAMES)
                known = [_show((one.name,)) for one in some]
                raise NotFound(
                    f"there is no '{_show(path[: depth + 1])}' in this version",
                    hint=near_misses(_show((name,)), known),
                )
            entry = place.entry
        return entry

    def entries(self, tree: ObjectId) -> Iterator[Entry]:
        """Yield the entries of one directory, sorted by name."""
        for span in leaves(self.nodes, tree):
            yield from span.leaf.entries()

    def read_file(
        self, entry: Entry, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of a regular file, holes as zeros. Raises CorruptObject."""
        return self._files.stream(entry, offset, length)

    def commit_root(
        self,
        data_set: str,
        branch: str,
        make_root: MakeRoot,
        *,
        ingest: Ingest,
        message: str,
        author: str | None = None,
        provenance: Mapping[str, JSON] | None = None,
        tag: str | None = None,
    ) -> CommitResult:
        """Commit what *make_root* returns to a branch, and tag it; all of it or nothing.

        *make_root* gets the branch's head (None for the first commit of a data set), and is
        called again when the branch moved meanwhile. Where its root is the head's, there is no
        new commit. Raises ErasedMeanwhile; Conflict when the branch is written to and has changes
        of its own.
        """
        draft = Commit(
            root=_NO_ROOT,
            parents=(),
            time_ns=0,
            author=author or identity.author(),
            message=message,
            provenance=provenance or {},
        )
        for _ in range(COMMIT_TRIES):
            try:
                return self._try_commit(data_set, branch, make_root, ingest, draft, tag)
            except ErasedMeanwhile:
                raise
            except Conflict:
                self.store.refs.require_committed(data_set, branch)
        raise Conflict(f"'{data_set}@{branch}' moves too fast to commit to it", hint="try again")

    def _try_commit(
        self,
        data_set: str,
        branch: str,
        make_root: MakeRoot,
        ingest: Ingest,
        draft: Commit,
        tag: str | None,
    ) -> CommitResult:
        ref = self.branch_to_commit_to(data_set, branch)
        head = None if ref is None else self.commit(ref.commit)
        root = make_root(head)
        changes = []
        if ref is not None and head is not None and root == head.root:
            oid = ref.commit
        else:
            parents = () if ref is None else (ref.commit,)
            # Never before its parent, whatever the clock says: times order the log.
            time_ns = max(now_ns(), head.time_ns + 1 if head else 0)
            record = replace(draft, root=root, parents=parents, time_ns=time_ns)
            oid = ingest.add_object(Kind.COMMIT, record.encode())
        ingest.flush()
        changed = ref is None or oid != ref.commit
        if changed:
            from vfs.repo.births import leaves_brought  # noqa: PLC0415 - 3 ms, and most only read

            changes.append(
                RefChange(
                    data_set=data_set,
                    name=branch,
                    kind="branch",
                    new=oid,
                    expected=None if ref is None else ref.commit,
                    brought=leaves_brought(self, oid),
                    generation=ingest.generation,
                )
            )
        if tag is not None:
            old = self.check_tag(data_set, tag, oid)
            if old is None:
                changes.append(_tag_change(data_set, tag, oid, None, force=False))
        if changes:
            self._move(changes, f"commit: {draft.message.partition(chr(10))[0]}")
        return CommitResult(oid, changed, branch)

    def branch_to_commit_to(self, data_set: str, branch: str) -> Ref | None:
        """Return the branch, or None where a first commit would make it. Raises NotFound."""
        refs = {ref.name: ref for ref in self.refs(data_set)}
        ref = refs.get(branch)
        if ref is not None and ref.kind == "tag":
            raise AlreadyExists(
                f"'{data_set}@{branch}' is a tag and never changes",
                hint=f"name a branch, or make one with: vfs branch {data_set} NAME --from {branch}",
            )
        branches = [ref.name for ref in refs.values() if ref.kind == "branch"]
        if ref is None and branches:
            raise NotFound(
                f"there is no branch '{branch}' in '{data_set}'",
                hint=near_misses(branch, branches)
                or f"make it with: vfs branch {data_set} {branch}",
            )
        check_ref_name(branch)
        return ref


_NO_ROOT: Final = Entry(b"", 0o40755, 0, 0, 0, 0, ObjectId(bytes(ID_BYTES)), 0, b"")


def _tag_change(
    data_set: str, name: str, commit: ObjectId, old: Ref | None, *, force: bool
) -> RefChange:
    expected = None if old is None else old.commit
    return RefChange(
        data_set=data_set, name=name, kind="tag", new=commit, expected=expected, force=force
    )


def _show(path: Path) -> str:
    return b"/".join(path).decode("utf-8", "backslashreplace")
