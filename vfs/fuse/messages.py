"""What a branch's control socket carries: one line of JSON each way. Does no input or output.

A line may come from anybody who can reach the socket, so its length, its form and each of its
fields are checked before anything is done about it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from vfs import errors
from vfs.model.names import check_entry_name

LINE_MAX_BYTES: Final = 1 << 20
"""Of a request or an answer: some 10,000 paths."""

Verb = Literal["checkpoint", "discard", "info", "stop"]
Path = tuple[bytes, ...]

_VERBS: Final = frozenset(get_args(Verb))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: *paths* are of "discard" alone, none of them for all that there is."""

    verb: Verb
    paths: tuple[Path, ...] = ()


def encode_request(verb: Verb, paths: Sequence[Path] = ()) -> bytes:
    """Return the line that asks. Raises InvalidInput where it would be too long."""
    fields = {"do": verb, "paths": [os.fsdecode(b"/".join(path)) for path in paths]}
    return _line(fields)


def decode_request(line: bytes) -> Request:
    """Return what a line asks. Raises InvalidInput, InvalidName."""
    fields = _object(line)
    verb, paths = fields.get("do"), fields.get("paths", [])
    if not isinstance(verb, str) or verb not in _VERBS:
        raise errors.InvalidInput("a request that this server does not know")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise errors.InvalidInput("a request whose paths are none")
    return Request(cast("Verb", verb), tuple(_path(path) for path in paths))


def _path(text: str) -> Path:
    try:
        parts = os.fsencode(text).split(b"/")
    except UnicodeEncodeError:
        raise errors.InvalidInput(f"{text!r} can't be a path") from None
    return tuple(check_entry_name(part) for part in parts)


def encode_answer(**facts: str | int) -> bytes:
    """Return the line that answers."""
    return _line(facts)


def encode_error(error: errors.VfsError) -> bytes:
    """Return the line that says what went wrong."""
    return _line({"error": type(error).__name__, "message": str(error), "hint": error.hint})


def decode_answer(line: bytes) -> dict[str, object]:
    """Return the facts of an answer. Raises what the other side raised, InvalidInput."""
    fields = _object(line)
    kind = fields.get("error")
    if kind is None:
        return fields
    known = getattr(errors, kind, None) if isinstance(kind, str) else None
    if not (isinstance(known, type) and issubclass(known, errors.VfsError)):
        known = errors.VfsError
    raise known(str(fields.get("message", "")), hint=str(fields.get("hint", "")))


def _line(fields: Mapping[str, object]) -> bytes:
    line = json.dumps(fields).encode("ascii") + b"\n"
    if len(line) > LINE_MAX_BYTES:
        raise errors.InvalidInput("too many paths at once", hint="name their directory instead")
    return line


def _object(line: bytes) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise errors.InvalidInput("a message that is no JSON") from None
    if not isinstance(fields, dict):
        raise errors.InvalidInput("a message that is no object")
    return fields
