"""What must stay: commits, the content of some of them, lines of logs. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from vfs.model.commit import Commit
from vfs.model.overlay import decode_header, decode_inode, decode_tree
from vfs.repo.gc.report import Expired
from vfs.repo.gc.retention import Candidate, Rules
from vfs.store.layout import Slot, key_number, unpack_slot
from vfs.store.refrows import Ref, unpack_update

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.overlay import OverlayHeader
    from vfs.store.held import HeldStore


class _Version(NamedTuple):
    parents: tuple[ObjectId, ...]
    time_ns: int
    tree: ObjectId


@dataclass(slots=True)
class Roots:
    """What a store, as it was at one moment, has to keep."""

    newest_slot: int  # the same as long as no reference moves
    commits: set[ObjectId] = field(default_factory=set)  # that stay
    trees: dict[ObjectId, ObjectId] = field(default_factory=dict)  # of which commits
    expired: list[tuple[Expired, ObjectId]] = field(default_factory=list)  # with their trees
    named: set[ObjectId] = field(default_factory=set)  # never pruned, whatever was before
    lines: list[tuple[bytes, int]] = field(default_factory=list)  # of logs to go: key, slot
    lost: list[tuple[ObjectId, int]] = field(default_factory=list)  # commits to go: id, own slot
    pinned: int = 0  # versions that only a mount keeps


class RootFinder:
    """Finds the roots of one held store. For one use."""

    def __init__(
        self, store: HeldStore, rules: dict[str, Rules], shown: Collection[int], since_ns: int
    ) -> None:
        """*shown*: slots that mounts have looked up; *since_ns*: logs keep lines from then on."""
        self._store = store
        self._reader = store.reader()
        self._rules = rules
        self._shown = shown
        self._since_ns = since_ns
        self._versions: dict[ObjectId, _Version] = {}
        self._pruned = set(store.pruned.all())
        self._roots = Roots(store.refs.newest_slot())

    def find(self) -> Roots:
        """Return what stays. Raises CorruptObject where a commit can't be read."""
        roots, refs = self._roots, self._store.refs.all()
        living, kept = self._histories(refs)
        overlays = [header for _, header in overlay_headers(self._store)]
        for header in overlays:
            roots.named.update(oid for oid in (header.origin, header.head) if oid)
        roots.named.update(ref.commit for ref in refs)
        roots.named.update(self._store.tracking.roots())
        by_mounts = self._shown_commits()
        by_logs = self._there(self._trim_logs({(ref.data_set, ref.name) for ref in refs}))
        only_shown = by_mounts - living - by_logs - roots.named
        roots.pinned = len(only_shown | (by_mounts & living) - kept)
        # What is on no branch any more has no history of its own to thin: all of it stays.
        others = (roots.named | by_mounts | by_logs) - living
        beside = self._ancestors(others, living)
        roots.commits = living | beside
        whole = kept | roots.named | by_mounts | beside
        for oid in roots.commits:
            if oid in roots.named or (oid in whole and oid not in self._pruned):
                roots.trees[oid] = self._versions[oid].tree
        for oid in living - whole - self._pruned:
            roots.expired.append((self._reasons[oid], self._versions[oid].tree))
        self._find_lost()
        return roots

    # versions

    def _histories(self, refs: list[Ref]) -> tuple[set[ObjectId], set[ObjectId]]:
        """Return all ancestors of references, and those that rules keep."""
        living: set[ObjectId] = set()
        kept: set[ObjectId] = set()
        self._reasons: dict[ObjectId, Expired] = {}
        for data_set, group in groupby(refs, key=lambda ref: ref.data_set):
            own = list(group)
            rules = self._rules.get(data_set)
            if rules is None:
                history = self._ancestors((ref.commit for ref in own), ())
                living |= history
                kept |= history
                continue
            branches = [ref.commit for ref in own if ref.kind == "branch"]
            histories = [self._ancestors((head,), ()) for head in branches]
            on_branches = set().union(*histories)
            tagged = self._ancestors((ref.commit for ref in own if ref.kind == "tag"), on_branches)
            for history in (*histories, tagged):
                kept |= rules.kept(Candidate(self._versions[oid].time_ns, oid) for oid in history)
                living |= history
                for oid in history:
                    version = self._versions[oid]
                    reason = f"retention of {data_set} ({rules})"
                    self._reasons[oid] = Expired(data_set, oid, version.time_ns, reason)
        return living, kept

    def _ancestors(self, heads: Iterable[ObjectId], known: Collection[ObjectId]) -> set[ObjectId]:
        """Return *heads* and their ancestors, but for those *known* and what is behind them."""
        found: set[ObjectId] = set()
        waiting = list(heads)
        while waiting:
            oid = waiting.pop()
            if oid in found or oid in known:
                continue
            found.add(oid)
            version = self._versions.get(oid)
            if version is None:
                commit = Commit.decode(self._reader.get(oid))
                version = _Version(commit.parents, commit.time_ns, commit.root.content)
                self._versions[oid] = version
            waiting.extend(version.parents)
        return found

    # logs and slots

    def _trim_logs(self, living: set[tuple[str, str]]) -> set[ObjectId]:
        """Note which lines go, the oldest first; return the commits that the others name.

        Of a data set with rules they keep only what is in no history by now, as the rules are to
        say what becomes of the rest: `find` sees to that.
        """
        named: set[ObjectId] = set()
        lines = ((key[:-9], key, bytes(value)) for key, value in self._store.rows("ref_log"))
        for label, group in groupby(lines, key=lambda line: line[0]):
            updates = [(key, unpack_update(key, value)) for _, key, value in group]
            data_set, _, name = label.decode("ascii", "replace").partition("\0")
            is_living = (data_set, name) in living
            going = True
            for at, (key, update) in enumerate(updates):
                last = at == len(updates) - 1
                going = going and not (
                    update.time_ns >= self._since_ns
                    or (last and is_living)
                    or update.slot in self._shown
                    or update.slot == self._roots.newest_slot  # its number must not come back
                )
                if going:
                    self._roots.lines.append((key, update.slot))
                elif update.time_ns >= self._since_ns:
                    named.update(oid for oid in (update.old, update.new) if oid)
                elif update.new:
                    named.add(update.new)
        return named

    def _there(self, commits: set[ObjectId]) -> set[ObjectId]:
        """Return which commits are there: a line that stays may name one that went before it."""
        return {oid for oid in commits if self._store.row("commits", oid) is not None}

    def _shown_commits(self) -> set[ObjectId]:
        """Return the commits that mounts have shown; of differences as long as they are there."""
        shown = [slot for number, slot in self._slots() if number in self._shown]
        versions = self._there({slot.commit for slot in shown if not slot.is_difference})
        differences = {slot.commit for slot in shown if slot.is_difference}
        return versions | {oid for oid in differences if self._store.row("objects", oid)}

    def _slots(self) -> Iterator[tuple[int, Slot]]:
        for key, value in self._store.rows("slots"):
            yield key_number(key), unpack_slot(value)

    def _find_lost(self) -> None:
        for key, value in self._store.rows("commits"):
            oid = key  # of 32 bytes
            if oid not in self._roots.commits:
                self._roots.lost.append((oid, key_number(value)))  # type: ignore[arg-type]


def overlay_headers(store: HeldStore) -> Iterator[tuple[bytes, OverlayHeader]]:
    """Yield the overlays that branches have."""
    for key, value in store.rows("overlays"):
        yield key, decode_header(bytes(value))


def overlay_contents(store: HeldStore) -> Iterator[tuple[ObjectId, int]]:
    """Yield the contents, and their flags, that rows of branches name."""
    living = {header.id for _, header in overlay_headers(store)}
    for key, value in store.rows("overlay_inodes"):
        if key_number(key[:8]) in living:
            row = decode_inode(bytes(value))
            yield row.content, row.flags


def overlay_trees(store: HeldStore) -> Iterator[ObjectId]:
    """Yield the trees that rows of branches name."""
    living = {header.id for _, header in overlay_headers(store)}
    for key, value in store.rows("overlay_trees"):
        if key_number(key[:8]) in living:
            yield decode_tree(bytes(value))[0]
