"""A store with something of everything that a store can hold, and ways to change its rows."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vfs.fs.branch.attributes import SetAttr
from vfs.fs.branch.branch import Branch
from vfs.ids import ObjectId
from vfs.model.names import parse_target
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository
from vfs.store.environment import Txn

BIG_BYTES = 3_000_000
MANY = 600


def make_source(source: Path) -> None:
    """Files of all kinds: empty, small, large, sparse, linked, with attributes, odd names."""
    shuffle = random.Random(7)
    (source / "many").mkdir(parents=True)
    (source / "deep/er/still").mkdir(parents=True)
    (source / "empty").mkdir()
    for number in range(MANY):
        (source / f"many/{number:04}").write_bytes(b"content %d" % number)
    (source / "deep/er/still/file").write_bytes(b"deep")
    (source / "big").write_bytes(shuffle.randbytes(BIG_BYTES))
    (source / "text").write_bytes(b"a line of text\n" * 20_000)
    (source / "nothing").touch()
    with (source / "sparse").open("wb") as file:
        file.truncate(5_000_000)
        file.seek(2_000_000)
        file.write(shuffle.randbytes(300_000))
    (source / "one").write_bytes(b"linked")
    os.link(source / "one", source / "deep/two")
    os.link(source / "one", source / "three")
    (source / "symlink").symlink_to("big")
    os.mkfifo(source / "fifo")
    (source / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    os.utime(source / "big", ns=(1, 1_700_000_000_123_456_789))


def import_tree(repo: Repository, source: Path, target: str, **options: object) -> ObjectId:
    filled = ImportOptions(**{"message": "a version", **options})  # type: ignore[arg-type]
    return import_source(repo, source, parse_target(target), filled).commit


@contextmanager
def changing(repo: Repository, branch: str) -> Iterator[Branch]:
    """Open a branch as a serving process does; all that was changed is stored at the end."""
    opened = Branch(repo.store, "data", branch)
    if not opened.is_claimed:
        opened.claim()
    try:
        yield opened
        store(opened)
    finally:
        opened.close()


def store(branch: Branch) -> None:
    """Make a checkpoint."""
    checkpoint = branch.begin_checkpoint()
    if checkpoint is not None:
        branch.store_checkpoint(checkpoint)
        branch.end_checkpoint(checkpoint)


def make_file(branch: Branch, parent: int, name: bytes, data: bytes) -> int:
    ino, _ = branch.names.make(parent, name, 0o100644, 1, 2)
    handle = branch.files.open(ino, os.O_RDWR)
    branch.files.write(handle, 0, data)
    branch.files.release(handle)
    return ino


def look_up(branch: Branch, path: bytes) -> int:
    ino = ROOT_INO
    for name in path.split(b"/"):
        ino, _ = branch.inodes.lookup(ino, name)
    return ino


def change_branch(branch: Branch) -> None:
    """Change some of everything."""
    names = branch.names
    directory, _ = names.make(ROOT_INO, b"new directory", 0o040755, 1, 2)
    make_file(branch, directory, b"new", b"new content")
    make_file(branch, directory, b"large", random.Random(8).randbytes(700_000))
    names.make(directory, b"pipe", 0o010644, 1, 2)
    names.make(directory, b"symlink", 0o120777, 1, 2, target=b"new")
    names.rename(look_up(branch, b"deep"), b"er", directory, b"moved", 0)
    names.unlink(look_up(branch, b"many"), b"0003")
    names.rename(look_up(branch, b"many"), b"0004", ROOT_INO, b"renamed", 0)
    names.rmdir(ROOT_INO, b"empty")
    names.unlink(ROOT_INO, b"three")  # of three hard links
    names.link(look_up(branch, b"text"), directory, b"linked text")
    branch.attributes.setattr(look_up(branch, b"many/0010"), SetAttr(mode=0o600))
    branch.attributes.setattr(look_up(branch, b"caf\xe9"), SetAttr(atime_ns=5))
    branch.attributes.setattr(look_up(branch, b"sparse"), SetAttr(size=2_100_000))
    names.rename(ROOT_INO, b"fifo", directory, b"pipe", 2)  # exchanged
    orphan = make_file(branch, ROOT_INO, b"orphan", b"unlinked while it is open")
    branch.files.open(orphan, os.O_RDWR)
    store(branch)
    names.unlink(ROOT_INO, b"orphan")
    handle = branch.files.open(look_up(branch, b"big"), os.O_RDWR)
    branch.files.write(handle, 100_000, b"a patch" * 1000)
    store(branch)


def make_full_store(directory: Path) -> Path:
    """Make a store with imports, tags, several versions, and branches with changes."""
    path, source = directory / "store", directory / "source"
    make_source(source)
    with Repository.create(path) as repo:
        for name in ("data", "other", "void"):
            repo.create_data_set(name)
        first = import_tree(repo, source, "data", tag="v1")
        for number in (5, 80, 300):
            (source / f"many/{number:04}").write_bytes(b"changed %d" % number)
        (source / "text").write_bytes(b"another line of text\n" * 20_000)
        second = import_tree(repo, source, "data", tag="v2")
        import_tree(repo, source / "deep", "other")
        for branch in ("exp", "half", "clean", "gone"):
            repo.set_branch("data", branch, first, expected=None, why="test")
        repo.set_tag("data", "moves", first, why="test")
        repo.set_tag("data", "moves", second, force=True, why="test")
        repo.delete_ref("data", "gone", kind="branch")
        with changing(repo, "exp") as opened:
            change_branch(opened)
        with changing(repo, "half") as opened:
            change_branch(opened)
            commit_overlay(repo, "data", "half", message="a half", author="me")
            make_file(opened, ROOT_INO, b"after", b"after the commit")
        with changing(repo, "clean") as opened:
            make_file(opened, ROOT_INO, b"one more", b"one more")
            store(opened)
            commit_overlay(repo, "data", "clean", message="all of it", author="me")
        with changing(repo, "main"):
            pass  # claimed, and nothing written
    return path


def edit(path: Path, change: Callable[[Txn, dict[str, object]], None]) -> None:
    """Change rows of a store, as nothing but damage does."""
    with Repository.open(path) as repo:
        env = repo.store._env
        env.write(lambda txn: change(txn, env.tables))  # type: ignore[arg-type]


def rows(path: Path, table: str) -> list[tuple[bytes, bytes]]:
    """Return all rows of a table."""
    with Repository.open(path, readonly=True) as repo, repo.store.held() as held:
        return [(key, bytes(value)) for key, value in held.rows(table)]


def put(path: Path, table: str, key: bytes, value: bytes) -> None:
    edit(path, lambda txn, tables: txn.put(key, value, db=tables[table]))  # type: ignore[arg-type]


def remove(path: Path, table: str, key: bytes) -> None:
    edit(path, lambda txn, tables: txn.delete(key, db=tables[table]))  # type: ignore[arg-type]
