"""A repository of several versions, and what each of them should look like."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.trees import MTIME_NS, Tree
from tests.support.versions import commit
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra, Link
from vfs.repo.repository import Repository


def special(kind: int, mode: int = 0o644, *, size: int = 0, **extra: object) -> Entry:
    encoded = Extra(**extra).encode()  # type: ignore[arg-type]
    return Entry(b"?", kind | mode, 1, 2, MTIME_NS, size, NO_CONTENT, 0, encoded)


LINKED = special(stat.S_IFREG, link=Link(b"12345678", 2))
BIG = b"".join(b"line %d\n" % number for number in range(60_000))  # several chunks
COMMON: Tree = {
    b"same": b"same in all versions",
    b"again": b"same in all versions",
    b"empty": b"",
    b"big": BIG,
    b"link": special(stat.S_IFLNK, 0o777, size=5, target=b"../to"),
    b"fifo": special(stat.S_IFIFO),
    b"socket": special(stat.S_IFSOCK),
    b"null": special(stat.S_IFCHR, rdev=0x103),
    b"loop": special(stat.S_IFBLK, rdev=0x700),
    b"hard1": LINKED,
    b"hard2": LINKED,
    b"xattr": special(stat.S_IFREG, xattrs=((b"user.a", b"1"), (b"user.b", b"\0\xff"))),
    b"caf\xe9 \n": b"odd name",
    b"empty dir": {},
    b"unchanged": {b"deep": {b"deeper": {b"file": b"x"}}, b"file": b"y"},
    b"wide": {b"%04d" % number: b"%d" % (number % 7) for number in range(700)},
    b"dirs": {b"%03d" % number: {b"in": {b"f": b"%d" % number}} for number in range(150)},
}
VERSIONS: tuple[Tree, ...] = (
    COMMON,
    {**COMMON, b"added": b"new", b"changed": {b"deep": {b"f": b"1"}}},
    {**COMMON, b"added": b"other", b"changed": {b"deep": {b"f": b"2"}, b"more": {}}},
)


@dataclass
class Made:
    """A store, and the commits of its versions: v0, v1, v2; main is v2."""

    path: Path
    commits: list[ObjectId]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("fs") / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        repo.create_data_set("void")
        commits = [
            commit(repo, tree, tag=f"v{number}").commit for number, tree in enumerate(VERSIONS)
        ]
    return Made(path, commits)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Repository]:
    """A repository that a test may change, with one version."""
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        commit(repo, VERSIONS[0], tag="v0")
        yield repo
