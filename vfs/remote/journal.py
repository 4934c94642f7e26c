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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vfs.errors import NotFound, RemoteProblem
from vfs.ids import object_id
from vfs.remote.bucket import READS, Bucket
from vfs.remote.notes import STATE, State, Value, apply, whole_state
from vfs.remote.parallel import Workers
from vfs.remote.records import decode_record, encode_record

JOURNAL: Final = "journal"
RECORD_MAX_BYTES: Final = 64 << 20  # 67 bytes for each pack that a collection names
COMPACT_RECORDS: Final = 32
"""After so many records a collection puts one in their place: two a day, so each fortnight."""

_ROOM_BYTES: Final = 1000  # for what `append` adds to a record
_OLD_KEYS: Final = frozenset(
    "chunks collection commits condemned contents kept kind nonce orphans reason since time".split()
)
"""Of records without a sum, and without the one before them."""
_NUMBER: Final = re.compile(r"[0-9]{20}")


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
            value = whole_state(state, now_ns)
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
        if kind != STATE and value.get("previous", self._digest) != self._digest:
            raise RemoteProblem(f"the record before '{name}' on the remote was replaced")
        try:
            apply(state, number, value)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RemoteProblem(f"'{name}' on the remote is damaged") from None
        state.records = number + 1
        self._digest = object_id(data).hex()
        if kind == STATE:
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
    return _decode(JOURNAL, data).get("kind") == STATE


def _gap() -> RemoteProblem:
    return RemoteProblem("the remote's journal has a gap", hint="vfs fsck --remote")


def _name(number: int) -> str:
    return f"{JOURNAL}/{number:020}"
