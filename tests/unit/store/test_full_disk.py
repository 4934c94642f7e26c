"""A disk that is full: said so, nothing lost, and all is well once there is room."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from vfs.errors import StoreFull
from vfs.store.layout import Kind
from vfs.store.refs import RefChange
from vfs.store.store import Store

DISK_BYTES = 8 << 20
RANDOM = random.Random(6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "vfs-test", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount a small tmpfs here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def add(store: Store, chunks: Iterable[bytes]) -> None:
    with store.ingest() as ingest:
        for chunk in chunks:
            ingest.add_chunks([chunk])


def add_data_sets(store: Store) -> None:
    """Until the pages that are free in the file are used up."""
    for number in itertools.count():
        store.refs.add_data_set(f"more-{number}", 1)


def fill(path: Path, left_bytes: int) -> Path:
    """Take all room of a disk but *left_bytes*."""
    ballast = path / "ballast"
    disk = os.statvfs(path)
    size = disk.f_bavail * disk.f_frsize - left_bytes
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return ballast


@pytest.mark.parametrize("left_bytes", [0, 4096, 100_000, 700_000, 1_050_000])
def test_a_full_disk_is_said_and_nothing_is_lost(small_disk: Path, left_bytes: int) -> None:
    path = small_disk / "store"
    before, after = RANDOM.randbytes(200_000), RANDOM.randbytes(900_000)
    with Store.create(path) as store:
        with store.ingest() as ingest:
            (old,) = ingest.add_chunks([before])
            commit = ingest.add_object(Kind.COMMIT, b"a commit")
        store.refs.add_data_set("data", 1)
        ballast = fill(small_disk, left_bytes)

        with pytest.raises(StoreFull) as caught:
            add(store, [after, RANDOM.randbytes(300_000)])
        assert caught.value.hint
        assert store.reader().get(old) == before

        ballast.unlink()
        change = RefChange(data_set="data", name="main", kind="branch", new=commit)
        store.refs.move([change], time_ns=1, who="w", why="y")
        with store.ingest() as ingest:
            (new,) = ingest.add_chunks([after])
        assert store.reader().get(new) == after
    with Store.open(path) as store:
        reader = store.reader()
        assert (reader.get(old), reader.get(new)) == (before, after)
        assert [ref.name for ref in store.refs.all()] == ["main"]


def test_a_reference_can_not_move_on_a_full_disk(small_disk: Path) -> None:
    with Store.create(small_disk / "store") as store:
        store.refs.add_data_set("data", 1)
        fill(small_disk, 0)
        with pytest.raises(StoreFull):
            add_data_sets(store)
        known = store.refs.data_sets()
        assert "data" in known
        assert known[1:] == sorted(f"more-{number}" for number in range(len(known) - 1))


def test_a_disk_that_fills_up_while_many_packs_are_written(small_disk: Path) -> None:
    with Store.create(small_disk / "store") as store:
        for _ in range(2):
            with pytest.raises(StoreFull):
                add(store, (RANDOM.randbytes(250_000) for _ in range(100)))
        assert store.reader().has(bytes(32)) is False  # type: ignore[arg-type]
