"""What was last seen of remotes' references. Their commits are kept as those of references are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from vfs.errors import CorruptObject
from vfs.ids import ObjectId

if TYPE_CHECKING:
    from vfs.store.births import Brought
    from vfs.store.environment import Environment, Txn
    from vfs.store.refs import RefTable
    from vfs.store.settings import Settings

COMMITS_AT_ONCE: Final = 5_000  # new commits of a transaction: a row in two tables each
_PREFIX: Final = "tracking/"
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A remote's branch or tag as it was when it was last seen."""

    remote: str
    data_set: str
    name: str
    kind: str  # "branch" or "tag"
    commit: ObjectId | None  # None: it was deleted there
    number: int  # of the remote's record
    digest: str  # of that record


class Tracking:
    """Rows `tracking/REMOTE/DATASET/NAME` of the settings."""

    def __init__(self, env: Environment, refs: RefTable, settings: Settings) -> None:
        self._env = env
        self._refs = refs
        self._settings = settings

    def get(self, remote: str, data_set: str, name: str) -> Tracked | None:
        """Return what was last seen of a reference, or None. Raises CorruptObject."""
        key = _key(remote, data_set, name)
        value = self._settings.get(key)
        return None if value is None else _decode(key, value)

    def all(self, remote: str | None = None) -> list[Tracked]:
        """Return what was last seen of a remote's references, or of all. Raises CorruptObject."""
        prefix = _PREFIX if remote is None else f"{_PREFIX}{remote}/"
        return [_decode(key, value) for key, value in self._settings.items(prefix)]

    def roots(self) -> Iterator[ObjectId]:
        """Yield the commits that are kept for being a remote's: roots, as references' are."""
        for seen in self.all():
            if seen.commit is not None:
                yield seen.commit

    def record(
        self, seen: Sequence[Tracked], commits: Sequence[tuple[str, ObjectId, Brought]] = ()
    ) -> None:
        """Note what was seen, and give slots to new commits, parents first.

        A commit comes with its data set, and with what it has that its first parent has not. All
        that they lead to must be durable. References are noted in the last transaction.
        """
        for at in range(0, len(commits), COMMITS_AT_ONCE):
            part = commits[at : at + COMMITS_AT_ONCE]
            self._env.write(partial(self._add_commits, commits=part))
        self._env.write(partial(self._put, seen=seen))

    def forget(self, remote: str) -> None:
        """Forget all of a remote."""
        self._settings.delete_all(f"{_PREFIX}{remote}/")

    def _add_commits(self, txn: Txn, commits: Sequence[tuple[str, ObjectId, Brought]]) -> None:
        for data_set, commit, brought in commits:
            self._refs.add_commit_in(txn, data_set, commit, brought)

    def _put(self, txn: Txn, seen: Sequence[Tracked]) -> None:
        for one in seen:
            value = {
                "commit": None if one.commit is None else one.commit.hex(),
                "digest": one.digest,
                "kind": one.kind,
                "number": one.number,
            }
            self._settings.put_in(txn, _key(one.remote, one.data_set, one.name), value)


def _key(remote: str, data_set: str, name: str) -> str:
    return f"{_PREFIX}{remote}/{data_set}/{name}"


def _decode(key: str, value: dict[str, Any]) -> Tracked:
    names = key.removeprefix(_PREFIX).split("/")
    commit, kind = value.get("commit"), value.get("kind")
    number, digest = value.get("number"), value.get("digest")
    if (
        len(names) != 3
        or not (commit is None or (isinstance(commit, str) and _HEX.fullmatch(commit)))
        or kind not in ("branch", "tag")
        or not isinstance(number, int)
        or not isinstance(digest, str)
    ):
        raise CorruptObject(f"the setting '{key}' is damaged")
    return Tracked(
        remote=names[0],
        data_set=names[1],
        name=names[2],
        kind=kind,
        commit=None if commit is None else ObjectId(bytes.fromhex(commit)),
        number=number,
        digest=digest,
    )
