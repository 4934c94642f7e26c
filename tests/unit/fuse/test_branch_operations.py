"""What a branch's handlers do while others are at work; without a mount."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from pyfuse3 import FUSEError

from tests.support.versions import commit
from vfs.errors import StoreFull
from vfs.fs.branch.branch import Branch
from vfs.fuse import branch_operations
from vfs.fuse.branch_operations import BranchOperations
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[Branch]:
    with Repository.create(tmp_path / "store") as repo:
        repo.create_data_set("data")
        commit(repo, {b"file": b"as it was"})
        branch = Branch(repo.store, "data", "main")
        yield branch
        branch.close()


def test_nothing_is_restored_while_a_checkpoint_is_on_its_way(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = BranchOperations(branch, dirty_limit=1 << 20, mountpoint="/nowhere")
    monkeypatch.setattr(branch_operations, "_tell_kernel", lambda outdated: None)

    def the_file() -> int:
        return branch.inodes.lookup(ROOT_INO, b"file")[0]

    def content() -> bytes:
        handle = branch.files.open(the_file(), os.O_RDONLY)
        plan = branch.files.plan_read(handle, 0, 100)
        branch.files.release(handle)
        assert plan is not None
        return branch.files.read_now(plan)

    busy, _ = branch.names.make(ROOT_INO, b"busy", stat.S_IFREG | 0o644, 0, 0)

    async def write_and_sync(seconds: float) -> None:
        handle = branch.files.open(busy, os.O_RDWR)
        while True:
            await trio.sleep(seconds)  # so that some ask while others are being served
            branch.files.write(handle, 0, b"something")
            await operations.fsync(handle, datasync=False)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operations._flusher.run)
            for number in range(4):
                nursery.start_soon(write_and_sync, number / 1000)
            for _ in range(20):
                handle = branch.files.open(the_file(), os.O_RDWR)
                branch.files.write(handle, 0, b"otherwise")
                branch.files.release(handle)
                await operations.restore((b"file",))
                assert content() == b"as it was"
                await operations._flusher.flush()
                assert content() == b"as it was"
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_claim_that_was_given_up_meanwhile_does_not_count(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlays = branch.store.overlays
    real = overlays.claim

    def claim(*args: object) -> object:
        header = real(*args)  # type: ignore[arg-type]
        branch.release_claim()
        return header

    with monkeypatch.context() as patched:
        patched.setattr(overlays, "claim", claim)
        branch.claim()
    assert not branch.is_claimed
    branch.claim()
    assert branch.is_claimed


def test_who_waited_for_room_claims_what_was_given_up_meanwhile(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = BranchOperations(branch, dirty_limit=0, mountpoint="/nowhere")
    done = trio.Event()

    async def wait_for_room() -> None:
        await operations.wait(frees=False)
        done.set()

    async def main() -> None:
        branch.claim()
        ino, _ = branch.names.make(ROOT_INO, b"new", stat.S_IFREG | 0o644, 0, 0)
        branch.files.write(branch.files.open(ino, os.O_RDWR), 0, b"more than fits")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_room)
            await trio.testing.wait_all_tasks_blocked()
            branch.release_claim()
            nursery.start_soon(operations._flusher.run)
            with trio.fail_after(10):
                await done.wait()
            assert branch.is_claimed
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_full_disk_at_the_end_is_told(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = BranchOperations(branch, dirty_limit=1 << 20, mountpoint="/nowhere")
    branch.names.make(ROOT_INO, b"new", stat.S_IFREG | 0o644, 0, 0)

    def write(batch: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(branch._stage, "write", write)
    with pytest.raises(StoreFull):
        trio.run(operations.finish)
    assert branch.is_dirty


def test_writes_of_the_kernel_that_fail_end_nothing(
    branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """syncfs(2) says so of the kernel's own writes, too, which the disk has no room for."""
    asked = []

    def syncfs(fd: int) -> int:
        asked.append(fd)
        return -1

    operations = BranchOperations(branch, dirty_limit=1 << 20, mountpoint=str(tmp_path))
    monkeypatch.setattr(branch_operations, "PERIOD_SECONDS", 0.001)
    operations.st_dev = tmp_path.stat().st_dev
    monkeypatch.setattr("vfs.fuse.writeback._libc", SimpleNamespace(syncfs=syncfs))
    branch.files.open(branch.inodes.lookup(ROOT_INO, b"file")[0], os.O_RDWR)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operations.run_background)
            while len(asked) < 3:  # noqa: ASYNC110 - a plain function counts
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_full_disk_forbids_no_removal(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = BranchOperations(branch, dirty_limit=1000, mountpoint="/nowhere")
    ctx = SimpleNamespace(uid=0, gid=0, umask=0)

    def write(batch: object) -> None:
        raise StoreFull("no room")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operations._flusher.run)
            ino, _ = branch.names.make(ROOT_INO, b"new", stat.S_IFREG | 0o644, 0, 0)
            handle = branch.files.open(ino, os.O_RDWR)
            branch.files.write(handle, 0, bytes(2000))
            branch.files.release(handle)
            with pytest.raises(FUSEError) as raised:
                await operations.mkdir(ROOT_INO, b"more", 0o755, ctx)
            assert raised.value.errno == errno.ENOSPC
            await operations.unlink(ROOT_INO, b"new", ctx)
            await operations.forget([(ino, 1)])
            assert not branch.dirty_bytes
            nursery.cancel_scope.cancel()

    branch.claim()
    monkeypatch.setattr(branch._stage, "write", write)
    trio.run(main)
