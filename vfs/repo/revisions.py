"""What a revision means now: from its parsed form to a commit, or to near misses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vfs.clock import iso
from vfs.errors import CorruptObject, InvalidName, NotFound
from vfs.ids import ID_BYTES, ObjectId
from vfs.model.commit import Commit
from vfs.model.names import DEFAULT_BRANCH, LATEST
from vfs.repo.revparse import HEX_MIN_DIGITS, Revision
from vfs.store.layout import Slot
from vfs.store.refrows import RefUpdate
from vfs.store.refs import RefTable


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a revision means now.

    `name` is its canonical name: the branch's, the tag's, or the commit's id in hex. A "link" is
    any other way to say a commit.
    """

    data_set: str
    name: str
    kind: Literal["branch", "tag", "commit", "link"]
    commit: ObjectId
    slot: int


class Revisions:
    """Resolves the revisions of one store."""

    def __init__(self, refs: RefTable, commit: Callable[[ObjectId], Commit]) -> None:
        """*commit* reads a commit."""
        self._refs = refs
        self._commit = commit

    def resolve(self, data_set: str, parsed: Revision, text: str) -> Resolved:
        """Return what *parsed*, written *text*, means in a data set that is there."""
        if parsed.is_plain:
            ref = self._refs.get(data_set, parsed.base)
            if ref is not None:
                home = self._refs.slot(ref.slot)
                if home != Slot(ref.commit, data_set, ref.name):
                    raise CorruptObject(f"the reference '{data_set}@{ref.name}' is damaged")
                return Resolved(data_set, ref.name, ref.kind, ref.commit, ref.slot)
        commit = self._base(data_set, parsed)
        for step in parsed.steps:
            for _ in range(step.count if step.kind == "~" else min(step.count, 1)):
                commit = self._parent(commit, step.count if step.kind == "^" else 1, text)
        slot = self._refs.commit_slot(commit)
        home = None if slot is None else self._refs.slot(slot)
        if slot is None or home is None:
            raise NotFound(f"the commit {commit.hex()} is not in the store")
        own_name = parsed.is_plain and parsed.base == commit.hex() and home.data_set == data_set
        return Resolved(home.data_set, commit.hex(), "commit" if own_name else "link", commit, slot)

    def _base(self, data_set: str, parsed: Revision) -> ObjectId:
        name = DEFAULT_BRANCH if parsed.base == LATEST else parsed.base
        if parsed.updates_ago is not None:
            return self._at_update(data_set, name, parsed.updates_ago)
        if parsed.when_ns is not None and parsed.by_log:
            return self._at_log_time(data_set, name, parsed.when_ns)
        ref = self._refs.get(data_set, name)
        if ref is not None:
            if parsed.when_ns is None:
                return ref.commit
            return self._at_commit_time(data_set, ref.commit, parsed.when_ns)
        if parsed.when_ns is None and (commit := self._by_prefix(parsed.base)) is not None:
            return commit
        known = [ref.name for ref in self._refs.of(data_set)]
        what = "no version yet" if not known else f"no revision '{parsed.base}'"
        hint = "make one with: vfs import" if not known else near_misses(parsed.base, known)
        raise NotFound(f"the data set '{data_set}' has {what}", hint=hint)

    def _by_prefix(self, text: str) -> ObjectId | None:
        if not re.fullmatch(rf"[0-9a-f]{{{HEX_MIN_DIGITS},{2 * ID_BYTES}}}", text):
            return None
        odd = int(text[-1], 16) if len(text) % 2 else None
        whole = bytes.fromhex(text[: len(text) // 2 * 2])
        found = self._refs.commits_with_prefix(whole, odd_digit=odd)
        if len(found) > 1:
            some = ", ".join(oid.hex()[: len(text) + 4] for oid in found)
            raise InvalidName(f"'{text}' is the start of several commit ids", hint=f"{some}, ...")
        return found[0] if found else None

    def _parent(self, commit: ObjectId, nth: int, text: str) -> ObjectId:
        parents = self._commit(commit).parents
        if nth > len(parents):
            raise NotFound(
                f"'{text}' goes back further than the history",
                hint=f"{commit.hex()[:12]} has {len(parents)} parents",
            )
        return parents[nth - 1]

    def _at_commit_time(self, data_set: str, head: ObjectId, when_ns: int) -> ObjectId:
        commit: ObjectId | None = head
        while commit is not None:
            record = self._commit(commit)
            if record.time_ns <= when_ns:
                return commit
            commit = record.parents[0] if record.parents else None
        raise NotFound(f"the data set '{data_set}' has no version from {iso(when_ns)} or before")

    def _at_update(self, data_set: str, name: str, nth: int) -> ObjectId:
        updates = self._log(data_set, name)
        commit = updates[nth].new if nth < len(updates) else None
        if commit is None:
            there = sum(update.new is not None for update in updates)
            raise NotFound(
                f"'{data_set}@{name}' was nowhere {nth} updates ago",
                hint=f"its log has {there}: vfs reflog {data_set}@{name}",
            )
        return commit

    def _log(self, data_set: str, name: str) -> list[RefUpdate]:
        """Return the updates of a reference, the last one first. Raises NotFound."""
        updates = self._refs.log(data_set, name)
        if not updates:
            known = [ref.name for ref in self._refs.of(data_set)]
            raise NotFound(
                f"the data set '{data_set}' never had a branch or tag '{name}'",
                hint=near_misses(name, known),
            )
        return updates

    def _at_log_time(self, data_set: str, name: str, when_ns: int) -> ObjectId:
        for update in self._log(data_set, name):
            if update.time_ns <= when_ns and update.new is not None:
                return update.new
            if update.time_ns <= when_ns:
                break
        raise NotFound(f"'{data_set}@{name}' was not there at {iso(when_ns)}")


def near_misses(name: str, known: list[str]) -> str:
    """Return a hint: what *name* may have been meant to be. Empty for no idea."""
    import difflib  # noqa: PLC0415 - 1 ms, and seldom needed

    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return "did you mean " + " or ".join(f"'{one}'" for one in close) + "?"
    if known and len(known) <= 8:
        return "there are: " + ", ".join(known)
    return ""
