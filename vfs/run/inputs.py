"""The inputs of a run: exact versions, by names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vfs.errors import InvalidInput, InvalidName, NotADirectory
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, directory_totals
from vfs.model.names import DEFAULT_BRANCH, Target, parse_target
from vfs.repo.trees import walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from vfs.model.commit import JSON
    from vfs.repo.repository import Repository
    from vfs.repo.treepaths import Path

PATHS_MAX: Final = 2000
PATHS_MAX_BYTES: Final = 128 << 10  # in a commit, of the files that were read

_NAMED: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version as it was asked for, and what the run calls it."""

    name: str
    target: Target

    @property
    def variable(self) -> str:
        """Return the name of the variable with the input's path."""
        return "VFS_IN_" + re.sub(r"[^A-Z0-9]", "_", self.name.upper())


@dataclass(frozen=True, slots=True)
class Input:
    """A version, or a directory of it, that a run is shown."""

    wanted: Wanted
    commit: ObjectId
    slot: int
    time_ns: int  # of the commit

    def facts(self) -> dict[str, JSON]:
        """Return what is recorded of it."""
        target = self.wanted.target
        return {
            "name": self.wanted.name,
            "data_set": target.data_set,
            "revision": target.revision or DEFAULT_BRANCH,
            "commit": self.commit.hex(),
            "path": os.fsdecode(b"/".join(target.path)),
        }


def parse_input(text: str) -> Wanted:
    """Parse `[NAME=]data[@revision][:PATH]`. Raises InvalidName."""
    match = _NAMED.fullmatch(text)
    target = parse_target(match[2] if match else text)
    return Wanted(match[1] if match else target.data_set, target)


def check_names(wanted: Sequence[Wanted]) -> None:
    """Raise InvalidInput where two inputs would have the same variable, and so the same name."""
    seen: dict[str, Wanted] = {}
    for one in wanted:
        other = seen.setdefault(one.variable, one)
        if other is not one:
            raise InvalidInput(
                f"two inputs are called '{one.name}': {other.target} and {one.target}",
                hint=f"name one of them: --in NAME={one.target}",
            )


def resolve(repo: Repository, wanted: Wanted, commit: str | None = None) -> Input:
    """Return the version that is meant now, or *commit* (hex). Raises NotFound, NotADirectory."""
    target = wanted.target
    found = repo.resolve(target.data_set, commit or target.revision)
    record = repo.commit(found.commit)
    if not repo.entry_at(record.root, target.path).is_dir:
        raise NotADirectory(
            f"'{target}' is no directory, and can't be an input", hint="name the one it is in"
        )
    return Input(wanted, found.commit, found.slot, record.time_ns)


def from_facts(repo: Repository, facts: Mapping[str, JSON]) -> Input:
    """Return the input that was recorded. Raises NotFound where its version is gone."""
    path = tuple(os.fsencode(str(facts["path"])).split(b"/")) if facts["path"] else ()
    try:
        wanted = Wanted(
            str(facts["name"]), Target(str(facts["data_set"]), str(facts["revision"]), path)
        )
        return resolve(repo, wanted, str(facts["commit"]))
    except (KeyError, InvalidName) as error:
        raise InvalidInput(f"the record of an input is not complete: {error}") from None


def what_was_read(repo: Repository, source: Input, numbers: AbstractSet[int]) -> dict[str, JSON]:
    """Return which files of an input have one of *numbers*, bounded: all in a hash, some by name.

    Files that are equal in all but their names have one number, so of those all count.
    """
    root = repo.entry_at(repo.commit(source.commit).root, source.wanted.target.path)
    digest = blake3()
    paths: list[str] = []
    count = size = 0
    for path in _with_numbers(repo, root, numbers):
        digest.update(path + b"\0")
        count += 1
        size += len(path)
        if len(paths) < PATHS_MAX and size <= PATHS_MAX_BYTES:
            paths.append(os.fsdecode(path))
    return {
        "files": count,
        "of": directory_totals(root).files,
        "blake3": digest.hexdigest(),
        "paths": tuple(paths) if len(paths) == count else None,
    }


def _with_numbers(repo: Repository, root: Entry, numbers: AbstractSet[int]) -> Iterator[bytes]:
    """Yield the paths of files with certain numbers, each directory before those in it."""
    waiting: list[tuple[Path, ObjectId]] = [((), root.content)]
    while waiting:
        prefix, tree = waiting.pop()
        if tree == NO_CONTENT:
            continue
        for place in walk(repo.nodes, tree):
            entry = place.entry
            path = (*prefix, entry.name)
            if entry.is_dir:
                waiting.append((path, entry.content))
            elif repo.store.numbering.number(place.leaf.identity(place.leaf_index)) in numbers:
                yield b"/".join(path)
