"""A branch's process dies, or the disk is full, at each write to the store in turn."""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.branch_work import Work, branch_digest, check
from tests.support.versions import commit
from vfs.errors import StoreFull
from vfs.repo.repository import Repository
from vfs.store.environment import Environment

pytestmark = pytest.mark.crash

ROUNDS = 8
KILLED = 9
MOMENTS = ("before", "inside", "after")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        commit(repo, {b"a": b"a" * 50_000, b"b": {b"c": b"there before"}})
    return path


def forked(call: Callable[[], None]) -> int:
    """Make a call in a forked process; return how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may idle
        pid = os.fork()
    if pid == 0:
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die() -> NoReturn:
    os._exit(KILLED)


def stopping(at: int, moment: str, stop: Callable[[], NoReturn]) -> Callable[..., Any]:
    """Return `Environment.write` that stops at the write number *at*."""
    real, numbers = Environment.write, count(1)

    def write(self: Environment, change: Callable[[Any], Any]) -> Any:
        if next(numbers) != at:
            return real(self, change)
        if moment == "before":
            stop()
        if moment == "inside":
            return real(self, lambda txn: (change(txn), stop()))
        real(self, change)
        return stop()

    return write


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_each_write(store: Path, tmp_path: Path, moment: str) -> None:
    for at in count(1):
        copy, said = tmp_path / f"{at}", tmp_path / f"said{at}"
        shutil.copytree(store, copy)

        def work(at: int = at, copy: Path = copy, said: Path = said) -> None:
            fd = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            Environment.write = stopping(at, moment, die)  # type: ignore[method-assign]
            Work(copy, 3, lambda text: os.write(fd, f"{text}\n".encode())).run(ROUNDS)

        status = forked(work)
        try:
            check(copy, said.read_text().splitlines())
        except Exception as error:
            raise AssertionError(f"write {at}: {error}") from error
        shutil.rmtree(copy)
        if status != KILLED:
            assert status == 0
            assert at > 2 * ROUNDS
            return


class Cramped(Work):
    """Work on a disk that is full now and then."""

    failures = 0
    is_full = False

    def checkpoint(self, *, settle: bool) -> None:
        self.is_full = True
        try:
            super().checkpoint(settle=settle)
        except StoreFull:
            before = branch_digest(self.branch)
            self.branch.fail_checkpoint()
            assert branch_digest(self.branch) == before
            self.failures += 1
        finally:
            self.is_full = False

    def commit(self) -> None:
        self.is_full = True
        try:
            super().commit()
        except StoreFull:
            self.failures += 1
        finally:
            self.is_full = False


@pytest.mark.parametrize("seed", range(6))
def test_disk_full_now_and_then(store: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    real, chance = Environment.write, random.Random(seed)
    said: list[str] = []
    work = Cramped(store, seed, said.append)

    def no_room() -> NoReturn:
        raise StoreFull("no room")

    def write(self: Environment, change: Callable[[Any], Any]) -> Any:
        if not work.is_full or chance.random() < 0.7:
            return real(self, change)
        if chance.random() < 0.5:
            no_room()
        return real(self, lambda txn: (change(txn), no_room()))

    monkeypatch.setattr(Environment, "write", write)
    work.run(29)
    assert work.failures > 5
    monkeypatch.setattr(Environment, "write", real)
    work.checkpoint(settle=True)
    assert said[-1] == f"stored {work.state}"
    work.close()
    check(store, said)
