"""Versions of a remote, mounted and read with nothing here, on a line that takes 50 ms a request.

The line is made by waiting before each call of the remote's bucket, so it needs no network and no
rights; --url measures a real one, as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from vfs.daemon import MountSpec, mount, unmount
from vfs.model.names import Target
from vfs.remote.bucket import Bucket, Item
from vfs.remote.layout import PACKS
from vfs.remote.urls import open_bucket
from vfs.sync import cache as caches
from vfs.sync import ondemand
from vfs.sync.ondemand import Patience, Source
from vfs.sync.remotes import RemotePlace

MIB = 1 << 20
DELAY_S = 0.05
WORKERS = 8
LARGE_MIB, LISTED, SMALL = 512, 100_000, 2_000


class Slow:
    """A bucket that takes its time, and counts what all processes ask of it."""

    def __init__(self, bucket: Bucket, delay_s: float, count_fd: int) -> None:
        self._bucket, self._delay_s, self._count_fd = bucket, delay_s, count_fd

    def _wait(self) -> None:
        os.write(self._count_fd, b".")
        time.sleep(self._delay_s)

    def get(self, name: str, *, most: int) -> bytes:
        self._wait()
        return self._bucket.get(name, most=most)

    def get_range(self, name: str, start: int, length: int) -> bytes | memoryview:
        self._wait()
        return self._bucket.get_range(name, start, length)

    def put(self, name: str, data: bytes) -> bool:
        self._wait()
        return self._bucket.put(name, data)

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        self._wait()
        return self._bucket.items(directory, after)

    def directories(self, directory: str) -> list[str]:
        self._wait()
        return self._bucket.directories(directory)

    def close(self) -> None:
        self._bucket.close()


class Figure(NamedTuple):
    """What was measured, and what it was to be."""

    what: str
    value: str
    aim: str
    met: bool
    requests: int


class Bench:
    """A remote with one version, and mounts of it with empty caches."""

    def __init__(self, work: Path, url: str, delay_s: float) -> None:
        self.work, self.url = work, url
        self.count = os.open(work / "requests", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        slow = lambda *where: Slow(open_bucket(*where), delay_s, self.count)  # noqa: E731
        vars(ondemand)["open_bucket"] = slow
        self.figures: list[Figure] = []

    def fill(self) -> None:
        """Make what is read, and push it."""
        source = self.work / "source"
        for name, count in (("listed", LISTED), ("small", SMALL)):
            (source / name).mkdir(parents=True)
            for number in range(count):
                text = f"{number:08}\n" if name == "listed" else f"{number:08} " * 500
                (source / name / f"{number:06}.txt").write_text(text)
        with (source / "large").open("wb") as file:
            for _ in range(LARGE_MIB):
                file.write(os.urandom(MIB))
        store = self.work / "store"
        for words in (
            ("init",),
            ("import", "--create", str(source), "data", "-m", "x"),
            ("remote", "add", "origin", self.url),
            ("push", "--all"),
        ):
            command = [sys.executable, "-m", "vfs", "--store", str(store), *words]
            subprocess.run(command, check=True, capture_output=True)

    def requests(self) -> int:
        """Return how many requests there were so far."""
        return os.fstat(self.count).st_size

    def cold(self, what: Callable[[Path], object]) -> tuple[float, int]:
        """Return the seconds and requests of *what*, given a mount whose cache is empty."""
        with tempfile.TemporaryDirectory(dir=self.work) as place:
            cache, mountpoint = Path(place) / "cache", Path(place) / "mnt"
            mountpoint.mkdir()
            patience = Patience()
            caches.make_cache(cache, RemotePlace("", self.url))
            caches.refresh_cache(cache, patience)
            mount(
                MountSpec(
                    store=cache,
                    mountpoint=mountpoint,
                    target=Target("data", "main"),
                    workers=WORKERS,
                    patience=patience,
                    read_only=True,
                )
            )
            try:
                asked, began = self.requests(), time.monotonic()
                what(mountpoint)
                return time.monotonic() - began, self.requests() - asked
            finally:
                unmount(mountpoint)

    def bare_bytes_per_s(self) -> float:
        """Return what the bucket gives to 8 threads that ask for ranges of 4 MiB."""
        bucket = Source(self.url, None, "").bucket()
        ranges = [
            (item.name, at, min(4 * MIB, item.size - at))
            for item in bucket.items(PACKS)
            for at in range(0, item.size, 4 * MIB)
        ]
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            size = sum(pool.map(lambda one: len(bucket.get_range(*one)), ranges))
        return size / (time.monotonic() - began)

    def run(self) -> None:
        """Measure all."""
        bare = self.bare_bytes_per_s()
        seconds, asked = self.cold(lambda at: _run("cat", at / "large"))
        rate = LARGE_MIB * MIB / seconds
        self._note(
            f"one large file, {LARGE_MIB} MiB",
            f"{rate / MIB:.0f} MiB/s",
            f"80 % of the bucket's {bare / MIB:.0f} MiB/s",
            met=rate >= 0.8 * bare,
            requests=asked,
        )
        for what, action, aim in (
            ("the first byte of a file", lambda at: _run("head", "-c1", at / "large"), 0.3),
            (f"ls -l of {LISTED:,} files", lambda at: _run("ls", "-l", at / "listed"), 3.0),
            (f"cat of {SMALL:,} files", lambda at: _run("cat", *_files(at / "small")), 5.0),
        ):
            seconds, asked = self.cold(action)
            aimed = f"{aim} s"
            self._note(what, f"{seconds:.2f} s", aimed, met=seconds <= aim, requests=asked)

    def _note(self, what: str, value: str, aim: str, *, met: bool, requests: int) -> None:
        self.figures.append(Figure(what, value, aim, met, requests))


def _files(directory: Path) -> list[Path]:
    return [directory / name for name in sorted(os.listdir(directory))]  # noqa: PTH208 - no stat


def _run(*words: str | Path) -> None:
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Measure, and show what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an empty place for a remote, such as s3://bucket/bench")
    parser.add_argument("--delay", type=float, help="seconds before each request [0.05; URL: 0]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vfs-bench-") as made:
        work = Path(made)
        delay = options.delay if options.delay is not None else 0 if options.url else DELAY_S
        bench = Bench(work, options.url or f"file://{work}/remote", delay)
        bench.fill()
        bench.run()
    table = Table("cold", "took", "aim", "", "requests")
    for figure in bench.figures:
        met = "met" if figure.met else "missed"
        table.add_row(figure.what, figure.value, figure.aim, met, str(figure.requests))
    Console().print(table)


if __name__ == "__main__":
    main()
