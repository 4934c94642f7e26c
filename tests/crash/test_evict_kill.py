"""A cache that is too small, read by several processes of which one after the other is killed."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.dying import EXIT_CODE
from tests.support.remotes import commit, connect
from tests.support.stores import children, finish, start_child
from vfs.ids import object_id
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store.identity import PROMISED
from vfs.store.store import Store
from vfs.sync.cache import make_cache, refresh_cache
from vfs.sync.ondemand import Patience
from vfs.sync.push import push
from vfs.sync.remotes import RemotePlace

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("VFS_EVICT_KILLS", "3"))
SEED = int(os.environ.get("VFS_EVICT_SEED", "0"))
FILES, FILE_BYTES = 24, 256_000
LIMIT = 4 << 20  # bytes: two thirds of what there is
READERS = 3
FIRST_WRITES = 12  # of an eviction, with these bounds

READ = """
import random, sys
from pathlib import Path
from tests.support.dying import die_at_write
from vfs.ids import object_id
from vfs.remote import objects
from vfs.store import evicting
from vfs.sync.cache import open_cache
from vfs.sync.ondemand import Patience

cache, rounds, seed, nth, when = sys.argv[1:]
evicting.ROWS_AT_ONCE, evicting.BLOCKS_AT_ONCE = 200, 40
objects.WINDOW_BYTES = 300_000
rng = random.Random(seed)
with open_cache(Path(cache), Patience(30)) as repo:
    evict, evictions = repo.store.evict, 0
    def counted(clock, size):
        global evictions
        evictions += 1
        if evictions == 1 and int(nth):
            die_at_write(int(nth), when)
        return evict(clock, size)
    repo.store.evict = counted
    root = repo.commit(repo.resolve("data").commit).root
    entries = list(repo.entries(root.content))
    for _ in range(int(rounds)):
        for entry in rng.sample(entries, len(entries)):
            data = b"".join(repo.read_file(entry))
            assert object_id(data).hex() == entry.name.decode(), entry.name
            print(evictions, flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that can't hold all that data@main has; each file is named by its content."""
    rng = random.Random(SEED)
    with Repository.create(tmp_path / "origin") as repo, connect(tmp_path / "remote") as remote:
        files = [rng.randbytes(FILE_BYTES) for _ in range(FILES)]
        commit(repo, {object_id(data).hex(): data for data in files})
        push(repo, remote, "origin", repo.all_refs())
    resize(tmp_path / "cache", LIMIT)
    refresh_cache(tmp_path / "cache", Patience(30))
    return tmp_path / "cache"


def resize(cache: Path, limit: int) -> None:
    make_cache(cache, RemotePlace("", f"file://{cache.parent}/remote"), limit)


def assert_sound(cache: Path) -> None:
    """Read all, while some of it is evicted; then fill the cache, and check it as a whole store."""
    lines = finish(start_child(READ, cache, 2, "all", 0, "-")).split()
    assert len(lines) == 2 * FILES
    assert int(lines[-1]) > 0
    resize(cache, 1 << 30)
    finish(start_child(READ, cache, 1, "all", 0, "-"))
    with Store.open(cache, partial=True) as store:
        store.change(lambda txn: txn.delete(PROMISED.encode(), db=store.table("meta")))
        store.settings.delete(PROMISED)
    assert check_store(cache, data=True).damages == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_write_of_an_eviction(when: str, cache: Path) -> None:
    rng = random.Random(f"{when} {SEED}")
    for _ in range(KILLS):
        nth = rng.randrange(1, FIRST_WRITES)
        child = start_child(READ, cache, 5, rng.random(), nth, when)
        _, error = child.communicate(timeout=60)
        assert child.returncode == EXIT_CODE, error
    assert_sound(cache)


def test_readers_that_are_killed_at_any_moment(cache: Path) -> None:
    rng = random.Random(SEED)
    for _ in range(KILLS):
        rows = [(cache, 2, rng.random(), 0, "-") for _ in range(READERS)]
        with children(READ, rows) as (doomed, *others):
            assert doomed.stdout is not None
            for _ in range(rng.randrange(2 * FILES)):
                doomed.stdout.readline()
            doomed.kill()
            for other in others:
                assert len(finish(other).split()) == 2 * FILES
            doomed.communicate()
            assert doomed.returncode in (-signal.SIGKILL, 0)
    assert_sound(cache)
