"""The audit record: what was done to references and contents, chained by hashes.

A line is written in the transaction that makes the change it tells of, so there is none without
the other. Nothing removes lines. That a line in the middle was changed shows in the one behind it,
that the last ones are gone in `meta`; that all were written anew shows to whoever kept a head
elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from vfs.errors import CorruptObject
from vfs.ids import ID_BYTES
from vfs.model.auditline import FIRST, AuditLine
from vfs.store.layout import key_number, number_key

if TYPE_CHECKING:
    from vfs.model.canonical import JSON
    from vfs.store.environment import Environment, Txn

META_KEY: Final = b"audit"
COMMAND_MAX: Final = 2000  # characters that are kept of a command line
_KEY_BYTES: Final = 8


class Verdict(NamedTuple):
    """What a look at the whole chain found."""

    lines: int
    head: bytes  # BLAKE3-256 of the last line
    problems: tuple[str, ...]
    expected_at: int | None  # the line that had the expected hash


class Chain:
    """Follows the lines in their order, and says what is wrong with each."""

    def __init__(self) -> None:
        self.lines = 0
        self.head = FIRST

    def follow(self, key: bytes, value: bytes) -> str:
        """Take the next row; return what is wrong with it, "" for nothing."""
        number = key_number(key) if len(key) == _KEY_BYTES else 0
        expected, before = self.lines + 1, self.head
        self.lines, self.head = number, blake3(value).digest()
        if number != expected:
            return f"line {expected} is missing"
        try:
            line = AuditLine.decode(value)
        except CorruptObject as error:
            return f"line {number} is damaged: {error}"
        if line.before != before:
            return f"line {expected - 1} is not as it was when line {number} was written"
        return ""

    def end(self, meta: bytes | None) -> str:
        """Take what `meta` says of the last line; return what is wrong, "" for nothing."""
        if (meta or number_key(0) + FIRST) == number_key(self.lines) + self.head:
            return ""
        last = key_number(meta[:_KEY_BYTES]) if meta and len(meta) > _KEY_BYTES else 0
        if last > self.lines:
            return f"the lines from {self.lines + 1} to {last} are missing"
        return f"the last line, {self.lines}, is not the one that was written"


class AuditLog:
    """The audit record of one store. Thread-safe."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._t = env.tables

    def append_in(
        self, txn: Txn, action: str, facts: Mapping[str, JSON], *, time_ns: int, who: str
    ) -> int:
        """Append a line as part of *txn*; return its number.

        *action* is a word, or two with a dot between; *facts* what was done to what, and why.
        The process that does it, and its command line, are added.
        """
        meta = txn.get(META_KEY, db=self._t["meta"])
        number = 1 if meta is None else key_number(meta[:_KEY_BYTES]) + 1
        line = AuditLine(
            before=FIRST if meta is None else bytes(meta[_KEY_BYTES:]),
            time_ns=time_ns,
            action=action,
            who=who,
            facts={**_origin(), **facts},
        ).encode()
        txn.put(number_key(number), line, db=self._t["audit"], append=True)
        txn.put(META_KEY, number_key(number) + blake3(line).digest(), db=self._t["meta"])
        return number

    def line(self, number: int) -> AuditLine | None:
        """Return a line, or None. Raises CorruptObject."""
        if "audit" not in self._t:
            return None
        with self._env.read() as txn:
            value = txn.get(number_key(number), db=self._t["audit"])
            return None if value is None else AuditLine.decode(bytes(value))

    def lines(self) -> Iterator[tuple[int, AuditLine]]:
        """Yield all lines with their numbers, the last one first. Raises CorruptObject."""
        for number in range(self.head()[0], 0, -1):
            line = self.line(number)
            if line is None:
                raise CorruptObject(f"the audit record is damaged: line {number} is missing")
            yield number, line

    def head(self) -> tuple[int, bytes]:
        """Return the number and the BLAKE3-256 of the last line; 0 and zeros for none."""
        with self._env.read() as txn:
            meta = txn.get(META_KEY, db=self._t["meta"])
            if meta is None:
                return 0, FIRST
            if len(meta) != _KEY_BYTES + ID_BYTES:
                raise CorruptObject("the audit record is damaged: its head is gone")
            return key_number(meta[:_KEY_BYTES]), bytes(meta[_KEY_BYTES:])

    def verify(self, expected: bytes | None = None) -> Verdict:
        """Follow the whole chain; say which line has the hash *expected*."""
        chain, problems, found = Chain(), [], None
        if expected == FIRST:
            found = 0
        with self._env.read() as txn:
            if "audit" in self._t:
                with txn.cursor(self._t["audit"]) as cursor:
                    for key, value in cursor:
                        problems.append(chain.follow(bytes(key), bytes(value)))
                        if chain.head == expected:
                            found = chain.lines
            meta = txn.get(META_KEY, db=self._t["meta"])
            problems.append(chain.end(None if meta is None else bytes(meta)))
        return Verdict(chain.lines, chain.head, tuple(filter(None, problems)), found)


def _origin() -> dict[str, JSON]:
    """Return which process does it, as far as it knows."""
    program, *arguments = sys.argv or [""]
    command = " ".join([PurePath(program).name, *arguments])
    return {"command": command[:COMMAND_MAX], "pid": os.getpid()}
