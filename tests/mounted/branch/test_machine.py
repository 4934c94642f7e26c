"""Anything, in any order, on a branch and on a directory of ext4, with commits and crashes.

VFS_TEST_MACHINE_EXAMPLES sets for how many sequences; each has its own directory of one mount.
"""

from __future__ import annotations

import os
import random
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.branch_kill import kill_server
from tests.support.branch_pair import HoldingOps, Pair, check_committed, shape_of, times_of
from tests.support.posix import RENAME_EXCHANGE, RENAME_NOREPLACE
from tests.support.tree_ops import ATTRIBUTES, PAST_NS, UIDS, RandomOps, differences, tree_of

pytestmark = [pytest.mark.mounted, pytest.mark.crash, pytest.mark.slow]

EXAMPLES = int(os.environ.get("VFS_TEST_MACHINE_EXAMPLES", "12"))
STEPS = 50
SINCE_MIN = 5
MANY = 100
HELD_MAX = 4
OPENING = (
    "create", "write", "append", "map_write", "truncate", "read", "fsync", "unlinked", "hold",
    "forget_pages",
)  # fmt: skip

ANY, FILE, RECENT = "?", "?file", "?recent"  # not names: any path, any regular file, one used last

WHERE = st.integers(0, 999)
NAMES = st.sampled_from(("a", "b", "c", "file", "dir", "long" * 30))
NEW = st.tuples(WHERE, NAMES)
PATHS = st.tuples(WHERE, st.sampled_from((RECENT, RECENT, RECENT, ANY, ANY, ANY, FILE, "a")))
FILES = st.tuples(WHERE, st.sampled_from((RECENT, RECENT, RECENT, FILE, FILE, FILE, ANY, "a")))
OFFSETS = st.one_of(
    st.integers(0, 5000), st.integers(0, 80).map(lambda page: page * 4096), st.integers(0, 350_000)
)
DATA = st.one_of(
    st.binary(max_size=20),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 2), st.integers(0, 20_000)),
    st.builds(
        lambda seed, size: random.Random(seed).randbytes(size), WHERE, st.integers(1, 90_000)
    ),
)
MODES = st.sampled_from((0o644, 0o600, 0o777, 0o2755, 0o4711, 0o1777))
RENAME_FLAGS = st.sampled_from((0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE))
OPEN_FLAGS = st.sampled_from((0, 0, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_SYNC))
CREATE_FLAGS = st.sampled_from((0, 0, os.O_EXCL, os.O_TRUNC, os.O_NOFOLLOW))
KINDS = st.sampled_from((stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK))
TARGETS = st.sampled_from(("a", "dir", "a/b", "none", "../dir", "x" * 300))
TIMES = st.integers(0, PAST_NS - 1)
ENDS = st.sampled_from(("umount", "kill the server", "kill all"))

Where = tuple[int, str]


class BranchMachine(RuleBasedStateMachine):
    """Does everything twice, and compares."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        ours, theirs = pair.fresh()
        self.directory = ours
        self.ours, self.theirs = HoldingOps(ours), HoldingOps(theirs)
        self.last_held = 0
        self.recent: deque[str] = deque(maxlen=4)  # paths
        self.since = 0  # operations since the branch was committed or served again

    def teardown(self) -> None:
        try:
            if not self.pair.broken:
                self.compare()
        finally:
            for each in (self.ours, self.theirs):
                each.let_go_of_all()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What fails in here leaves a branch that no other example can use."""
        before, self.pair.broken = self.pair.broken, True
        yield
        self.pair.broken = before

    def do(self, name: str, *args: object) -> None:
        if name in OPENING and self.is_device(args):
            return
        note(f"{name}{args!r:.300}")
        self.since += 1
        paths = (arg for arg in args if isinstance(arg, str) and arg not in ATTRIBUTES)
        self.recent.extend(paths if name != "symlink" else ())
        with self.whole():
            found, wanted = (each.do((name, *args)) for each in (self.ours, self.theirs))
            assert found == wanted, f"{name}: {found}, not {wanted}"

    def is_device(self, args: tuple[object, ...]) -> bool:
        """A mount opens no devices."""
        for path in args:
            if isinstance(path, str) and os.path.exists(self.theirs.at(path)):
                mode = os.stat(self.theirs.at(path)).st_mode
                if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                    return True
        return False

    def at(self, where: Where) -> str:
        """The path that is meant: one there is, or a name in a directory there is."""
        number, name = where
        if name == RECENT and self.recent:
            return self.recent[-1 - number % len(self.recent)]
        every = sorted(shape_of(self.theirs.root))
        if name == FILE:
            every = [path for path in every if os.path.isfile(self.theirs.at(path))]
        if name in (ANY, FILE, RECENT):
            return every[number % len(every)] if every else "none"
        above = ["", *(path for path in every if os.path.isdir(self.theirs.at(path)))]
        directory = above[number % len(above)]
        return f"{directory}/{name}" if directory else name

    # names

    @rule(path=st.one_of(NEW, PATHS), mode=MODES, flags=CREATE_FLAGS)
    def create(self, path: Where, mode: int, flags: int) -> None:
        self.do("create", self.at(path), mode, flags)

    @rule(path=NEW, mode=MODES)
    def mkdir(self, path: Where, mode: int) -> None:
        self.do("mkdir", self.at(path), mode)

    @rule(path=NEW, kind=KINDS, mode=MODES)
    def mknod(self, path: Where, kind: int, mode: int) -> None:
        device = 0x103 if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else 0
        self.do("mknod", self.at(path), kind | mode, device)

    @rule(leads_to=TARGETS, path=NEW)
    def symlink(self, leads_to: str, path: Where) -> None:
        self.do("symlink", leads_to, self.at(path))

    @rule(path=PATHS, to=NEW)
    def link(self, path: Where, to: Where) -> None:
        self.do("link", self.at(path), self.at(to))

    @rule(path=PATHS, to=NEW, flags=RENAME_FLAGS)
    def rename(self, path: Where, to: Where, flags: int) -> None:
        self.do("rename", self.at(path), self.at(to), flags)

    @rule(path=PATHS, to=PATHS, flags=RENAME_FLAGS)
    def rename_over(self, path: Where, to: Where, flags: int) -> None:
        self.do("rename", self.at(path), self.at(to), flags)

    @rule(path=PATHS)
    def unlink(self, path: Where) -> None:
        self.do("unlink", self.at(path))

    @rule(path=PATHS)
    def rmdir(self, path: Where) -> None:
        self.do("rmdir", self.at(path))

    # attributes

    @rule(path=PATHS, mode=MODES)
    def chmod(self, path: Where, mode: int) -> None:
        self.do("chmod", self.at(path), mode)

    @rule(path=PATHS, uid=st.sampled_from(UIDS), gid=st.sampled_from(UIDS))
    def chown(self, path: Where, uid: int, gid: int) -> None:
        self.do("chown", self.at(path), uid, gid)

    @rule(path=PATHS, atime=TIMES, mtime=TIMES)
    def utime(self, path: Where, atime: int, mtime: int) -> None:
        self.do("utime", self.at(path), atime, mtime)

    @rule(
        path=PATHS,
        name=st.sampled_from(ATTRIBUTES),
        value=st.binary(max_size=300),
        flags=st.sampled_from((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE)),
    )
    def setxattr(self, path: Where, name: str, value: bytes, flags: int) -> None:
        self.do("setxattr", self.at(path), name, value, flags)

    @rule(path=PATHS, name=st.sampled_from(ATTRIBUTES))
    def removexattr(self, path: Where, name: str) -> None:
        self.do("removexattr", self.at(path), name)

    # contents

    @rule(path=FILES, offset=OFFSETS, data=DATA)
    def write(self, path: Where, offset: int, data: bytes) -> None:
        self.do("write", self.at(path), offset, data)

    @rule(path=FILES, data=DATA)
    def append(self, path: Where, data: bytes) -> None:
        self.do("append", self.at(path), data)

    @rule(path=FILES, offset=OFFSETS, data=DATA)
    def map_write(self, path: Where, offset: int, data: bytes) -> None:
        self.do("map_write", self.at(path), offset, data)

    @rule(path=FILES, size=OFFSETS)
    def truncate(self, path: Where, size: int) -> None:
        self.do("truncate", self.at(path), size)

    @rule(path=FILES)
    def fsync(self, path: Where) -> None:
        self.do("fsync", self.at(path))

    @rule(path=FILES)
    def read_again(self, path: Where) -> None:
        self.do("forget_pages", self.at(path))
        self.do("read", self.at(path))

    @rule(path=FILES, data=DATA)
    def unlinked(self, path: Where, data: bytes) -> None:
        self.do("unlinked", self.at(path), data)

    @rule(seed=WHERE, count=st.integers(1, MANY))
    def many(self, seed: int, count: int) -> None:
        """As many as rules of their own would take too long for."""
        operations = RandomOps(seed)
        for _ in range(count):
            self.do(*operations.next())

    # files that are held open

    @precondition(lambda self: len(self.theirs.held) < HELD_MAX)
    @rule(path=FILES, flags=OPEN_FLAGS)
    def hold(self, path: Where, flags: int) -> None:
        self.last_held += 1
        self.do("hold", self.last_held, self.at(path), os.O_RDWR | flags)

    def with_held(self, name: str, number: int, *args: object) -> None:
        held = sorted(self.theirs.held)
        self.do(name, held[number % len(held)], *args)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, offset=OFFSETS, data=DATA)
    def held_write(self, number: int, offset: int, data: bytes) -> None:
        self.with_held("held_write", number, offset, data)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, data=DATA)
    def held_append(self, number: int, data: bytes) -> None:
        self.with_held("held_append", number, data)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, offset=OFFSETS, data=DATA)
    def held_map_write(self, number: int, offset: int, data: bytes) -> None:
        self.with_held("held_map_write", number, offset, data)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, size=OFFSETS)
    def held_truncate(self, number: int, size: int) -> None:
        self.with_held("held_truncate", number, size)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, data_only=st.booleans())
    def held_sync(self, number: int, data_only: bool) -> None:
        self.with_held("held_sync", number, data_only)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, mode=MODES)
    def held_chmod(self, number: int, mode: int) -> None:
        self.with_held("held_chmod", number, mode)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE, seed=WHERE, count=st.integers(1, MANY))
    def many_with_held(self, number: int, seed: int, count: int) -> None:
        chance = random.Random(seed)
        size = chance.choice((5_000, 20_000, 400_000))
        for _ in range(count):
            offset, data = chance.randrange(size), chance.randbytes(chance.randrange(9000))
            name, *args = chance.choice(
                (
                    ("held_write", offset, data),
                    ("held_write", offset, data),
                    ("held_map_write", offset, data),
                    ("held_append", data),
                    ("held_truncate", offset),
                    ("held_sync", chance.random() < 0.5),
                    ("held_sync", True),
                    ("held_look",),
                    ("held_forget_pages",),
                )
            )
            self.with_held(name, number, *args)
        self.with_held("held_forget_pages", number)
        self.with_held("held_look", number)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE)
    def held_look(self, number: int) -> None:
        self.with_held("held_look", number)

    @precondition(lambda self: self.theirs.held)
    @rule(number=WHERE)
    def let_go(self, number: int) -> None:
        self.with_held("let_go", number)

    # the branch

    @precondition(lambda self: self.since >= SINCE_MIN)
    @rule()
    def commit(self) -> None:
        """Whatever was written, synced or not, is in it; files stay open."""
        note("commit")
        self.since = 0
        with self.whole():
            self.pair.branch.commit("by the machine")
            check_committed(self.pair.branch, self.directory)

    @precondition(lambda self: self.since >= SINCE_MIN)
    @rule(how=ENDS)
    def serve_again(self, how: str) -> None:
        """After a crash all is there that was synced, as it was."""
        note(f"serve again: {how}")
        self.since = 0
        with self.whole():
            for number in sorted(self.theirs.held):
                self.with_held("held_look", number)
            for each in (self.ours, self.theirs):
                each.let_go_of_all()
            if how != "umount":
                self.sync_all()
            before = times_of(self.ours.root)
            if how == "kill the server":
                kill_server(self.pair.branch)
            else:
                end = self.pair.branch.unmount if how == "umount" else self.pair.branch.kill
                end()
                self.pair.branch.mount()
            assert times_of(self.ours.root) == before
            self.check()

    def sync_all(self) -> None:
        """Not by syncfs(2), which does not wait for a FUSE server's answers."""
        for path in ("", *sorted(shape_of(self.ours.root))):
            if stat.S_IFMT(os.lstat(self.ours.at(path)).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                self.ours.fsync(path)

    @rule()
    def compare(self) -> None:
        with self.whole():
            self.check()

    def check(self) -> None:
        found = differences(tree_of(self.ours.root), tree_of(self.theirs.root))
        assert not found, "\n".join(found)

    @invariant()
    def looks_the_same(self) -> None:
        with self.whole():
            found = differences(shape_of(self.ours.root), shape_of(self.theirs.root))
            assert not found, "\n".join(found)


@pytest.fixture
def pair(reference: Path, tmp_path: Path) -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("only root can do all of it")
    pair = Pair(tmp_path, prepared=EXAMPLES)
    umask = os.umask(0o022)
    yield pair
    os.umask(umask)
    pair.close()


def test_a_branch_is_like_ext4(pair: Pair) -> None:
    run_state_machine_as_test(
        lambda: BranchMachine(pair),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
