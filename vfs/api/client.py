"""A store, for programs: what `vfs` does on the command line, without a mount."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from vfs.api.connection import connect
from vfs.api.paths import Info, PathLike, info_of, parse_path
from vfs.api.transaction import Transaction
from vfs.api.version import Version
from vfs.defaults import default_store
from vfs.errors import InvalidName
from vfs.model.names import DEFAULT_BRANCH, parse_target
from vfs.repo.history import Filter, history
from vfs.repo.renames import with_renames
from vfs.repo.repository import Repository
from vfs.repo.treediff import Difference, differences, expand

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import JSON
    from vfs.store.refrows import Ref


@dataclass(frozen=True, slots=True)
class Change:
    """One path at which two versions differ."""

    path: str
    kind: Literal["added", "modified", "deleted", "renamed", "type changed"]
    changed: tuple[str, ...]  # of "content", "mode", "owner", "xattrs", "links", "time"
    old: Info | None
    new: Info | None


class Client:
    """A store. Thread-safe; forks and pickles as its versions do."""

    def __init__(self, store: str | os.PathLike[str] | None = None) -> None:
        """*store*: its directory. [default: $VFS_STORE, or ~/.local/share/vfs]"""
        self._connection = connect(Path(store) if store is not None else default_store())

    @classmethod
    def create(cls, store: str | os.PathLike[str]) -> Client:
        """Make an empty store. Raises AlreadyExists."""
        Repository.create(Path(store)).close()
        return cls(store)

    def __reduce__(self) -> tuple[type[Client], tuple[Path]]:
        return Client, (self.store,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store's files, for all clients and versions of it in this process.

        Whichever of them is used again opens them again.
        """
        self._connection.close()

    def __repr__(self) -> str:
        return f"Client({str(self.store)!r})"

    @property
    def store(self) -> Path:
        """The directory of the store."""
        return self._connection.path

    # data sets and versions

    def create_data_set(self, name: str) -> None:
        """Make an empty data set. Raises InvalidName, AlreadyExists."""
        with self._connection.repository() as repo:
            repo.create_data_set(name)

    def data_sets(self) -> list[str]:
        """Return the names of all data sets, sorted."""
        with self._connection.repository() as repo:
            return repo.data_sets()

    def refs(self, data_set: str) -> list[Ref]:
        """Return the branches and tags of a data set, sorted by name. Raises NotFound."""
        with self._connection.repository() as repo:
            return repo.refs(data_set)

    def open(self, target: str) -> Version:
        """Return the version that `data@REVISION` means now; `data` alone is `data@main`.

        Of a branch that is the last commit: what is not committed is seen in its mount alone.
        Raises NotFound, InvalidName.
        """
        data_set, revision = _data_set_and_revision(target)
        with self._connection.repository() as repo:
            found = repo.resolve(data_set, revision)
        return Version(self._connection, found.data_set, found.commit)

    def log(
        self, target: str, *, paths: tuple[PathLike, ...] = (), limit: int | None = None
    ) -> Iterator[Version]:
        """Yield a version and those before it, the newest first.

        With *paths*, only those in which one of these, or something below, changed.
        """
        data_set, revision = _data_set_and_revision(target)
        wanted = Filter(paths=[parse_path(path) for path in paths])
        with self._connection.repository() as repo:
            start = repo.resolve(data_set, revision).commit
            found: list[ObjectId] = []
            for version in history(repo, start, wanted):
                if limit is not None and len(found) >= limit:
                    break
                if version.shown:
                    found.append(version.id)
        return (Version(self._connection, data_set, commit) for commit in found)

    def diff(
        self, old: str | Version, new: str | Version, path: PathLike = "", *, renames: bool = True
    ) -> list[Change]:
        """Return what differs between two versions, at *path* and below, in the order of a walk.

        With *renames*, what was deleted in one place and added with the same content in another
        is one change. Takes as long as there is much that differs.
        """
        sides = [side if isinstance(side, Version) else self.open(side) for side in (old, new)]
        names = parse_path(path)
        with self._connection.repository() as repo:
            tops = [repo.entry_at(side.root, names) for side in sides]
            found = differences(repo.nodes, tops[0], tops[1], b"/".join(names))
            if renames:
                found = with_renames(repo.nodes, found)
            return [_change(one) for whole in found for one in expand(repo.nodes, whole)]

    # making versions

    def commit(
        self,
        target: str,
        message: str,
        *,
        author: str | None = None,
        provenance: Mapping[str, JSON] | None = None,
        tag: str | None = None,
    ) -> Transaction:
        """Begin a new version of the branch `data@BRANCH`: `with client.commit(...) as new:`.

        It is committed at the end of the block, unless that is left by an exception. The first
        version of a data set makes its branch. Raises NotFound; at the end Conflict, if somebody
        else changed the same paths meanwhile or the branch has changes in a mount.
        """
        data_set, branch = _data_set_and_revision(target)
        return Transaction(
            self._connection,
            data_set,
            branch or DEFAULT_BRANCH,
            message,
            author=author,
            provenance=dict(provenance or {}),
            tag=tag,
        )

    def tag(self, target: str, name: str, *, force: bool = False) -> None:
        """Give a version a name that stays. Raises AlreadyExists unless *force*."""
        data_set, revision = _data_set_and_revision(target)
        with self._connection.repository() as repo:
            commit = repo.resolve(data_set, revision).commit
            repo.set_tag(data_set, name, commit, force=force, why="tagged by a program")

    def branch(self, target: str, name: str) -> None:
        """Make a branch at a version. Raises AlreadyExists."""
        data_set, revision = _data_set_and_revision(target)
        with self._connection.repository() as repo:
            commit = repo.resolve(data_set, revision).commit
            repo.set_branch(data_set, name, commit, expected=None, why="made by a program")


def _data_set_and_revision(target: str) -> tuple[str, str]:
    parsed = parse_target(target)
    if parsed.path:
        raise InvalidName(f"'{target}' has a path, and none can stand here")
    return parsed.data_set, parsed.revision


def _change(found: Difference) -> Change:
    names = tuple(found.path.split(b"/"))
    before = names if found.old_path is None else tuple(found.old_path.split(b"/"))
    return Change(
        path=os.fsdecode(found.path),
        kind=found.kind,
        changed=found.aspects,
        old=found.old and info_of(before, found.old),
        new=found.new and info_of(names, found.new),
    )
