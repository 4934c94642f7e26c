"""Names: of data sets, references and entries; and `data[@revision][:PATH]` as typed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from vfs.errors import InvalidName
from vfs.model.entry import NAME_MAX_BYTES

LABEL_MAX: Final = 100  # so that data@<64 hex digits> and data@<name> fit into one file name
LATEST: Final = "latest"
DEFAULT_BRANCH: Final = "main"
SEPARATOR: Final = ".."
"""Between two revisions, for what differs between them; in no name."""

RUN_ID: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
"""The name of a run (`vfs.run`)."""

_RUNNING: Final = "running-"
_DATUMS: Final = "vfs-datums-"
_INPUTS: Final = "vfs-inputs-"

_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HEX_ID: Final = re.compile(r"[0-9a-f]{64}")


def check_data_set_name(name: str) -> str:
    """Return *name*, or raise InvalidName."""
    return _check_label(name, "data set")


def check_ref_name(name: str) -> str:
    """Return *name* if a branch or tag can have it, or raise InvalidName."""
    _check_label(name, "branch or tag")
    if name == LATEST or _HEX_ID.fullmatch(name):
        raise InvalidName(
            f"'{name}' always means a commit and can't name a branch or tag",
            hint="choose another name",
        )
    return name


def _check_label(name: str, what: str) -> str:
    if len(name) > LABEL_MAX:
        raise InvalidName(
            f"the name of a {what} has {len(name)} characters",
            hint=f"{LABEL_MAX} are allowed",
        )
    if not _LABEL.fullmatch(name) or SEPARATOR in name:
        raise InvalidName(
            f"'{name}' can't name a {what}",
            hint="letters, digits, '.', '_' and '-' are allowed, not '..', '.' or '-' in front",
        )
    return name


def check_entry_name(name: bytes) -> bytes:
    """Return *name* if an entry of a directory can have it, or raise InvalidName."""
    if len(name) > NAME_MAX_BYTES:
        raise InvalidName(f"a name of {len(name)} bytes (the limit is {NAME_MAX_BYTES})")
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidName(f"{os.fsdecode(name)!r} can't be the name of a file")
    return name


def work_branch(run_id: str) -> str:
    """Return the name of the branch that a run writes to."""
    return f"{_RUNNING}{run_id}"


def datums_branch(pipeline: str) -> str:
    """Return the name of the branch on which a pipeline keeps what it has done (`vfs.pipeline`).

    Raises InvalidName.
    """
    return check_ref_name(f"{_DATUMS}{pipeline}")


def inputs_branch(pipeline: str, number: int) -> str:
    """Return the name of a branch of a remote, on which a pipeline's workers find an input.

    Raises InvalidName.
    """
    return check_ref_name(f"{_INPUTS}{pipeline}.{number}")


def is_work_branch(name: str) -> bool:
    """Say whether a branch is one that hubs leave alone: of a run, or a pipeline's own."""
    if name.startswith((_DATUMS, _INPUTS)):
        return True
    return name.startswith(_RUNNING) and bool(RUN_ID.fullmatch(name, len(_RUNNING)))


@dataclass(frozen=True, slots=True)
class Target:
    """What `data[@revision][:PATH]` names; revision "" where none was given."""

    data_set: str
    revision: str = ""
    path: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        text = self.data_set + (f"@{self.revision}" if self.revision else "")
        return text + (":" + os.fsdecode(b"/".join(self.path)) if self.path else "")


def parse_target(text: str) -> Target:
    """Parse `data[@revision][:PATH]`. Raises InvalidName.

    A revision may hold ':' only between braces, as in `data@{2026-11-01T10:00Z}:PATH`.
    """
    match = re.fullmatch(
        r"(?P<data>[^@:]*)(@(?P<rev>(\{[^}]*\}|[^:{])*))?(:(?P<path>.*))?", text, re.DOTALL
    )
    if match is None:
        raise InvalidName(f"'{text}' is not of the form data[@revision][:PATH]")
    data_set = check_data_set_name(match["data"])
    revision = match["rev"]
    if revision == "":
        raise InvalidName(f"'{text}' names no revision behind the '@'")
    try:
        parts = os.fsencode(match["path"] or "").split(b"/")
    except UnicodeEncodeError:
        raise InvalidName(f"{text!r} has a character that no file name can have") from None
    path = tuple(check_entry_name(part) for part in parts if part not in (b"", b"."))
    return Target(data_set, revision or "", path)
