"""A store with a small history, made without an importer: all kinds of entries, odd names."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from vfs.cli.main import vfs
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, Extra, Link, directory_entry
from vfs.repo.repository import Repository
from vfs.repo.trees import TreeBuilder
from vfs.store.ingest import Ingest

Tree: TypeAlias = "Mapping[bytes, bytes | Entry | Tree]"
Run: TypeAlias = Callable[..., Result]

MTIME_NS = 1_700_000_000_123_456_789
BIG = bytes(range(256)) * 1000


def special(kind: int, mode: int = 0o644, *, size: int = 0, **extra: object) -> Entry:
    encoded = Extra(**extra).encode()  # type: ignore[arg-type]
    return Entry(b"?", kind | mode, 1, 2, MTIME_NS, size, NO_CONTENT, 0, encoded)


FIRST: Tree = {
    b"README": b"first\n",
    b"big": BIG,
    b"empty": b"",
    b"sub": {b"a": b"A", b"deep": {b"b": b"BB"}},
}
SECOND: Tree = {
    **FIRST,
    b"README": b"second\n",
    b"caf\xe9": b"latin",
    b"devices": {
        b"fifo": special(stat.S_IFIFO),
        b"null": special(stat.S_IFCHR, 0o666, rdev=os.makedev(1, 3)),
    },
    b"escape\x1b[31m": b"",
    b"hard": special(stat.S_IFREG, link=Link(b"01234567", 2)),
    b"link": special(stat.S_IFLNK, 0o777, size=6, target=b"README"),
    b"run": special(stat.S_IFREG, 0o755),
}


def build(ingest: Ingest, name: bytes, tree: Tree) -> Entry:
    builder = TreeBuilder(ingest)
    for child, content in sorted(tree.items()):
        if isinstance(content, Entry):
            builder.add(content._replace(name=child))
        elif isinstance(content, bytes):
            oid = ingest.add_chunks([content])[0] if content else NO_CONTENT
            entry = Entry(child, 0o100644, 1, 2, MTIME_NS, len(content), oid, 0, b"")
            builder.add(entry)
        else:
            builder.add(build(ingest, child, content))
    oid, totals = builder.finish()
    return directory_entry(name, oid, totals, uid=1, gid=2, mtime_ns=MTIME_NS)


def commit(repo: Repository, tree: Tree, message: str, tag: str) -> None:
    with repo.store.ingest() as ingest:
        root = build(ingest, b"", tree)
        repo.commit_root(
            "data", "main", lambda _: root, ingest=ingest, message=message, author="me", tag=tag
        )


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with data@v1 and data@v2, for tests that only read it."""
    path = tmp_path_factory.mktemp("cli") / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        repo.create_data_set("void")
        commit(repo, FIRST, "First", "v1")
        commit(repo, SECOND, "Second\n\nwith odd names, \udcff and \x1b[31m", "v2")
    return path


@pytest.fixture
def run(prepared: Path) -> Run:
    return lambda *args: CliRunner().invoke(vfs, ["--store", str(prepared), *args])


@pytest.fixture
def new_store(tmp_path: Path) -> Path:
    """A store of one test, that it may write to."""
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        commit(repo, FIRST, "First", "v1")
        commit(repo, SECOND, "Second", "v2")
    return path


@pytest.fixture
def change(new_store: Path) -> Run:
    return lambda *args, **how: CliRunner().invoke(vfs, ["--store", str(new_store), *args], **how)
