"""Work on a branch without a mount, that says what it does; and whether a store holds what it said.

States of the branch are numbered. The work says `begin N DIGEST` when a checkpoint of the state N
begins, `stored N` when it is durable, `commit N` before it commits the state N, `committed N` when
it has. Whatever happens to the process or the machine, the branch must then be the last state that
was stored or the one that was on its way, and have the commits that were confirmed, or one more.

As a script: `python -m tests.support.branch_work STORE SEED ROUNDS`.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.powercut import note
from vfs.fs.branch.attributes import SetAttr
from vfs.fs.branch.branch import Branch
from vfs.model.entry import Entry, Extra, directory_totals
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository

NAMES = [b"a", b"b", b"c", b"d", b"e", b"f"]


class Work:
    """A branch's process, which changes, stores and commits by chance."""

    def __init__(self, path: Path, seed: int, say: Callable[[str], None]) -> None:
        self.chance = random.Random(seed)
        self.say = say
        self.state = self.stored = 0
        self.repo = Repository.open(path, map_bytes=1 << 20)
        self.open()

    def open(self) -> None:
        self.branch = Branch(self.repo.store, "data", "main")
        self.repo.store.overlays.sweep()
        self.handles: list[int] = []

    def close(self) -> None:
        self.branch.close()
        self.repo.close()

    def run(self, rounds: int) -> None:
        for turn in range(1, rounds + 1):
            self.change(self.chance.randrange(1, 8))
            self.checkpoint(settle=turn % 3 == 0)
            if turn % 4 == 0:
                self.commit()
            if turn % 10 == 0:
                self.branch.close()
                self.open()

    # storing

    def checkpoint(self, *, settle: bool) -> None:
        """Store all; while it is being stored, something else is changed."""
        digest = branch_digest(self.branch)
        checkpoint = self.branch.begin_checkpoint(settle=settle)
        if checkpoint is None:
            return
        self.state += 1
        self.say(f"begin {self.state} {digest}")
        self.change(self.chance.randrange(2))
        self.branch.store_checkpoint(checkpoint)
        self.branch.end_checkpoint(checkpoint)
        self.stored = self.state
        self.say(f"stored {self.state}")

    def commit(self) -> None:
        """Commit what is stored."""
        self.say(f"commit {self.stored}")
        commit_overlay(self.repo, "data", "main", message=str(self.stored), author="A")
        self.say(f"committed {self.stored}")

    # changing

    def change(self, times: int) -> None:
        for _ in range(times):
            self.change_one()
        while len(self.handles) > 2:
            self.branch.files.release(self.handles.pop(0))
        self.branch.inodes.forget(list(self.branch.inodes.orphans))

    def change_one(self) -> None:
        names, turn = self.branch.names, self.chance.random()
        places = list(self.places())
        directory = self.chance.choice([ROOT_INO, *(ino for _, _, ino, is_dir in places if is_dir)])
        name = self.chance.choice(NAMES)
        there = [place for place in places if place[:2] == (directory, name)]
        plain = [place for place in places if not place[3]]
        if not there and (turn < 0.3 or not plain):
            kind = stat.S_IFDIR if self.chance.random() < 0.2 else stat.S_IFREG
            ino, _ = names.make(directory, name, kind | 0o644, 1, 2)
            if kind == stat.S_IFREG:
                self.write(ino)
        elif plain:
            self.change_file(*self.chance.choice(plain)[:3], (directory, name), there, turn)

    def change_file(
        self,
        parent: int,
        name: bytes,
        ino: int,
        new: tuple[int, bytes],
        there: list[tuple[int, bytes, int, bool]],
        turn: float,
    ) -> None:
        names, attributes = self.branch.names, self.branch.attributes
        if turn < 0.65:
            self.write(ino)
        elif turn < 0.75:
            size = self.chance.choice((0, 100, 5000, 70_000))
            attributes.setattr(ino, SetAttr(size=size, mode=0o600, mtime_ns=size))
        elif turn < 0.85 and not (there and there[0][3]):
            names.rename(parent, name, *new, 0)
        elif turn < 0.92 and not there:
            names.link(ino, *new)
        elif turn < 0.98:
            names.unlink(parent, name)
        else:
            attributes.setxattr(ino, b"user.x", self.chance.randbytes(40))

    def write(self, ino: int) -> None:
        handle = self.branch.files.open(ino, os.O_RDWR)
        for _ in range(self.chance.randrange(1, 4)):
            length = self.chance.choice((10, 4096, 6000, 30_000, 120_000))
            self.branch.files.write(
                handle, self.chance.randrange(100_000), self.chance.randbytes(length)
            )
        self.handles.append(handle)

    def places(self) -> Iterable[tuple[int, bytes, int, bool]]:
        waiting = [ROOT_INO]
        while waiting:
            directory = waiting.pop()
            for name, ino, row, _ in list(self.branch.names.list(directory)):
                is_dir = stat.S_ISDIR(row.mode)
                yield directory, name, ino, is_dir
                if is_dir:
                    waiting.append(ino)


# what there is


def branch_digest(branch: Branch) -> str:
    """Return a digest of all that a commit of the branch would hold."""
    digest = hashlib.sha256()

    def add(path: bytes, ino: int) -> None:
        row = branch.inodes.row(ino)
        data = row.target
        if stat.S_ISREG(row.mode):
            handle = branch.files.open(ino, os.O_RDONLY)
            plan = branch.files.plan_read(handle, 0, 1 << 40)
            data = b"" if plan is None else branch.files.read_now(plan)
            branch.files.release(handle)
        mtime_ns = 0 if path == b"" else row.mtime_ns
        facts = path, row.mode, row.uid, row.gid, row.nlink, mtime_ns, row.xattrs, data
        digest.update(repr(facts).encode())
        if stat.S_ISDIR(row.mode):
            for name, child, _, _ in list(branch.names.list(ino)):
                add(path + b"/" + name, child)

    add(b"", ROOT_INO)
    return digest.hexdigest()


def commit_digest(repo: Repository, root: Entry) -> str:
    """Return the same of a version."""
    digest = hashlib.sha256()

    def add(path: bytes, entry: Entry) -> None:
        extra = Extra.decode(entry.extra)
        data = b"".join(repo.read_file(entry)) if entry.is_file else extra.target
        nlink = extra.link.nlink if extra.link else 1
        if entry.is_dir:
            nlink = 2 + directory_totals(entry).subdirs
        mtime_ns = 0 if path == b"" else entry.mtime_ns
        facts = path, entry.mode, entry.uid, entry.gid, nlink, mtime_ns, extra.xattrs, data
        digest.update(repr(facts).encode())
        if entry.is_dir:
            for child in repo.entries(entry.content):
                add(path + b"/" + child.name, child)

    add(b"", root)
    return digest.hexdigest()


def check(path: Path, notes: Iterable[str]) -> None:
    """Raise AssertionError where a store doesn't hold what *notes* say, or holds something else."""
    digests: dict[int, str] = {}
    stored = begun = 0
    committed: list[int] = []
    committing: list[int] = []
    for line in notes:
        match line.split():
            case ["begin", number, digest]:
                begun = int(number)
                digests[begun] = digest
            case ["stored", number]:
                stored = int(number)
            case ["commit", number]:
                committing = [int(number)]
            case ["committed", number]:
                if [int(number)] != committed[-1:]:
                    committed.append(int(number))
                committing = []
    with Repository.open(path) as repo:
        branch = Branch(repo.store, "data", "main")
        repo.store.overlays.sweep()
        try:
            found = branch_digest(branch)
            if stored or begun:
                now = {digests[number] for number in (stored, begun) if number}
                assert found in now or not stored, f"neither the state {stored} nor {begun}"
            _check_works(branch)
        finally:
            branch.close()
        history = list(repo.log("data"))[-2::-1]  # the first one was there before
        messages = [int(commit.message) for _, commit in history]
        assert messages in (committed, committed + committing), (messages, committed, committing)
        for number, (_, commit) in zip(messages, history, strict=True):
            assert commit_digest(repo, commit.root) == digests[number], f"the commit of {number}"


def _check_works(branch: Branch) -> None:
    """Check that it goes on from here."""
    names = branch.names
    ino, _ = names.make(ROOT_INO, b"made after it", stat.S_IFREG | 0o644, 0, 0)
    assert not ino & LINKED_INO
    handle = branch.files.open(ino, os.O_RDWR)
    branch.files.write(handle, 10_000, b"something")
    before = branch_digest(branch)
    checkpoint = branch.begin_checkpoint()
    assert checkpoint is not None
    branch.store_checkpoint(checkpoint)
    branch.end_checkpoint(checkpoint)
    again = Branch(branch.store, branch.data_set, branch.branch)
    try:
        assert branch_digest(again) == before
    finally:
        again.close()


def main(store: str, seed: str, rounds: str) -> None:
    path = Path(store)
    work = Work(path, int(seed), lambda text: note(path, text))
    work.run(int(rounds))
    work.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
