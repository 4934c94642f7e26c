"""What the kernel asks of a version that it has in its caches, and files it did not ask for."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.support.hub import Hub, a_hub
from vfs.daemon import counting

pytestmark = pytest.mark.mounted

SIZES = [0, 1, 4095, 4096, 4097, 8192, 12_289, 131_072, 131_073, 300_000]
FILES = 300


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    for number, size in zip(range(FILES), count()):
        directory = made / f"d{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        data = random.Random(number).randbytes(SIZES[size % len(SIZES)] if size % 4 else 1000)
        (directory / f"f{number:03}").write_bytes(data)
    return made


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as hub:
        hub.import_(source, "v1")
        yield hub


def requests(hub: Hub) -> dict[str, int]:
    """Return how many requests there were of each kind."""
    totals = counting.read(hub.store, str(hub.mountpoint))
    assert totals is not None
    return {each.kind: each.count for each in totals.requests}


def files(top: Path) -> list[Path]:
    return sorted(path for path in top.rglob("*") if path.is_file())


def check_all(top: Path, source: Path) -> None:
    for path in files(top):
        assert path.read_bytes() == (source / path.relative_to(top)).read_bytes(), path


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_cached_is_read_without_a_request(hub: Hub, source: Path, workers: int) -> None:
    hub.mount("--read-only", "--workers", workers)
    check_all(hub["v1"], source)
    first = requests(hub)
    assert first["open"] <= 3 + len(list(source.iterdir()))  # directories, and one file in vain
    check_all(hub["v1"], source)
    again = requests(hub)
    for kind in ("read", "readdir", "readlink", "getattr", "xattr"):
        assert again[kind] - first[kind] < 10, kind  # none, but that memory is others', too


def test_small_files_are_there_before_they_are_asked_for(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    for number in range(500):
        (small / f"f{number:03}").write_bytes(random.Random(number).randbytes(number * 7))
    with a_hub(tmp_path) as hub:
        hub.import_(small, "v1")
        hub.mount("--read-only")
        check_all(hub["v1"], small)
        assert requests(hub)["read"] < 250
        for path in files(hub["v1"])[1:]:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as area:
                assert area[:] == (small / path.name).read_bytes()


def test_readers_that_come_across_each_other(hub: Hub, source: Path) -> None:
    """Pages that are put there, read, and dropped at once: nobody waits for ever."""
    hub.mount("--read-only", "--workers", 2)
    wanted = {path.name: path.read_bytes() for path in files(source)}
    paths = files(hub["v1"])

    def read(seed: int) -> None:
        order = paths[:]
        if seed % 2:
            random.Random(seed).shuffle(order)
        for path in order:
            with path.open("rb") as file:
                assert file.read() == wanted[path.name]
                if seed % 3 == 0:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    with ThreadPoolExecutor(6) as readers:
        for done in [readers.submit(read, seed) for seed in range(24)]:
            done.result(timeout=60)
    assert "ERROR" not in hub.log


class _Handle(ctypes.Structure):
    _fields_ = [
        ("bytes", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("handle", ctypes.c_ubyte * 128),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open by handle")
def test_files_and_directories_are_opened_by_handle(hub: Hub) -> None:
    hub.mount("--read-only")
    libc = ctypes.CDLL(None, use_errno=True)
    handles = {}
    for name in ("d1", "d1/f001"):
        path = hub["v1"] / name
        handle, mount = _Handle(bytes=128), ctypes.c_int()
        at = (-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0)
        assert libc.name_to_handle_at(*at) == 0, os.strerror(ctypes.get_errno())
        handles[path] = handle, path.stat().st_ino
    Path("/proc/sys/vm/drop_caches").write_text("2")  # names and inodes
    top = os.open(hub.mountpoint, os.O_RDONLY)
    try:
        for path, (handle, number) in handles.items():
            fd = libc.open_by_handle_at(top, ctypes.byref(handle), os.O_RDONLY)
            assert fd >= 0, (path, os.strerror(ctypes.get_errno()))
            assert os.fstat(fd).st_ino == number
            os.close(fd)
    finally:
        os.close(top)
