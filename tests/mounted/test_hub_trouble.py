"""The hub when things go wrong below it: damage, killed workers, writers at work, a dead daemon."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMAND, Hub, a_hub
from tests.support.mounting import wait_for_end, wait_until
from vfs.ids import object_id
from vfs.repo.repository import Repository
from vfs.store.layout import pack_number_row, unpack_number_row

pytestmark = pytest.mark.mounted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """300 small files and one of 6 MiB, none of which compresses."""
    root = tmp_path / "source"
    content = random.Random(7)
    for directory in range(6):
        (root / f"d{directory}").mkdir(parents=True)
        for name in range(50):
            (root / f"d{directory}/f{name}").write_bytes(content.randbytes(3000 + name))
    (root / "large").write_bytes(content.randbytes(6 << 20))
    return root


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        yield made


def flip(hub: Hub, content: bytes) -> None:
    """Flip one bit of *content*, which stands in the store as it is."""
    data = hub.store / "data.mdb"
    # A block may end in the middle of it.
    middle = len(content) // 2
    whole = data.read_bytes()
    at = max(whole.find(content[middle - 64 : middle]), whole.find(content[middle : middle + 64]))
    assert at > 0
    with data.open("r+b") as file:
        file.seek(at + 32)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))


def test_a_damaged_file_is_an_error_and_all_others_are_right(hub: Hub, source: Path) -> None:
    flip(hub, (source / "d3/f7").read_bytes())
    hub.mount()
    for path in sorted(source.rglob("*")):
        shown = hub["v1"] / path.relative_to(source)
        if path == source / "d3/f7":
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
                shown.read_bytes()
            assert caught.value.errno == errno.EIO
        elif path.is_file():
            assert shown.read_bytes() == path.read_bytes()
    assert re.search(r"data@(v1|main):d3/f7", hub.log)
    assert object_id((source / "d3/f7").read_bytes()).hex() in hub.log


def test_damage_in_a_large_file_takes_its_own_range_only(hub: Hub, source: Path) -> None:
    whole = (source / "large").read_bytes()
    flip(hub, whole[3 << 20 : (3 << 20) + 2000])
    hub.mount()
    with (hub["v1"] / "large").open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 1 << 20, 0) == whole[: 1 << 20]
        assert os.pread(file.fileno(), 1 << 20, 5 << 20) == whole[5 << 20 :]
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.pread(file.fileno(), 4096, (3 << 20) + 1000)


@pytest.mark.crash
def test_workers_that_are_killed_are_not_noticed(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.mount("--workers", 2)
    done = threading.Event()
    killed = 0

    def kill_workers() -> None:
        nonlocal killed
        choose = random.Random(3)
        while not done.wait(0.05):
            for pid in hub.workers()[: choose.randint(1, 2)]:
                with contextlib.suppress(ProcessLookupError):  # ended since it was listed
                    os.kill(pid, signal.SIGKILL)
                    killed += 1

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        for attempt in range(8):
            archive = tmp_path / f"{attempt}.tar"
            _drop_caches()
            subprocess.run(
                ["tar", "-C", str(hub["v1"]), "-cf", str(archive), "."], check=True, timeout=120
            )
            _check_archive(archive, source)
    finally:
        done.set()
        killer.join()
    assert killed > 0


def _drop_caches() -> None:
    if os.getuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3")


def _check_archive(archive: Path, source: Path) -> None:
    with tarfile.open(archive) as tar:
        files = [member for member in tar if member.isfile()]
        assert len(files) == 301
        for member in files:
            content = tar.extractfile(member)
            assert content is not None
            assert content.read() == (source / member.name).read_bytes(), member.name


_READ_ALL = """
import hashlib, os, sys
for _ in range(3):
    total = hashlib.sha256()
    for directory, names, files in os.walk(sys.argv[1]):
        names.sort()
        for name in sorted(files):
            with open(os.path.join(directory, name), "rb") as file:
                total.update(file.read())
    print(total.hexdigest())
"""


def test_eight_readers_while_an_import_runs(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.mount()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    content = random.Random(11)
    for name in range(400):
        (fresh / f"f{name}").write_bytes(content.randbytes(20_000))
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", _READ_ALL, str(hub["v1"])], stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    hub.import_(fresh, "v2")
    expected = hashlib.sha256()
    for directory, names, files in os.walk(source):
        names.sort()
        for name in sorted(files):
            expected.update((Path(directory) / name).read_bytes())
    for reader in readers:
        output, _ = reader.communicate(timeout=120)
        assert reader.returncode == 0
        assert output.split() == [expected.hexdigest()] * 3


def test_a_dead_mount_is_cleared_by_the_next_one(hub: Hub) -> None:
    hub.mount()
    pid, workers = hub.pid, hub.workers()
    os.kill(pid, signal.SIGKILL)
    for process in (pid, *workers):
        wait_for_end(process)
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        os.listdir(hub.mountpoint)
    done = hub.vfs("mount", hub.mountpoint)
    assert "dead" in done.stderr or "killed" in done.stderr or "stale" in done.stderr
    assert len(os.listdir(hub["v1"])) == 7


def test_a_terminated_daemon_unmounts_under_open_files(hub: Hub) -> None:
    hub.mount()
    held = os.open(hub["v1"] / "large", os.O_RDONLY)
    assert len(os.read(held, 1)) == 1
    pid = hub.pid
    os.kill(pid, signal.SIGTERM)
    wait_for_end(pid)
    assert os.listdir(hub.mountpoint) == []
    with contextlib.suppress(OSError):  # a close that asks a daemon which is gone
        os.close(held)


def test_a_killed_reader_leaves_no_place_taken(hub: Hub) -> None:
    hub.mount()
    for worker in hub.workers():
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(hub.workers()) == len(os.sched_getaffinity(0)))
    assert len(os.listdir(hub["v1"])) == 7
    done = subprocess.run(
        [*COMMAND, "--store", str(hub.store), "log", "data"], capture_output=True, check=True
    )
    assert b"v1" in done.stdout


def test_a_damaged_table_of_inode_numbers_shows_no_other_file(hub: Hub, source: Path) -> None:
    with Repository.open(hub.store) as repo:
        table = repo.store._env.tables["numbers"]

        def shift(txn: Any) -> None:
            with txn.cursor(table) as cursor:
                rows = [(bytes(key), bytes(value)) for key, value in cursor]
            for key, value in rows:
                row = unpack_number_row(memoryview(value))
                txn.put(key, pack_number_row(row._replace(at=row.at ^ 1)), db=table)

        repo.store._env.write(shift)
    hub.mount()
    for path in sorted(source.glob("d0/*")):
        try:
            assert (hub["v1"] / path.relative_to(source)).read_bytes() == path.read_bytes()
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017 - either is right, nothing else is


def test_a_damaged_reference_shows_no_other_version(hub: Hub, source: Path) -> None:
    (source / "d0/f0").write_bytes(b"second")
    hub.import_(source, "v2")
    with Repository.open(hub.store) as repo:
        table = repo.store._env.tables["refs"]
        wrong = repo.resolve("data", "v2").slot

        def point(txn: Any) -> None:
            value = bytearray(txn.get(b"data\0v1", db=table))
            value[33:41] = wrong.to_bytes(8, "little")
            txn.put(b"data\0v1", bytes(value), db=table)

        repo.store._env.write(point)
    hub.mount()
    assert (hub["v2"] / "d0/f0").read_bytes() == b"second"
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        (hub["v1"] / "d0/f0").read_bytes()
