"""A remote's journal: numbered records of what holds for all of it. Bytes: docs/remote-format.md.

What was condemned by a collection of garbage, and when that ended; which versions lost their
content by a rule; which chunks were erased. Record n is written only where there is none.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from vfs.clock import iso
from vfs.errors import RemoteProblem
from vfs.ids import ObjectId
from vfs.remote.bucket import Bucket
from vfs.remote.layout import PackId, decode_json, encode_json
from vfs.remote.parallel import Workers

JOURNAL: Final = "journal"
RECORD_MAX_BYTES: Final = 64 << 20  # 67 bytes for each pack that a collection names
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"[0-9]{20}")

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

    records: int = 0  # how many there are
    generation: int = 0  # records up to the last one that made packs go; 0: none ever did
    collection: Condemned | None = None  # the one that has not ended
    since_ns: int = 0  # what references led to only before then may be gone
    pruned: dict[ObjectId, Reason] = field(default_factory=dict)  # versions without content
    erased: dict[ObjectId, Reason] = field(default_factory=dict)  # chunks
    erased_contents: dict[ObjectId, Reason] = field(default_factory=dict)  # as entries name them


class Journal:
    """The journal of one remote. For one thread."""

    def __init__(self, bucket: Bucket, cache: Path | None) -> None:
        """*cache*: a directory in which records may be kept, as they never change."""
        self._bucket = bucket
        self._cache = cache
        self.state = State()

    def refresh(self, workers: Workers) -> bool:
        """Read the records that are new; say whether there are any. A request, and one for each.

        Raises RemoteProblem for one that is damaged, or missing between two others.
        """
        known = self.state.records
        after = _name(known - 1) if known else ""
        found = [item.name for item in self._bucket.items(JOURNAL, after)]
        new = [name for name in found if _NUMBER.fullmatch(name.removeprefix(f"{JOURNAL}/"))]
        if new != [_name(known + at) for at in range(len(new))]:
            raise RemoteProblem("the remote's journal has a gap", hint="vfs fsck --remote")
        for name, data in zip(new, workers.in_order(self._read, new), strict=True):
            self._apply(name, data)
        return bool(new)

    def append(self, value: Value) -> bool:
        """Write the record after those that are known; False where somebody else wrote that one.

        Raises RemoteProblem, RemoteUnavailable.
        """
        name = _name(self.state.records)
        # Tells this record from an equal one that another process writes in the same moment.
        data = encode_json({**value, "nonce": secrets.token_hex(8)})
        if not self._bucket.put(name, data) and self._get(name) != data:
            return False
        self._apply(name, data)
        return True

    def _get(self, name: str) -> bytes:
        return self._bucket.get(name, most=RECORD_MAX_BYTES)

    def _read(self, name: str) -> bytes:
        """Return a record: the one that is kept here, or the remote's. Runs in pool threads."""
        if self._cache is None:
            return self._get(name)
        kept = self._cache / name.replace("/", "-")
        with suppress(OSError, RemoteProblem):
            data = kept.read_bytes()
            decode_json(name, data)
            return data
        data = self._get(name)
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept.write_bytes(data)
        return data

    def _apply(self, name: str, data: bytes) -> None:
        value, state = decode_json(name, data), self.state
        number = state.records
        try:
            _APPLY.get(value.get("kind", ""), _ignore)(state, number, value)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RemoteProblem(f"'{name}' on the remote is damaged") from None
        state.records = number + 1


def _name(number: int) -> str:
    return f"{JOURNAL}/{number:020}"


# what records say


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
    reason = Reason(int(value["time"]), str(value["reason"]))
    for oid in _ids(value["chunks"]):
        state.erased.setdefault(oid, reason)
    for oid in _ids(value["contents"]):
        state.erased_contents.setdefault(oid, reason)
    state.generation = number + 1


def _ignore(state: State, number: int, value: Value) -> None:
    """Pass over a kind that a later vfs writes."""


_APPLY: Final[dict[str, Callable[[State, int, Value], None]]] = {
    "condemned": _apply_condemned,
    "removed": _apply_removed,
    "pruned": _apply_pruned,
    "whole": _apply_whole,
    "erased": _apply_erased,
}


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
