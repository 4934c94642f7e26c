"""Writing to a mounted branch, on top of some files that were there before.

Before each figure all that was written earlier is on the disk.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import make_data
import measure
from measure import KIB, MIB
from peers import BarePyfuse3, Command, Directory, FuseOverlayfs, Peer, S3ql, VfsBranch
from results import MEMORY, PER_SECOND, Aim
from suite import Suite

COPY, UNPACK = "cp -r", "tar x"
LARGE_WRITE, LARGE_READ = "large file written, fsync", "read back from the page cache"
RSS = "largest RssAnon, branch"
PAGE = 4 * KIB
Workload = tuple[str, int, Callable[[], object]]
"""What it is called (nothing: it is not timed), how many are done (1: seconds count), the deed."""


class WritingSuite(Suite):
    """Many small files, a large one, pages here and there, names."""

    name = "write"
    about = "cp -r, tar x, rm -r, a large file, overwrites, appends, names made and removed"
    workloads = ("write",)
    kinds = (VfsBranch, Directory, FuseOverlayfs, BarePyfuse3, S3ql)
    aims = (
        Aim(COPY, "S3QL", 1 / 5),
        Aim(UNPACK, "S3QL", 1 / 5),
        Aim(COPY, "fuse-overlayfs", 1.0),
        Aim(UNPACK, "fuse-overlayfs", 1.0),
        Aim(LARGE_WRITE, "S3QL", 1.0),
        Aim(LARGE_WRITE, "ext4", 1 / 0.6),
        Aim(LARGE_READ, "ext4", 1.0),
        Aim(RSS, None, 200 * MIB),
    )

    @property
    def disk_bytes(self) -> int:
        return (self.sizes.large + self.sizes.database) * MIB * len(self.kinds) * 2

    @property
    def base(self) -> Path:
        """What is there before anything is written."""
        return self.work / "base"

    @property
    def archive(self) -> Path:
        return self.work / "source.tar"

    def prepare(self) -> None:
        make_data.small_files(self.base, self.sizes.written)
        make_data.small_files(self.source / "small", self.sizes.written)
        make_data.large_file(self.source / "large.bin", self.sizes.large)
        subprocess.run(["tar", "cf", self.archive, "-C", self.source, "small"], check=True)

    @contextmanager
    def based(self, peer: Peer) -> Iterator[tuple[Path, int]]:
        """Yield where to write, on top of the base, and the pid of who serves it."""
        peer.renew()
        command = peer.base_command()
        if command:
            subprocess.run(
                command, cwd=self.base, env=peer.env, check=True, stdout=subprocess.DEVNULL
            )
        with self.mounted(peer) as (view, pid):
            if not command:
                subprocess.run(["cp", "-a", f"{self.base}/.", view], check=True)
            yield view, pid

    def once(self, peer: Peer) -> None:
        with self.based(peer) as (view, pid):

            def memory() -> int:
                return measure.largest_rss_anon(pid) if pid else 0

            with measure.watching(memory) as peak:
                every = self.everything if peer.keeps_content else self.small_files
                for label, count, action in every(view):
                    measure.settle(view)
                    seconds = measure.clock(action)
                    if label and count == 1:
                        self.results.add(peer.name, label, seconds)
                    elif label:
                        self.results.add(peer.name, label, count / seconds, PER_SECOND)
                if peer.keeps_content:
                    self.verify(view)
            if pid:
                self.results.add(peer.name, RSS, peak.bytes, MEMORY)

    def small_files(self, view: Path) -> Iterator[Workload]:
        """Yield what many small files are timed with, each as what the one before left it."""
        yield COPY, 1, shell(view, "cp", "-r", self.source / "small", "copied")
        yield "find after the copy", 1, shell(view, "find", "copied", "-printf", "%s\n")
        yield UNPACK, 1, shell(view, "tar", "xf", self.archive)
        yield "rm -r", 1, shell(view, "rm", "-r", "copied")

    def everything(self, view: Path) -> Iterator[Workload]:
        """Yield all that is to be timed, in order."""
        yield from self.small_files(view)
        large = self.source / "large.bin"
        measure.timed(["cat", large], view)  # so that all find it in the page cache
        write: Command = ["dd", f"if={large}", "of=large", "bs=1M", "conv=fsync", "status=none"]
        yield LARGE_WRITE, 1, shell(view, *write)
        yield LARGE_READ, 1, shell(view, "dd", "if=large", "of=/dev/null", "bs=1M", "status=none")
        sizes, database = self.sizes, view / "database"
        yield "", 1, lambda: make_data.large_file(database, sizes.database)
        many, synced = sizes.overwrites, sizes.synced
        yield "4 KiB overwritten, one fsync", many, partial(overwrite, database, many, each=False)
        yield (
            "4 KiB overwritten, fsync each",
            synced,
            partial(overwrite, database, synced, each=True),
        )
        yield "4 KiB appended, fsync each", synced, partial(append, view / "log", synced)
        paths = [os.fspath(view / "empty" / f"e{number:06}") for number in range(sizes.empty)]
        (view / "empty").mkdir()
        # The rates that mdtest tells: files are made empty, in one directory.
        for label, action in (
            ("files made", touch),
            ("files' stat", os.stat),
            ("files read", read),
            ("files removed", os.unlink),
        ):
            yield label, len(paths), partial(do_all, action, paths)

    def verify(self, view: Path) -> None:
        """Stop everything where a peer does not give back what it was given."""
        for ours, theirs in (("small", "small"), ("large.bin", "large")):
            command = ["diff", "-r", str(self.source / ours), str(view / theirs)]
            if subprocess.run(command, check=False).returncode:
                sys.exit(f"{view} does not hold what was written")


def shell(view: Path, *command: str | Path) -> Callable[[], float]:
    """Return what runs *command* in the view."""
    return lambda: measure.timed(command, view)


def do_all(action: Callable[[str], object], paths: list[str]) -> None:
    """Do *action* to each of *paths*."""
    for path in paths:
        action(path)


def touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the call
        file.read(1)


def overwrite(path: Path, count: int, *, each: bool) -> None:
    """Write pages at random places, with an fsync after each or after all."""
    rng = random.Random(8)
    page = rng.randbytes(PAGE)
    fd = os.open(path, os.O_RDWR)
    try:
        pages = os.fstat(fd).st_size // PAGE
        for _ in range(count):
            os.pwrite(fd, page, rng.randrange(pages) * PAGE)
            if each:
                os.fsync(fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def append(path: Path, count: int) -> None:
    """Append pages, with an fsync after each."""
    page = random.Random(9).randbytes(PAGE)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(count):
            os.write(fd, page)
            os.fsync(fd)
    finally:
        os.close(fd)
