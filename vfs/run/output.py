"""What a run writes: a branch of its own, made from its target, and the way back.

What a command wrote gets attributes that do not say who ran it, and when: so the same bytes are the
same tree, wherever they were made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.errors import Conflict, NotADirectory
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.commit import JSON, Commit
from vfs.model.entry import Entry
from vfs.repo import identity
from vfs.repo.branches import require_branch
from vfs.repo.history import entry_or_none
from vfs.repo.merge.landing import Draft, land
from vfs.repo.merge.planting import plant
from vfs.repo.merge.trees import merge_trees, nothing_like
from vfs.repo.origin import EMPTY
from vfs.repo.repository import COMMIT_TRIES
from vfs.repo.treediff import pairs
from vfs.repo.trees import Edit, Nodes, TreeBuilder, merge_tree, with_tree
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfs.repo.repository import Repository
    from vfs.repo.treediff import Pair
    from vfs.repo.treepaths import Path
    from vfs.repo.uncommitted import PassingObjects


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlace:
    """Where the result of a run is to be."""

    data_set: str
    branch: str
    path: Path
    base: ObjectId  # the version it is made from
    fresh: bool  # the directory is empty at first

    def __str__(self) -> str:
        text = f"{self.data_set}@{self.branch}"
        return text + (f":{os.fsdecode(b'/'.join(self.path))}" if self.path else "")

    def facts(self, tree: ObjectId) -> dict[str, JSON]:
        """Return what is recorded of it, and of the directory's *tree*."""
        return {
            "data_set": self.data_set,
            "branch": self.branch,
            "path": os.fsdecode(b"/".join(self.path)),
            "base": self.base.hex(),
            "fresh": self.fresh,
            "tree": tree.hex(),
        }

    def start(self, repo: Repository) -> Entry:
        """Return the directory as the command finds it, as a root. Raises NotADirectory."""
        root = self.root(repo)
        entry = entry_or_none(repo.nodes, root, self.path)
        if entry is not None and not entry.is_dir:
            raise NotADirectory(f"'{self}' is no directory")
        like = (entry or root)._replace(name=b"")
        return nothing_like(like) if self.fresh or entry is None else like

    def root(self, repo: Repository) -> Entry:
        """Return the root of the version that the result is made from."""
        return repo.commit(self.base).root


def begin(repo: Repository, data_set: str, branch: str) -> ObjectId:
    """Return the version that a branch is at. One that has none gets an empty one.

    Raises NotFound, AlreadyExists where it can't be committed to.
    """
    ref = repo.branch_to_commit_to(data_set, branch)
    if ref is not None:
        return ref.commit
    with repo.store.ingest() as ingest:
        empty = with_tree(EMPTY, *TreeBuilder(ingest).finish())
        ingest.flush()
        return repo.commit_root(
            data_set,
            branch,
            lambda head: empty if head is None else head.root,
            ingest=ingest,
            message="Empty, to begin with",
            provenance={"kind": "begin"},
        ).commit


def make_branch(repo: Repository, place: OutputPlace, branch: str) -> None:
    """Make the branch that a run writes to. Raises NotADirectory."""
    base = repo.commit(place.base)
    start = place.start(repo)
    if os.geteuid() != 0:  # whoever runs it has to be able to write; `result_of` undoes it
        start = start._replace(uid=os.geteuid(), gid=os.getegid())
    with repo.store.ingest() as ingest:
        commit = place.base
        if start != base.root:
            if start.content == NO_CONTENT:
                start = with_tree(start, *TreeBuilder(ingest).finish())
            record = Commit(
                root=start,
                parents=(),
                time_ns=base.time_ns,
                author=identity.author(),
                message=f"What the run of {branch} begins with",
                provenance={"kind": "begin"},
            )
            commit = ingest.add_object(Kind.COMMIT, record.encode())
            ingest.flush()
        repo.set_branch(place.data_set, branch, commit, expected=None, why="run")


class _Directory:
    """A directory that is compared, and what of it becomes something else."""

    def __init__(self, nodes: Nodes, old: ObjectId, now: Entry) -> None:
        self.now = now
        self.rest: Iterator[Pair] = pairs(nodes, old, now.content)
        self.edits: list[Edit] = []


def normalised(objects: PassingObjects, start: Entry, result: Entry, time_ns: int) -> Entry:
    """Return the directory *result* with what differs from *start* of one time and one owner.

    Those are *time_ns*, and the owner of *start*. Modes and extended attributes stay.
    """
    nodes = Nodes(objects)

    def same(entry: Entry) -> Entry:
        return entry._replace(uid=start.uid, gid=start.gid, mtime_ns=time_ns)

    # An explicit stack: a tree may be deeper than Python's recursion goes.
    stack = [_Directory(nodes, start.content, result)]
    while True:
        here = stack[-1]
        pair = next(here.rest, None)
        if pair is not None:
            was, now = pair
            if now is None:
                continue
            if not now.is_dir or now.content == NO_CONTENT:
                here.edits.append((now.name, same(now)))
                continue
            before = was.content if was is not None and was.is_dir else NO_CONTENT
            stack.append(_Directory(nodes, before, now))
            continue
        done = with_tree(
            here.now, *merge_tree(objects, objects, here.now.content, iter(here.edits))
        )
        stack.pop()
        if not stack:
            changed = done.content != start.content or done.mode != start.mode
            return same(done) if changed else start
        stack[-1].edits.append((done.name, same(done)))


@dataclass(frozen=True, slots=True)
class Result:
    """The directory that a run made, and the version that it is to be a part of."""

    place: OutputPlace
    directory: Entry
    root: Entry


def result_of(
    repo: Repository, objects: PassingObjects, place: OutputPlace, made: Entry, time_ns: int
) -> Result:
    """Return what a run made, of which *made* is the root of its branch. Stores nothing."""
    start = place.start(repo)
    made = made._replace(uid=start.uid, gid=start.gid)
    directory = normalised(objects, start, made, time_ns)
    if not place.path:
        return Result(place, directory, directory)
    root = plant(objects, objects, place.root(repo), {place.path: directory})
    return Result(place, directory, root)


def land_result(
    repo: Repository,
    objects: PassingObjects,
    result: Result,
    *,
    message: str,
    author: str | None,
    provenance: Mapping[str, JSON],
) -> ObjectId | None:
    """Make the target's next version; return it, or None where nothing is changed.

    Where the target moved meanwhile, only what the run changed is changed there. Raises Conflict,
    with the paths, where both changed the same, and where the target has uncommitted changes.
    """
    place = result.place
    for _ in range(COMMIT_TRIES):
        head = require_branch(repo, place.data_set, place.branch).commit
        repo.store.refs.require_committed(place.data_set, place.branch)
        root = result.root if head == place.base else _merged(repo, objects, result, head)
        if root == repo.commit(head).root:
            return None
        draft = Draft(
            root=root,
            message=message,
            author=author or identity.author(),
            provenance=provenance,
        )
        try:
            return land(
                repo, place.data_set, place.branch, head, [draft], objects=objects, why="run"
            )
        except Conflict:
            continue
    raise Conflict(f"'{place}' moves too fast to commit to it", hint="try again")


def keep_result(
    repo: Repository,
    objects: PassingObjects,
    result: Result,
    branch: str,
    *,
    message: str,
    author: str | None,
    provenance: Mapping[str, JSON],
) -> ObjectId:
    """Make the result the newest version of a new branch, on top of what it was made from."""
    place = result.place
    repo.set_branch(place.data_set, branch, place.base, expected=None, why="run")
    draft = Draft(
        root=result.root,
        message=message,
        author=author or identity.author(),
        provenance=provenance,
    )
    return land(repo, place.data_set, branch, place.base, [draft], objects=objects, why="run")


def _merged(repo: Repository, objects: PassingObjects, result: Result, head: ObjectId) -> Entry:
    base, ours = result.place.root(repo), repo.commit(head).root
    merged = merge_trees(objects, base, ours, result.root, lambda: None)
    if merged.conflicts:
        paths = [os.fsdecode(b"/".join(conflict.path)) for conflict in merged.conflicts]
        some = ", ".join(f"'{path}'" for path in paths[:5])
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        raise Conflict(f"{some}{more} of '{result.place}' changed meanwhile")
    return merged.settled((), {"ours": result.place.branch, "theirs": "run"})
