"""Commits of branches, against a model: the version is what the branch holds, always."""

from __future__ import annotations

import random
import shutil
import stat
import tempfile
from pathlib import Path as FilePath

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.overlay_model import ModelBranch, Path, assert_committed
from vfs.model.overlay import ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.branchstatus import Change, overlay_status
from vfs.repo.repository import Repository
from vfs.repo.uncommitted import PassingObjects, uncommitted_root

WHERE = st.integers(0, 999)
NAMES = st.sampled_from((b"a", b"b", b"c", b"caf\xe9"))
DATA = st.one_of(
    st.binary(max_size=3),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 2), st.integers(0, 20_000)),
)
MODES = st.sampled_from((0o600, 0o644, 0o4755))
KINDS = st.sampled_from((stat.S_IFREG, stat.S_IFREG, stat.S_IFIFO, stat.S_IFLNK, stat.S_IFCHR))


class Commits(RuleBasedStateMachine):
    """Any change, at any time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.path = FilePath(tempfile.mkdtemp())
        self.repo = Repository.create(self.path / "store")
        self.repo.create_data_set("data")
        self.branch = ModelBranch(self.repo)
        self.before: dict[Path, int] = {(): ROOT_INO}  # as of the last commit
        self.attributes: dict[Path, tuple[object, ...]] = {}
        self.flushed = True

    def teardown(self) -> None:
        self.repo.close()
        shutil.rmtree(self.path)

    def pick(self, number: int, *, of_dirs: bool | None = None) -> Path:
        paths = [
            path
            for path, ino in sorted(self.branch.paths().items())
            if of_dirs is None or self.branch.inodes[ino].is_dir == of_dirs
        ]
        return paths[number % len(paths)] if paths else ()

    def changed(self) -> None:
        self.flushed = False

    @rule(at=WHERE, name=NAMES, kind=KINDS, content=DATA, mode=MODES)
    def make(self, at: int, name: bytes, kind: int, content: bytes, mode: int) -> None:
        directory = self.branch.at(self.pick(at, of_dirs=True))
        if name in self.branch.children[directory]:
            return
        if kind == stat.S_IFLNK:
            content = b"target" + content[:3].replace(b"\0", b"x")
        elif kind != stat.S_IFREG:
            content = b""
        rdev = 0x103 if kind == stat.S_IFCHR else 0
        self.branch.make((directory, name), kind | mode, content, rdev)
        self.changed()

    @rule(at=WHERE, name=NAMES)
    def mkdir(self, at: int, name: bytes) -> None:
        directory = self.branch.at(self.pick(at, of_dirs=True))
        if name not in self.branch.children[directory]:
            self.branch.make((directory, name), stat.S_IFDIR | 0o755)
            self.changed()

    @rule(at=WHERE, content=DATA)
    def write(self, at: int, content: bytes) -> None:
        ino = self.branch.at(self.pick(at, of_dirs=False))
        if stat.S_ISREG(self.branch.inodes[ino].mode):
            self.branch.write(ino, content)
            self.changed()

    @rule(at=WHERE, mode=MODES, value=st.binary(max_size=2))
    def change(self, at: int, mode: int, value: bytes) -> None:
        ino = self.branch.at(self.pick(at))
        kind = stat.S_IFMT(self.branch.inodes[ino].mode)
        self.branch.change(ino, mode=kind | mode, xattrs={b"user.a": value} if value else {})
        self.changed()

    @rule(at=WHERE, to=WHERE, name=NAMES)
    def link(self, at: int, to: int, name: bytes) -> None:
        ino = self.branch.at(self.pick(at, of_dirs=False))
        directory = self.branch.at(self.pick(to, of_dirs=True))
        if not self.branch.inodes[ino].is_dir and name not in self.branch.children[directory]:
            self.branch.link(ino, (directory, name))
            self.changed()

    @rule(at=WHERE, into=WHERE, name=NAMES)
    def rename(self, at: int, into: int, name: bytes) -> None:
        branch = self.branch
        old, to = self.pick(at), self.pick(into, of_dirs=True)
        if not old or to[: len(old)] == old:
            return
        target = branch.children[branch.at(to)].get(name)
        if target is not None:
            if branch.inodes[target].is_dir != branch.inodes[branch.at(old)].is_dir:
                return
            if branch.children.get(target) or (*to, name) == old[: len(to) + 1]:
                return
        branch.rename((branch.at(old[:-1]), old[-1]), (branch.at(to), name))
        self.changed()

    @rule(at=WHERE, with_=WHERE)
    def exchange(self, at: int, with_: int) -> None:
        one, other = self.pick(at), self.pick(with_)
        shorter = min(len(one), len(other))
        if one[:shorter] == other[:shorter]:
            return
        branch = self.branch
        branch.exchange((branch.at(one[:-1]), one[-1]), (branch.at(other[:-1]), other[-1]))
        self.changed()

    @rule(at=WHERE)
    def remove(self, at: int) -> None:
        if path := self.pick(at):
            self._remove(path)
            self.changed()

    def _remove(self, path: Path) -> None:
        ino = self.branch.at(path)
        for name in list(self.branch.children.get(ino, ())):
            self._remove((*path, name))
        self.branch.remove((self.branch.at(path[:-1]), path[-1]))

    @precondition(lambda self: not self.flushed)
    @rule(patch=st.booleans())
    def flush(self, patch: bool) -> None:
        self.branch.flush(patch=patch)
        self.flushed = True

    @precondition(lambda self: self.flushed and self.branch.header.seq)
    @rule()
    def commit(self) -> None:
        with PassingObjects(self.repo.reader) as objects:
            _, now = uncommitted_root(self.repo, "data", "main", objects)
        done = commit_overlay(self.repo, "data", "main", message="m", author="a")
        assert self.repo.commit(done.commit).root == now
        assert_committed(self.repo, self.branch)
        assert overlay_status(self.repo, "data", "main") == []
        again = commit_overlay(self.repo, "data", "main", message="m", author="a")
        assert (again.commit, again.changed) == (done.commit, False)
        self.begin_again()

    @precondition(lambda self: self.flushed and self.branch.header.seq)
    @rule()
    def commit_and_mount_again(self) -> None:
        self.commit()
        self.branch = ModelBranch(self.repo)
        assert self.branch.header.seq == 0
        self.begin_again()

    def begin_again(self) -> None:
        self.before = self.branch.paths()
        inodes = self.branch.inodes
        self.attributes = {path: inodes[ino].attributes for path, ino in self.before.items()}

    @precondition(lambda self: self.flushed)
    @invariant()
    def status_says_what_changed(self) -> None:
        changes = overlay_status(self.repo, "data", "main")
        now = self.branch.paths()
        told = {change.path: change for change in changes if change.kind != "deleted"}
        deleted: set[Path | None] = {
            split(change.path) for change in changes if change.kind == "deleted"
        }
        assert len(told) + len(deleted) == len(changes)
        moved = {split(change.old_path) for change in changes if change.old_path is not None}
        gone = deleted | moved
        came_from = {path: origin(path, told) for path in now}
        for path, old in came_from.items():
            change = told.get(b"/".join(path) or b".")
            if old is not None:
                assert old in self.before, (path, old)
                self.check(path, old, change)
                continue
            assert change is not None
            assert change.kind == "added"
            above = came_from[path[:-1]]
            # Where there was something, it was a directory, which is gone from there.
            assert above is None or (*above, path[-1]) not in self.before.keys() - gone
        deleted |= {
            came_from[split(path)] for path, one in told.items() if one.kind == "type changed"
        }
        for path in self.before.keys() - set(came_from.values()):
            assert any(path[:depth] in deleted for depth in range(len(path) + 1)), path

    def check(self, path: Path, old: Path, change: Change | None) -> None:
        inode = self.branch.inodes[self.branch.at(path)]
        was, now = self.attributes.get(old), inode.attributes
        if was is None:
            return  # the root before there is any version
        if inode.is_dir:
            was, now = was[:3] + was[7:], now[:3] + now[7:]
        else:
            was, now = was[:6] + was[7:], now[:6] + now[7:]
        if change is None:
            assert was == now
        elif change.kind == "type changed":
            assert stat.S_IFMT(was[0]) != stat.S_IFMT(now[0])  # type: ignore[arg-type]
        elif change.kind == "modified":
            # Behind a patch, what is as it was may be named as well.
            assert was != now or (inode.stored is not None and inode.stored.patches)
        else:
            assert self.before[old] == self.branch.at(path)
            assert change.modified or was == now


def split(path: bytes) -> Path:
    return tuple(path.split(b"/"))


def origin(path: Path, told: dict[bytes, Change]) -> Path | None:
    """Return where something was at the last commit, None for what is new."""
    for depth in range(len(path), 0, -1):
        change = told.get(b"/".join(path[:depth]))
        if change is not None and change.kind == "added":
            return None
        if change is not None and change.old_path is not None:
            return (*split(change.old_path), *path[depth:])
    return path


Commits.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCommits = Commits.TestCase


@pytest.mark.parametrize("seed", range(12))
def test_a_long_life(seed: int) -> None:
    """More in one branch than hypothesis gets to."""
    chance = random.Random(seed)
    names, contents = (b"a", b"b", b"c", b"d"), (b"", b"x", b"y" * 9000, b"z" * 70_000)
    machine = Commits()

    def where() -> int:
        return chance.randrange(1000)

    steps = [
        lambda: machine.make(where(), chance.choice(names), stat.S_IFREG, b"new", 0o644),
        lambda: machine.mkdir(where(), chance.choice(names)),
        lambda: machine.mkdir(where(), chance.choice(names)),
        lambda: machine.write(where(), chance.choice(contents)),
        lambda: machine.change(where(), chance.choice((0o600, 0o644)), b"v"),
        lambda: machine.link(where(), where(), chance.choice(names)),
        lambda: machine.rename(where(), where(), chance.choice(names)),
        lambda: machine.exchange(where(), where()),
        lambda: chance.random() < 0.3 and machine.remove(where()),
    ]
    try:
        for step in range(300):
            for _ in range(chance.choice((1, 1, 1, 2, 10))):
                chance.choice(steps)()
            machine.flush(chance.random() < 0.5)
            machine.status_says_what_changed()
            if step % 10 == 9:
                chance.choice((machine.commit, machine.commit_and_mount_again))()
    finally:
        machine.teardown()
