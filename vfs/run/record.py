"""The provenance of a version that a run made: docs/provenance.md."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from vfs.errors import InvalidInput
from vfs.ids import ObjectId
from vfs.run.output import OutputPlace

if TYPE_CHECKING:
    from vfs.model.commit import JSON, Commit
    from vfs.repo.treepaths import Path

KIND: Final = "run"
PIPELINE_KIND: Final = "pipeline"
"""Of what a pipeline has made (`vfs.pipeline`): its inputs are recorded as those of a run."""

VERSION: Final = 1
COMMAND_MAX_BYTES: Final = 256 << 10
RECORD_MAX_BYTES: Final = 768 << 10
"""Of a commit's 1 MiB; the message, the author and the root's attributes have the rest."""


def check_command(command: Sequence[str]) -> None:
    """Raise InvalidInput for a command that no commit has room for."""
    size = _size(list(command))
    if size > COMMAND_MAX_BYTES:
        raise InvalidInput(
            f"the command has {size:,} bytes", hint=f"{COMMAND_MAX_BYTES:,} bytes can be recorded"
        )


def bounded(record: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Return a record that a commit has room for: if need be, without the paths that were read."""
    if _size(record) <= RECORD_MAX_BYTES:
        return record
    inputs: list[JSON] = []
    for facts in cast("Sequence[Mapping[str, JSON]]", record["inputs"]):
        read = facts.get("read")
        unnamed: Mapping[str, JSON] = {}
        if isinstance(read, Mapping):
            unnamed = {"read": {**read, "paths": None}}
        inputs.append({**facts, **unnamed})
    return {**record, "inputs": inputs}


def _size(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False)
    return len(text.encode("utf-8", "surrogateescape"))


def has_inputs(commit: Commit) -> bool:
    """Say whether it is recorded which versions this one was made from."""
    return commit.provenance.get("kind") in (KIND, PIPELINE_KIND)


def is_run(commit: Commit) -> bool:
    """Say whether a run made this version."""
    return commit.provenance.get("kind") == KIND


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What was recorded of a run."""

    facts: Mapping[str, Any]

    @classmethod
    def of(cls, commit: Commit, name: str) -> RunRecord:
        """Return the record of the version called *name*. Raises InvalidInput where it has none."""
        if not is_run(commit):
            raise InvalidInput(
                f"'{name}' was not made by vfs run, but by: {commit.provenance.get('kind', '?')}",
                hint=f"vfs provenance {name} shows what is known of it",
            )
        if commit.provenance.get("version") != VERSION:
            raise InvalidInput(
                f"the record of '{name}' is of a version that this vfs does not know",
                hint="use a newer vfs",
            )
        return cls(cast("Mapping[str, Any]", commit.provenance))

    @property
    def command(self) -> tuple[str, ...]:
        """Return the command and its arguments."""
        return tuple(map(str, self.facts["command"]))

    @property
    def inputs(self) -> Sequence[Mapping[str, Any]]:
        """Return what was recorded of the inputs."""
        return list(self.facts["inputs"])

    @property
    def tree(self) -> ObjectId:
        """Return the id of the tree of the directory that the run made."""
        return ObjectId(bytes.fromhex(self.facts["output"]["tree"]))

    def output(self) -> OutputPlace:
        """Return where the result went."""
        facts = self.facts["output"]
        return OutputPlace(
            data_set=facts["data_set"],
            branch=facts["branch"],
            path=path_of(facts),
            base=ObjectId(bytes.fromhex(facts["base"])),
            fresh=facts["fresh"],
        )


def path_of(facts: Mapping[str, Any]) -> Path:
    """Return the path that is recorded of an input or output."""
    raw = os.fsencode(facts["path"])
    return tuple(raw.split(b"/")) if raw else ()


def make_record(
    *,
    run_id: str,
    command: Sequence[str],
    directory: str,
    place: str,
    inputs: Sequence[Mapping[str, JSON]],
    output: Mapping[str, JSON],
    environment: Mapping[str, str],
    withheld: Sequence[str],
    keep_env: bool,
    machine: Mapping[str, JSON],
    times: Mapping[str, JSON],
    log: Mapping[str, JSON],
) -> dict[str, JSON]:
    """Return the provenance of a version, as its commit has it."""
    return {
        "kind": KIND,
        "version": VERSION,
        "id": run_id,
        "command": list(command),
        "directory": directory,
        "place": place,
        "inputs": list(inputs),
        "output": output,
        "environment": environment,
        "withheld": list(withheld),
        "keep_env": keep_env,
        **machine,
        **times,
        "exit_code": 0,
        "log": log,
    }
