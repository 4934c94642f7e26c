"""A remote's references: a log of records, the last of which is what a branch or tag is now.

Record n is written only where there is none, so of two who saw n - 1 one wins. Nothing is ever
replaced, hence the log comes for free and any cache in between is right.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from vfs.clock import now_ns
from vfs.errors import InvalidName, NotFastForward, RemoteProblem
from vfs.ids import ObjectId, object_id
from vfs.model.names import check_data_set_name, check_ref_name
from vfs.remote.bucket import Bucket, get_decoded
from vfs.remote.layout import JSON_MAX_BYTES, REFS
from vfs.remote.records import decode_record, encode_record
from vfs.store.refrows import RefKind

TEXT_MAX: Final = 1000  # characters of who and why; longer ones are cut
_NUMBER: Final = re.compile(r"[0-9]{20}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset(("commit", "force", "kind", "nonce", "previous", "time", "who", "why"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRef:
    """One record: what a branch or tag was from then on."""

    data_set: str
    name: str
    number: int  # from 0
    kind: RefKind
    commit: ObjectId | None  # None: deleted
    digest: str  # BLAKE3 of the record, in hex: the next one names it
    previous: str = ""  # the digest of the record before; "" for the first
    force: bool = False  # it does not come after the version before
    time_ns: int = 0
    who: str = ""
    why: str = ""


class RemoteRefs:
    """The references of one remote. Thread-safe."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def data_sets(self) -> list[str]:
        """Return the data sets that have references. One request."""
        return [name for name in self._bucket.directories(REFS) if _is_name(name, "data set")]

    def names(self, data_set: str) -> list[str]:
        """Return the references there are or were. One request."""
        check_data_set_name(data_set)
        found = self._bucket.directories(f"{REFS}/{data_set}")
        return [name for name in found if _is_name(name, "reference")]

    def head(self, data_set: str, name: str, known: RemoteRef | None = None) -> RemoteRef | None:
        """Return the last record, or None where there is none. Raises RemoteProblem.

        *known* is the last one that was seen: if it still is, this takes one request, else two or
        three. A remote that lacks it, or has another one there, is refused.
        """
        last = self._last_number(data_set, name, known.number if known else 0)
        if known is None:
            return None if last is None else self.read(data_set, name, last)
        if last is None:
            raise _set_back(data_set, name)
        if last == known.number:
            return known
        head = self.read(data_set, name, last)
        after = head if last == known.number + 1 else self.read(data_set, name, known.number + 1)
        if after.previous != known.digest:
            raise _set_back(data_set, name)
        return head

    def log(self, data_set: str, name: str) -> Iterator[RemoteRef]:
        """Yield all records, the last first. Raises RemoteProblem where the chain is broken."""
        last = self._last_number(data_set, name, 0)
        expected: str | None = None
        for number in range(-1 if last is None else last, -1, -1):
            record = self.read(data_set, name, number)
            if expected is not None and record.digest != expected:
                raise RemoteProblem(f"'{_path(data_set, name, number)}' on the remote was replaced")
            expected = record.previous
            yield record

    def advance(
        self,
        data_set: str,
        name: str,
        head: RemoteRef | None,
        commit: ObjectId | None,
        *,
        kind: RefKind,
        force: bool,
        who: str,
        why: str,
    ) -> RemoteRef:
        """Write the record after *head*. Raises NotFastForward when somebody else did."""
        number = 0 if head is None else head.number + 1
        data = encode_record(
            {
                "commit": None if commit is None else commit.hex(),
                "force": force,
                "kind": kind,
                # Tells this record from one that another process writes in the same moment.
                "nonce": secrets.token_hex(8),
                "previous": "" if head is None else head.digest,
                "time": now_ns(),
                "who": who[:TEXT_MAX],
                "why": why[:TEXT_MAX],
            }
        )
        path = _path(data_set, name, number)
        if not self._bucket.put(path, data) and self._get(path) != data:
            raise NotFastForward(
                f"somebody else just moved '{data_set}@{name}' on the remote",
                hint=f"vfs pull {data_set}@{name}, then push again",
            )
        return _decode(data_set, name, number, data)

    def _last_number(self, data_set: str, name: str, start: int) -> int | None:
        """Return the highest number that is not below *start*."""
        after = "" if start == 0 else _path(data_set, name, start - 1)
        return max(self._numbers(data_set, name, after), default=None)

    def numbers(self, data_set: str, name: str) -> list[int]:
        """Return which records there are. A request for each 1000."""
        return list(self._numbers(data_set, name, ""))

    def _numbers(self, data_set: str, name: str, after: str) -> Iterator[int]:
        directory = _directory(data_set, name)
        for item in self._bucket.items(directory, after):
            digits = item.name.removeprefix(f"{directory}/")
            if _NUMBER.fullmatch(digits):
                yield int(digits)

    def read(self, data_set: str, name: str, number: int) -> RemoteRef:
        """Return a record. Raises NotFound, RemoteProblem."""
        return get_decoded(
            self._bucket,
            _path(data_set, name, number),
            lambda data: _decode(data_set, name, number, data),
            most=JSON_MAX_BYTES,
        )

    def _get(self, path: str) -> bytes:
        return self._bucket.get(path, most=JSON_MAX_BYTES)


def _set_back(data_set: str, name: str) -> RemoteProblem:
    return RemoteProblem(
        f"'{data_set}@{name}' on the remote is not what it was: records that were seen are gone",
        hint="an older state of it was put there, or a new remote; to take it as it is: "
        "vfs remote remove NAME, then add it again",
    )


def _directory(data_set: str, name: str) -> str:
    return f"{REFS}/{check_data_set_name(data_set)}/{check_ref_name(name)}"


def _path(data_set: str, name: str, number: int) -> str:
    return f"{_directory(data_set, name)}/{number:020}"


def _is_name(name: str, what: Literal["data set", "reference"]) -> bool:
    """Say whether a name from outside can be one here; others are as good as not there."""
    try:
        check_data_set_name(name) if what == "data set" else check_ref_name(name)
    except InvalidName:
        return False
    return True


def _decode(data_set: str, name: str, number: int, data: bytes) -> RemoteRef:
    """Return the record that *data* holds. Raises RemoteProblem."""
    path = _path(data_set, name, number)
    value = decode_record(path, data, _KEYS)
    commit, kind, previous = value.get("commit"), value.get("kind"), value.get("previous")
    if (
        not (commit is None or _is_hex(commit))
        or kind not in ("branch", "tag")
        or not (_is_hex(previous) if number else previous == "")
        or not isinstance(value.get("force"), bool)
        or not isinstance(value.get("time"), int)
        or not all(isinstance(value.get(key), str) for key in ("who", "why"))
    ):
        raise RemoteProblem(f"'{path}' on the remote is damaged")
    return RemoteRef(
        data_set=data_set,
        name=name,
        number=number,
        kind=kind,
        commit=None if commit is None else ObjectId(bytes.fromhex(commit)),
        digest=object_id(data).hex(),
        previous=str(previous),
        force=value["force"],
        time_ns=value["time"],
        who=value["who"],
        why=value["why"],
    )


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None
