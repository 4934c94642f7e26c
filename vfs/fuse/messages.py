"""What a branch's control socket carries: one line of JSON each way. Does no input or output.

A line may come from anybody who can reach the socket, so its length, its form and each of its
fields are checked before anything is done about it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from vfs import errors
from vfs.ids import ID_BYTES
from vfs.model.names import check_entry_name

LINE_MAX_BYTES: Final = 1 << 20
"""Of a request or an answer: some 10,000 paths."""

Verb = Literal["checkpoint", "discard", "info", "restore", "stop"]
Path = tuple[bytes, ...]

_VERBS: Final = frozenset(get_args(Verb))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    *paths* are of "discard", none of them for all that there is; and of "restore", each to become
    what the *version*, a commit in hex, has at the one of *sources* beside it, () for its root.
    """

    verb: Verb
    paths: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    version: str = ""


def encode_request(
    verb: Verb, paths: Sequence[Path] = (), sources: Sequence[Path] = (), version: str = ""
) -> bytes:
    """Return the line that asks. Raises InvalidInput where it would be too long."""
    fields: dict[str, object] = {"do": verb, "paths": _texts(paths)}
    if verb == "restore":
        fields |= {"sources": _texts(sources), "version": version}
    return _line(fields)


def _texts(paths: Sequence[Path]) -> list[str]:
    return [os.fsdecode(b"/".join(path)) for path in paths]


def decode_request(line: bytes) -> Request:
    """Return what a line asks. Raises InvalidInput, InvalidName."""
    fields = _object(line)
    verb = fields.get("do")
    if not isinstance(verb, str) or verb not in _VERBS:
        raise errors.InvalidInput("a request that this server does not know")
    is_restore = verb == "restore"
    paths = _paths(fields.get("paths", []), root=is_restore)
    if not is_restore:
        return Request(cast("Verb", verb), paths)
    sources, version = _paths(fields.get("sources"), root=True), fields.get("version")
    if len(sources) != len(paths):
        raise errors.InvalidInput("a request that does not say what is to become what")
    if not isinstance(version, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * ID_BYTES}}}", version):
        raise errors.InvalidInput("a request whose version is none")
    return Request("restore", paths, sources, version)


def _paths(value: object, *, root: bool) -> tuple[Path, ...]:
    """Return the paths of a request; *root*: the empty one may be among them."""
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
        raise errors.InvalidInput("a request whose paths are none")
    return tuple(() if root and not path else _path(path) for path in value)


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
