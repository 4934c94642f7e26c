"""Handlers of a branch of which nothing is here: each object is fetched when one asks for it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from pyfuse3 import FUSEError

from tests.support.caches import PATIENT, make_origin, new_cache
from tests.support.remotes import WatchedBucket
from vfs.errors import RemoteUnavailable
from vfs.fs.branch.branch import Branch
from vfs.fuse import branch_operations
from vfs.fuse.branch_operations import BranchOperations
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.overlay import ROOT_INO
from vfs.remote import objects
from vfs.remote.files import FileBucket
from vfs.store.objects import NotHere
from vfs.sync.cache import open_cache
from vfs.sync.ondemand import OnDemand
from vfs.sync.remotes import RemotePlace

NAMES = [f"file{number:04}{'x' * 200}" for number in range(6000)]  # nodes of several segments
LARGE = os.urandom(300_000)
TREE = {
    "many": dict.fromkeys(NAMES, b""),
    "full": {"deep": {"file": b"deep"}},
    "large": LARGE,
}
CTX = SimpleNamespace(uid=0, gid=0, umask=0, pid=0)


class Asked:
    """A branch, its handlers, and what they ask of the remote."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.operations = BranchOperations(branch, dirty_limit=1 << 24, mountpoint="/nowhere")
        self.before: Callable[[], None] = lambda: None
        self.fetched = 0

    def note(self, call: str, _: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.fetched += call == "get_range"
        self.before()

    async def find(self, *names: str) -> int:
        ino = ROOT_INO
        for name in names:
            ino = (await self.operations.lookup(ino, name.encode(), CTX)).st_ino
        return ino


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    place = RemotePlace("", f"file://{tmp_path}/remote")
    make_origin(tmp_path / "origin", place, TREE)
    monkeypatch.setattr(objects, "WINDOW_BYTES", 1)  # each object comes by itself
    cache = new_cache(tmp_path / "cache", place)
    told: list[Asked] = []

    def note(call: str, name: str) -> None:
        if told:
            told[0].note(call, name)

    bucket = WatchedBucket(FileBucket(tmp_path / "remote"), before=note)
    with open_cache(cache, PATIENT, lambda _: bucket) as repo:
        branch = Branch(repo.store, "data", "main")
        branch.claim()
        told.append(Asked(branch))
        yield told[0]
        told.clear()
        branch.close()


async def _listed(asked: Asked, ino: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """List a directory as the kernel does, some entries at a time."""
    found: list[bytes] = []
    batch: list[tuple[bytes, int]] = []

    def reply(_token: object, name: bytes, _attr: object, position: int) -> bool:
        if len(batch) == 100:
            return False
        batch.append((name, position))
        return True

    monkeypatch.setattr(branch_operations.pyfuse3, "readdir_reply", reply)
    handle = await asked.operations.opendir(ino, CTX)
    position = 0
    while True:
        batch.clear()
        await asked.operations.readdir(handle, position, None)  # type: ignore[arg-type]
        if not batch:
            return found
        found += [name for name, _ in batch]
        position = batch[-1][1]


@pytest.mark.parametrize("changed", [False, True])
def test_a_directory_is_listed_in_full(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, *, changed: bool
) -> None:
    async def main() -> None:
        many = await asked.find("many")
        expected = [name.encode() for name in NAMES]
        if changed:
            await asked.operations.mknod(many, b"file3500a", 0o100644, 0, CTX)
            expected = sorted([*expected, b"file3500a"])
        before = asked.fetched
        assert await _listed(asked, many, monkeypatch) == [b".", b"..", *expected]
        assert asked.fetched >= before + 2  # in between

    trio.run(main)


def test_what_a_change_has_to_know_is_fetched_before_it(asked: Asked) -> None:
    async def main() -> None:
        operations = asked.operations
        full = await asked.find("full")
        with pytest.raises(FUSEError) as raised:
            await operations.rmdir(ROOT_INO, b"full", CTX)
        assert raised.value.errno == errno.ENOTEMPTY
        await operations.mkdir(ROOT_INO, b"empty", 0o755, CTX)
        await operations.rename(ROOT_INO, b"full", ROOT_INO, b"empty", 0, CTX)
        assert await asked.find("empty") == full
        await operations.rename(ROOT_INO, b"many", full, b"inside", 0, CTX)
        assert await asked.find("empty", "inside", NAMES[-1])
        assert await asked.find("empty", "deep", "file")

    trio.run(main)


def test_part_of_a_page_is_written_over_what_was_fetched(asked: Asked) -> None:
    async def main() -> None:
        operations = asked.operations
        handle = (await operations.open(await asked.find("large"), os.O_RDWR, CTX)).fh
        await operations.write(handle, 100_001, b"new")
        assert asked.fetched
        read = await operations.read(handle, 0, len(LARGE))
        assert read == LARGE[:100_001] + b"new" + LARGE[100_004:]

    trio.run(main)


def test_others_are_answered_while_one_waits(asked: Asked) -> None:
    go_on = threading.Event()
    done = []

    async def read_all(handle: int) -> None:
        done.append(await asked.operations.read(handle, 0, len(LARGE)))

    async def main() -> None:
        operations = asked.operations
        large, _ = await asked.find("large"), await asked.find("full", "deep")
        handle = (await operations.open(large, os.O_RDONLY, CTX)).fh
        asked.before = go_on.wait  # type: ignore[assignment]
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(read_all, handle)
                with trio.fail_after(20):
                    while not operations.only_reading:  # noqa: ASYNC110 - a plain number
                        await trio.sleep(0.001)
                made, _ = await operations.create(ROOT_INO, b"new", 0o644, os.O_RDWR, CTX)
                await operations.write(made.fh, 0, b"new")
                assert await operations.read(made.fh, 0, 10) == b"new"
                assert await asked.find("full", "deep")
                assert not done
            finally:
                go_on.set()
        assert done == [LARGE]
        assert operations.only_reading == 0

    trio.run(main)


def test_what_follows_a_read_is_expected(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    expected: list[ObjectId] = []

    def expect(_self: OnDemand, ids: Iterable[ObjectId]) -> None:
        expected.extend(ids)

    monkeypatch.setattr(OnDemand, "expect", expect)

    async def main() -> None:
        ino = await asked.find("large")
        handle = (await asked.operations.open(ino, os.O_RDWR, CTX)).fh
        read = await asked.operations.read(handle, 0, 4096)
        plan = asked.branch.files.plan_read(handle, 0, len(LARGE))
        assert read == LARGE[:4096]
        assert plan is not None
        spans = list(asked.branch.new_reader().spans(plan.content))
        assert len(spans) > 1
        assert expected[-1] == spans[-1].content
        before = len(expected)
        await asked.operations.write(handle, 0, LARGE[:8192])
        await asked.operations.read(handle, 0, 4096)  # of what is in memory
        assert len(expected) == before

    trio.run(main)


def test_what_is_here_is_read_where_what_follows_does_not_come(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RemoteUnavailable("the line is cut")

    def expect(*_: object) -> None:
        raise NotHere(NO_CONTENT)

    async def main() -> None:
        operations = asked.operations
        handle = (await operations.open(await asked.find("large"), os.O_RDONLY, CTX)).fh
        assert await operations.read(handle, 0, 4096) == LARGE[:4096]
        monkeypatch.setattr(asked.branch, "expect", expect)
        monkeypatch.setattr(asked.branch, "bring", refuse)
        assert await operations.read(handle, 0, 4096) == LARGE[:4096]

    trio.run(main)
