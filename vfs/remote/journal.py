"""A remote's journal: numbered records of what holds for all of it. Bytes: docs/remote-format.md.

What was condemned by a collection of garbage, and when that ended; which versions lost their
content by a rule; which chunks were erased. Record n is written only where there is none.

Now and then one record, a "state", says what all before it do, and these are deleted. Then record n
could be written again, by somebody who saw the journal last before that. So each record names the
one before it, by which a writer knows whether those who came later know of his.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from vfs.clock import iso
from vfs.errors import NotFound, RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.remote.bucket import READS, Bucket
from vfs.remote.layout import PackId
from vfs.remote.parallel import Workers
from vfs.remote.records import decode_record, encode_record

JOURNAL: Final = "journal"
RECORD_MAX_BYTES: Final = 64 << 20  # 67 bytes for each pack that a collection names
COMPACT_RECORDS: Final = 32
"""After so many records a collection puts one in their place: two a day, so each fortnight."""

_STATE: Final = "state"
_ROOM_BYTES: Final = 1000  # for what `append` adds to a record
_OLD_KEYS: Final = frozenset(
    "chunks collection commits condemned contents kept kind nonce orphans reason since time".split()
)
"""Of records without a sum, and without the one before them."""
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

    records: int = 0  # how many there are, or were
    base: int = 0  # number of the last "state": no record before that counts; 0: there is none
    base_ns: int = 0  # when that was written
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
        self._digest = ""  # of the last record that is known, in hex
        self.state = State()

    def refresh(self, workers: Workers) -> bool:
        """Read the records that are new; say whether there are any. A request, and one for each.

        Raises RemoteProblem for one that is damaged, or missing between two others.
        """
        known = self.state.records
        for _ in range(READS):
            with suppress(NotFound):  # it was compacted meanwhile: what is there now says the same
                self._read_new(workers)
                return self.state.records > known
        raise _gap()

    def append(self, value: Value) -> bool:
        """Write the record after those that are known; False where somebody else wrote that one.

        Raises RemoteProblem, RemoteUnavailable.
        """
        number = self.state.records
        name = _name(number)
        # Tells this record from an equal one that another process writes in the same moment.
        facts = {**value, "nonce": secrets.token_hex(8), "previous": self._digest}
        data = encode_record(facts)
        if not self._bucket.put(name, data) and not self._is_there(name, data):
            return False
        if not self._is_followed(number, data):
            return False
        self._apply(number, data)
        return True

    def compact(self, now_ns: int, grace_ns: int) -> None:
        """Keep the journal short: for who collects garbage, now and then.

        Records in whose place another one has stood for *grace_ns* are deleted. Killed anywhere,
        the next call goes on.
        """
        state = self.state
        if state.base and state.base_ns + grace_ns <= now_ns:
            # The last one first, so that what is left of them is all from the first on.
            for number in reversed([*self._numbers("")]):
                if number < state.base:
                    self._bucket.delete(_name(number))
        if state.records - state.base >= COMPACT_RECORDS and state.collection is None:
            value = _whole_state(state, now_ns)
            if len(encode_record(value)) < RECORD_MAX_BYTES - _ROOM_BYTES:
                self.append(value)

    def _read_new(self, workers: Workers) -> None:
        known = self.state.records
        numbers = list(self._numbers(_name(known - 1) if known else ""))
        found = list(workers.in_order(self._read, map(_name, numbers)))
        # What is before the last state is deleted, about to be, or of one who came too late.
        states = [at for at, data in enumerate(found) if _is_state(data)]
        if states:
            numbers, found = numbers[states[-1] :], found[states[-1] :]
        begin = numbers[0] if states else known
        if numbers != list(range(begin, begin + len(numbers))):
            raise _gap()
        for number, data in zip(numbers, found, strict=True):
            self._apply(number, data)

    def _numbers(self, after: str) -> Iterator[int]:
        """Yield the numbers of the records behind the name *after*."""
        for item in self._bucket.items(JOURNAL, after):
            digits = item.name.removeprefix(f"{JOURNAL}/")
            if _NUMBER.fullmatch(digits):
                yield int(digits)

    def _is_followed(self, number: int, data: bytes) -> bool:
        """Say whether who wrote after a record that was just written knew it, if anybody did."""
        later = next(self._numbers(_name(number)), None)
        if later is None:
            return True
        if later != number + 1:
            return False
        name = _name(later)
        with suppress(NotFound):
            return _decode(name, self._get(name)).get("previous") == object_id(data).hex()
        return False

    def _is_there(self, name: str, data: bytes) -> bool:
        with suppress(NotFound):
            return self._get(name) == data
        return False

    def _get(self, name: str) -> bytes:
        return self._bucket.get(name, most=RECORD_MAX_BYTES)

    def _read(self, name: str) -> bytes:
        """Return a record: the one that is kept here, or the remote's. Runs in pool threads."""
        if self._cache is None:
            return self._get(name)
        kept = self._cache / name.replace("/", "-")
        with suppress(OSError, RemoteProblem):
            data = kept.read_bytes()
            _decode(name, data)
            return data
        data = self._get(name)
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept.write_bytes(data)
        return data

    def _apply(self, number: int, data: bytes) -> None:
        name, state = _name(number), self.state
        value = _decode(name, data)
        kind = value.get("kind", "")
        if kind != _STATE and value.get("previous", self._digest) != self._digest:
            raise RemoteProblem(f"the record before '{name}' on the remote was replaced")
        try:
            _APPLY.get(kind, _ignore)(state, number, value)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RemoteProblem(f"'{name}' on the remote is damaged") from None
        state.records = number + 1
        self._digest = object_id(data).hex()
        if kind == _STATE:
            self._forget_kept(number)

    def _forget_kept(self, before: int) -> None:
        """Remove what is kept here of records that do not count any more."""
        if self._cache is not None:
            with suppress(OSError):
                for kept in self._cache.glob(f"{JOURNAL}-*"):
                    if kept.name < _name(before).replace("/", "-"):
                        kept.unlink(missing_ok=True)


def _decode(name: str, data: bytes) -> dict[str, Any]:
    """Return what a record says. Raises RemoteProblem."""
    return decode_record(name, data, _OLD_KEYS)


def _is_state(data: bytes) -> bool:
    return _decode(JOURNAL, data).get("kind") == _STATE


def _gap() -> RemoteProblem:
    return RemoteProblem("the remote's journal has a gap", hint="vfs fsck --remote")


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


def _whole_state(state: State, now_ns: int) -> Value:
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
        "kind": _STATE,
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


def _ignore(state: State, number: int, value: Value) -> None:
    """Pass over a kind that a later vfs writes."""


_APPLY: Final[dict[str, Callable[[State, int, Value], None]]] = {
    "condemned": _apply_condemned,
    "removed": _apply_removed,
    "pruned": _apply_pruned,
    "whole": _apply_whole,
    "erased": _apply_erased,
    _STATE: _apply_state,
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
