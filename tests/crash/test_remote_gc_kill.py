"""Killed at any write or delete of a collection or an erase: the next one goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.erasing import MARKER
from tests.support.remotes import assert_remote_sound, commit, connect
from tests.support.stores import run_child, start_child
from vfs.repo.repository import Repository
from vfs.sync.push import push

pytestmark = pytest.mark.crash

POINTS = int(os.environ.get("VFS_REMOTE_GC_POINTS", "6"))

WORK = """
import sys
from pathlib import Path
from tests.support.remotes import DyingBucket, connect
from vfs.remote import pack
from vfs.remote.files import FileBucket
from vfs.repo.repository import Repository
from vfs.sync.collecting import Options, collect
from vfs.sync.erasing import erase_from_remote

what, store, place, calls = sys.argv[1:]
pack.PACK_RAW_BYTES = 20_000
bucket = DyingBucket(FileBucket(Path(place)), int(calls), calls=("put", "delete"))
with connect(Path(place), bucket=bucket) as remote:
    if what == "gc":
        collect(remote, Options(keep_s=0, grace_s=0, repack_share=0.9))
    else:
        with Repository.open(Path(store)) as repo:
            erase_from_remote(repo.store, remote)
print(bucket.count)
"""


@pytest.fixture
def full(tmp_path: Path) -> tuple[Path, Path]:
    """A store with an erased file, and a remote of it from before, half of it garbage."""
    from vfs.remote import pack
    from vfs.repo.erasing import Query, carry_out, make_plan

    whole, pack.PACK_RAW_BYTES = pack.PACK_RAW_BYTES, 20_000
    store, place = tmp_path / "store", tmp_path / "remote"
    try:
        with Repository.create(store) as repo, connect(place) as remote:
            secret = MARKER * 300
            first = commit(repo, {"secret": secret, **{f"{n}": os.urandom(900) for n in range(30)}})
            commit(repo, {f"x{n}": os.urandom(900) for n in range(40)})
            push(repo, remote, "origin", repo.all_refs())
            head = repo.resolve("data").commit
            repo.set_branch("data", "main", first, expected=head, why="test")
            push(repo, remote, "origin", repo.all_refs(), force=True)
            query = Query(reason="asked for", data_set="data", paths=("secret",))
            carry_out(repo, make_plan(repo, query, lambda *_: None), lambda *_: None)
    finally:
        pack.PACK_RAW_BYTES = whole
    return store, place


@pytest.mark.parametrize("what", ["gc", "erase"])
def test_killed_at_any_write(what: str, full: tuple[Path, Path], tmp_path: Path) -> None:
    store, place = full
    whole = tmp_path / "whole"
    shutil.copytree(place, whole)
    calls = int(run_child(WORK, what, store, whole, 10**9))
    assert calls > 5
    for at in range(1, calls + 1, max(1, calls // POINTS)):
        killed = tmp_path / f"killed-{at}"
        shutil.copytree(place, killed)
        child = start_child(WORK, what, store, killed, at)
        child.communicate(timeout=60)
        assert child.returncode == -9
        if what == "gc":
            assert_remote_sound(killed)
        run_child(WORK, what, store, killed, 10**9)
        assert_remote_sound(killed)
        with Repository.open(store) as repo, connect(killed) as remote:
            assert push(repo, remote, "", repo.all_refs()).objects == 0
        if what == "erase":
            assert not any(MARKER * 2 in data for data in _segments(killed))
        shutil.rmtree(killed)


def _segments(place: Path) -> list[bytes]:
    """Return all that the packs of a remote hold, before compression."""
    with connect(place) as remote:
        remote.refresh()
        return [
            data
            for index in remote.catalog.indexes()
            for objects in remote.objects.read(index.within(0, 1 << 40))
            for _, _, data in objects
        ]
