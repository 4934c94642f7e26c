"""What records of a remote's journal say, and what they come to. Bytes: docs/remote-format.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from vfs.clock import iso
from vfs.ids import ObjectId
from vfs.remote.layout import PackId

STATE: Final = "state"
"""The kind of a record that says what all before it do."""

_HEX: Final = re.compile(r"[0-9a-f]{64}")

Value: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reason:
    """When and why something of a remote is gone."""

    time_ns: int
    text: str

    def __str__(self) -> str:
        return f"{iso(self.time_ns)[:10]}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condemned:
    """A collection of garbage that has begun: docs/decisions/0006-remote-gc.md."""

    number: int  # of its record
    time_ns: int
    since_ns: int  # what references led to from then on stays
    packs: frozenset[PackId]
    """What only these have does not count any more; they are removed at the end."""
    kept: frozenset[PackId]
    """All else there was; all that any node in these names is in these, too."""
    orphans: frozenset[PackId]  # packs without an index, which go unless they get one


@dataclass(slots=True)
class State:
    """What the records say, all together."""

    records: int = 0  # how many there are, or were
    base: int = 0  # number of the last "state": no record before that counts; 0: there is none
    base_ns: int = 0  # when that was written
    generation: int = 0  # records up to the last one that made packs go; 0: none ever did
    collection: Condemned | None = None  # the one that has not ended
    since_ns: int = 0  # what references led to only before then may be gone
    pruned: dict[ObjectId, Reason] = field(default_factory=dict)  # versions without content
    erased: dict[ObjectId, Reason] = field(default_factory=dict)  # chunks
    erased_contents: dict[ObjectId, Reason] = field(default_factory=dict)  # as entries name them


def condemned(
    *,
    time_ns: int,
    since_ns: int,
    packs: frozenset[PackId],
    kept: frozenset[PackId],
    orphans: frozenset[PackId],
) -> Value:
    """Return the record with which a collection begins."""
    return {
        "condemned": _to_hex(packs),
        "kept": _to_hex(kept),
        "kind": "condemned",
        "orphans": _to_hex(orphans),
        "since": since_ns,
        "time": time_ns,
    }


def removed(*, number: int, time_ns: int) -> Value:
    """Return the record with which the collection of record *number* ends."""
    return {"collection": number, "kind": "removed", "time": time_ns}


def pruned(reasons: Mapping[ObjectId, Reason]) -> Value:
    """Return the record that says of which versions the content is gone."""
    commits = {oid.hex(): [reason.time_ns, reason.text] for oid, reason in reasons.items()}
    return {"commits": commits, "kind": "pruned"}


def whole(commits: frozenset[ObjectId]) -> Value:
    """Return the record that says which pruned versions have their content again."""
    return {"commits": _to_hex(commits), "kind": "whole"}


def erased(
    reason: Reason,
    *,
    chunks: frozenset[ObjectId],
    contents: frozenset[ObjectId],
) -> Value:
    """Return the record that says which chunks nobody may bring again."""
    return {
        "chunks": _to_hex(chunks),
        "contents": _to_hex(contents),
        "kind": "erased",
        "reason": reason.text,
        "time": reason.time_ns,
    }


def whole_state(state: State, now_ns: int) -> Value:
    """Return the record that says what all records so far do; no collection is under way."""
    reasons = {*state.erased.values(), *state.erased_contents.values()}
    return {
        "erased": [
            {
                "chunks": _to_hex(_of(state.erased, reason)),
                "contents": _to_hex(_of(state.erased_contents, reason)),
                "reason": reason.text,
                "time": reason.time_ns,
            }
            for reason in sorted(reasons, key=lambda reason: (reason.time_ns, reason.text))
        ],
        "generation": state.generation,
        "kind": STATE,
        "pruned": pruned(state.pruned)["commits"],
        "since": state.since_ns,
        "time": now_ns,
    }


def _of(reasons: Mapping[ObjectId, Reason], reason: Reason) -> frozenset[ObjectId]:
    return frozenset(oid for oid, one in reasons.items() if one == reason)


def _apply_state(state: State, number: int, value: Value) -> None:
    """Take what it says for all that was said before."""
    said = State(generation=int(value["generation"]), since_ns=int(value["since"]))
    _apply_pruned(said, number, {"commits": value["pruned"]})
    for one in value["erased"]:
        _note_erased(said, one)
    state.collection = None
    state.base, state.base_ns = number, int(value["time"])
    state.generation, state.since_ns = said.generation, said.since_ns
    state.pruned, state.erased = said.pruned, said.erased
    state.erased_contents = said.erased_contents


def _apply_condemned(state: State, number: int, value: Value) -> None:
    state.collection = Condemned(
        number=number,
        time_ns=int(value["time"]),
        since_ns=int(value["since"]),
        packs=frozenset(PackId(oid) for oid in _ids(value["condemned"])),
        kept=frozenset(PackId(oid) for oid in _ids(value["kept"])),
        orphans=frozenset(PackId(oid) for oid in _ids(value["orphans"])),
    )
    state.since_ns = max(state.since_ns, int(value["since"]))
    state.generation = number + 1


def _apply_removed(state: State, _: int, value: Value) -> None:
    if state.collection is not None and state.collection.number == value["collection"]:
        state.collection = None


def _apply_pruned(state: State, _: int, value: Value) -> None:
    for digits, (time_ns, text) in value["commits"].items():
        state.pruned[_id(digits)] = Reason(int(time_ns), str(text))


def _apply_whole(state: State, _: int, value: Value) -> None:
    for oid in _ids(value["commits"]):
        state.pruned.pop(oid, None)


def _apply_erased(state: State, number: int, value: Value) -> None:
    _note_erased(state, value)
    state.generation = number + 1


def _note_erased(state: State, value: Value) -> None:
    reason = Reason(int(value["time"]), str(value["reason"]))
    for oid in _ids(value["chunks"]):
        state.erased.setdefault(oid, reason)
    for oid in _ids(value["contents"]):
        state.erased_contents.setdefault(oid, reason)


_APPLY: Final[dict[str, Callable[[State, int, Value], None]]] = {
    "condemned": _apply_condemned,
    "removed": _apply_removed,
    "pruned": _apply_pruned,
    "whole": _apply_whole,
    "erased": _apply_erased,
    STATE: _apply_state,
}


def apply(state: State, number: int, value: Value) -> None:
    """Take into *state* what record *number* says; a kind that a later vfs writes says nothing.

    Raises AttributeError, KeyError, TypeError or ValueError where it is damaged.
    """
    take = _APPLY.get(value.get("kind", ""))
    if take is not None:
        take(state, number, value)


def _to_hex(ids: frozenset[ObjectId]) -> list[str]:
    return sorted(oid.hex() for oid in ids)


def _ids(values: Any) -> list[ObjectId]:
    if not isinstance(values, list):
        raise TypeError
    return [_id(value) for value in values]


def _id(digits: Any) -> ObjectId:
    if not isinstance(digits, str) or not _HEX.fullmatch(digits):
        raise ValueError
    return ObjectId(bytes.fromhex(digits))
