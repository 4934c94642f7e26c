"""Changing a branch by what other versions have: merge, cherry-pick, revert, restore.

Each is tried again where the branch moves meanwhile, and moves it in one transaction at the end.
Until then nothing is stored that a version could show: a conflict, or a kill, leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from vfs.errors import Conflict as Moved
from vfs.errors import InvalidInput, NotFound
from vfs.model.commit import JSON, Commit, check_text
from vfs.repo import identity
from vfs.repo.merge.bases import merge_bases
from vfs.repo.merge.conflicts import Conflict, Rules, Settlement
from vfs.repo.merge.landing import Draft, land
from vfs.repo.merge.links import counted
from vfs.repo.merge.planting import plant
from vfs.repo.merge.trees import MergedTree, base_root, merge_trees, nothing_like
from vfs.repo.repository import COMMIT_TRIES
from vfs.repo.treediff import differences, summarize
from vfs.repo.trees import Nodes
from vfs.repo.uncommitted import PassingObjects

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.entry import Entry
    from vfs.repo.merge.fields import Side
    from vfs.repo.merge.planting import Edits
    from vfs.repo.repository import Repository
    from vfs.repo.treediff import DifferenceKind, Summary
    from vfs.repo.treepaths import Path

FastForward = Literal["if possible", "never", "only"]
Action = Literal["nothing", "fast-forward", "commit", "conflicts"]
COMMAND_MAX_BYTES: Final = 256 << 10  # with all else, a commit has room for it
NAMED_PATHS: Final = 5  # in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which branch is to be changed, and how."""

    data_set: str
    branch: str
    message: str | None = None  # None: one that says what was done
    author: str | None = None
    rules: Rules = field(default_factory=Rules)
    dry_run: bool = False
    command: tuple[str, ...] = ()  # for the provenance
    too_many: Callable[[], None] = lambda: None
    """Called where there are too many differences to look for renames among."""

    def __str__(self) -> str:
        return f"{self.data_set}@{self.branch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A version to take from, and what it is called.

    It was found by a writer (`Writers.announce`) that goes on being one until all is done.
    """

    commit: ObjectId
    name: str  # as data@v1
    label: str  # what files are called after that are kept beside others


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done, or would be."""

    action: Action
    before: ObjectId | None
    commit: ObjectId | None  # None where none was made
    conflicts: Sequence[tuple[Conflict, Settlement | None]] = ()
    changes: Mapping[DifferenceKind, Summary] = field(default_factory=dict)


def merge(
    repo: Repository,
    order: Order,
    source: Source,
    *,
    fast_forward: FastForward = "if possible",
    allow_unrelated: bool = False,
) -> Outcome:
    """Merge a version into a branch.

    Raises InvalidInput where the two have no version in common (unless *allow_unrelated*), or can't
    be fast-forwarded where nothing else is wanted.
    """

    def attempt(head: ObjectId | None) -> Outcome:
        if head is None:
            return _forward(repo, order, head, source)
        bases = merge_bases(repo.commit, (head,), source.commit)
        if source.commit in bases:
            return Outcome(action="nothing", before=head, commit=head)
        if head in bases and fast_forward != "never":
            return _forward(repo, order, head, source)
        if fast_forward == "only":
            raise InvalidInput(
                f"'{order}' has versions that '{source.name}' was not made from",
                hint="leave --ff-only away to merge them",
            )
        if not bases and not allow_unrelated:
            raise InvalidInput(
                f"'{order}' and '{source.name}' have no version in common",
                hint="merge them all the same with --allow-unrelated",
            )
        theirs = repo.commit(source.commit).root
        with PassingObjects(repo.reader) as objects:
            base = nothing_like(theirs)
            if bases:
                base = base_root(repo.commit, objects, bases, order.too_many)
            ours = repo.commit(head).root
            merged = merge_trees(objects, base, ours, theirs, order.too_many)
            labels: dict[Side, str] = {"ours": order.branch, "theirs": source.label}
            root, conflicts = _settled(order, merged, labels)
            if root is None:
                return _conflicting(head, conflicts)
            draft = _draft(
                order,
                root,
                f"Merge {source.name} into {order.branch}",
                {"kind": "merge", "merged": source.commit.hex()},
                merged=(source.commit,),
            )
            return _landed(repo, order, head, [draft], objects, conflicts)

    return _tried(repo, order, attempt)


def cherry_pick(repo: Repository, order: Order, sources: Sequence[Source]) -> Outcome:
    """Make again on a branch what each of some versions changed against its first parent."""

    def pick(source: Source, record: Commit, parent: Entry) -> _Change:
        provenance = {"kind": "cherry-pick", "picked": source.commit.hex()}
        author = order.author or record.author
        return _Change(parent, record.root, record.message, author, provenance)

    return _tried(repo, order, lambda head: _replayed(repo, order, head, sources, pick))


def revert(repo: Repository, order: Order, sources: Sequence[Source]) -> Outcome:
    """Undo on a branch what each of some versions changed against its first parent."""

    def undo(source: Source, record: Commit, parent: Entry) -> _Change:
        subject = record.message.partition("\n")[0]
        message = f'Revert "{subject}"\n\nThis reverts commit {source.commit.hex()}.'
        provenance = {"kind": "revert", "reverted": source.commit.hex()}
        return _Change(record.root, parent, message, order.author, provenance)

    return _tried(repo, order, lambda head: _replayed(repo, order, head, sources, undo))


def restore(repo: Repository, order: Order, source: Source, paths: Mapping[Path, Path]) -> Outcome:
    """Make paths of a branch, the values of *paths*, what the keys are in another version.

    Raises NotFound for a path that the version does not have.
    """

    def attempt(head: ObjectId | None) -> Outcome:
        there = repo.commit(source.commit).root
        ours = nothing_like(there) if head is None else repo.commit(head).root
        with PassingObjects(repo.reader) as objects:
            edits = entries_at(repo, there, source.name, paths)
            root = plant(objects, objects, ours, edits, (there,))
            if () not in edits:
                relinked = counted(Nodes(objects), ours, root)
                root = plant(objects, objects, root, relinked)
            if head is not None and root == ours:
                return Outcome(action="nothing", before=head, commit=head)
            message = f"Restore {_named(paths)} from {source.name}"
            provenance = {"kind": "restore", "source": source.commit.hex()}
            draft = _draft(order, root, message, provenance)
            return _landed(repo, order, head, [draft], objects, ())

    return _tried(repo, order, attempt)


def entries_at(repo: Repository, root: Entry, name: str, paths: Mapping[Path, Path]) -> Edits:
    """Return the edits that put what is at the keys of *paths* at its values. Raises NotFound."""
    edits: Edits = {}
    for path, to in paths.items():
        entry = repo.entry_at(root, path)
        if not to and not entry.is_dir:
            raise InvalidInput(
                f"'{_shown(path)}' of '{name}' is no directory, and can't be the root"
            )
        edits[to] = entry._replace(name=to[-1] if to else b"")
    return edits


def _named(paths: Collection[Path]) -> str:
    if () in paths:
        return "everything"
    if len(paths) > NAMED_PATHS:
        return f"{len(paths):,} paths"
    return ", ".join(map(_shown, paths))


def _shown(path: Path) -> str:
    return b"/".join(path).decode("utf-8", "backslashreplace")


# what all have in common


@dataclass(frozen=True, slots=True)
class _Change:
    """What a version is to get: what leads from one root to another."""

    old: Entry
    new: Entry
    message: str
    author: str | None
    provenance: Mapping[str, JSON]


def _tried(
    repo: Repository, order: Order, attempt: Callable[[ObjectId | None], Outcome]
) -> Outcome:
    """Make attempts until the branch stands still meanwhile."""
    check_text("message", order.message or "")
    check_text("author", order.author or "")
    check_text("command", " ".join(order.command), COMMAND_MAX_BYTES)
    for _ in range(COMMIT_TRIES):
        ref = repo.branch_to_commit_to(order.data_set, order.branch)
        if not order.dry_run:
            repo.store.refs.require_committed(order.data_set, order.branch)
        try:
            return attempt(None if ref is None else ref.commit)
        except Moved:
            continue
    raise Moved(f"'{order}' moves too fast to commit to it", hint="try again")


def _replayed(
    repo: Repository,
    order: Order,
    head: ObjectId | None,
    sources: Sequence[Source],
    change_of: Callable[[Source, Commit, Entry], _Change],
) -> Outcome:
    """Put changes on top of a branch, a version each; those that change nothing make none."""
    if head is None:
        raise NotFound(f"'{order}' has no version yet")
    root = repo.commit(head).root
    drafts: list[Draft] = []
    settled: list[tuple[Conflict, Settlement | None]] = []
    with PassingObjects(repo.reader) as objects:
        for source in sources:
            record = repo.commit(source.commit)
            parent = nothing_like(record.root)
            if record.parents:
                parent = repo.commit(record.parents[0]).root
            change = change_of(source, record, parent)
            merged = merge_trees(objects, change.old, root, change.new, order.too_many)
            labels: dict[Side, str] = {"ours": order.branch, "theirs": source.label}
            new, conflicts = _settled(order, merged, labels)
            if new is None:
                return _conflicting(head, conflicts)
            settled += conflicts
            if new != root:
                draft = _draft(order, new, change.message, change.provenance, author=change.author)
                drafts.append(draft)
            root = new
        if not drafts:
            return Outcome(action="nothing", before=head, commit=head, conflicts=settled)
        return _landed(repo, order, head, drafts, objects, settled)


def _settled(
    order: Order, merged: MergedTree, labels: Mapping[Side, str]
) -> tuple[Entry | None, list[tuple[Conflict, Settlement | None]]]:
    """Return the root, or None where the order leaves conflicts, and how they are settled."""
    conflicts = [(conflict, order.rules.settle(conflict)) for conflict in merged.conflicts]
    settled = [(conflict, how) for conflict, how in conflicts if how is not None]
    if len(settled) < len(conflicts):
        return None, conflicts
    return merged.settled(settled, labels), conflicts


def _conflicting(
    head: ObjectId, conflicts: Sequence[tuple[Conflict, Settlement | None]]
) -> Outcome:
    return Outcome(action="conflicts", before=head, commit=None, conflicts=conflicts)


def _draft(
    order: Order,
    root: Entry,
    message: str,
    provenance: Mapping[str, JSON],
    *,
    author: str | None = None,
    merged: tuple[ObjectId, ...] = (),
) -> Draft:
    return Draft(
        root=root,
        message=order.message or message,
        author=author or order.author or identity.author(),
        provenance={"command": list(order.command), "host": identity.host(), **provenance},
        merged=merged,
    )


def _landed(
    repo: Repository,
    order: Order,
    head: ObjectId | None,
    drafts: Sequence[Draft],
    objects: PassingObjects,
    conflicts: Sequence[tuple[Conflict, Settlement | None]],
) -> Outcome:
    """Move the branch to what *drafts* are, unless it is only to be said what would change."""
    old = None if head is None else repo.commit(head).root
    changes = summarize(differences(Nodes(objects), old, drafts[-1].root))
    new = None
    if not order.dry_run:
        kind = drafts[-1].provenance["kind"]
        why = f"{kind}: {drafts[-1].message.partition(chr(10))[0]}"
        new = land(repo, order.data_set, order.branch, head, drafts, objects=objects, why=why)
    return Outcome(action="commit", before=head, commit=new, conflicts=conflicts, changes=changes)


def _forward(repo: Repository, order: Order, head: ObjectId | None, source: Source) -> Outcome:
    """Move the branch to a version that it would come to anyway."""
    old = None if head is None else repo.commit(head).root
    changes = summarize(differences(repo.nodes, old, repo.commit(source.commit).root))
    if not order.dry_run:
        why = f"merge: fast-forward to {source.name}"
        repo.set_branch(order.data_set, order.branch, source.commit, expected=head, why=why)
    commit = None if order.dry_run else source.commit
    return Outcome(action="fast-forward", before=head, commit=commit, changes=changes)
