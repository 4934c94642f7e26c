"""Import and reading, each from a fresh mount, with nothing cached and again."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import make_data
import measure
from peers import (
    BareReader,
    Borg,
    Bup,
    Command,
    Directory,
    Peer,
    Restic,
    Squashfuse,
    Vfs,
    VfsOneWorker,
)
from results import BYTES, MEMORY, Aim
from suite import Suite

PAGE = 4096
READERS = 8
READ_ALL: Command = ["find", ".", "-type", "f", "-exec", "cat", "{}", "+"]
IMPORT, AGAIN, STORE = "import", "import again", "store on disk"
IMPORT_RSS, MOUNT_RSS = "peak RssAnon, import", "largest RssAnon, mount"


@dataclass(frozen=True)
class Reading:
    """One way to read: what it is called in tables, and what is done in a view."""

    label: str
    action: Callable[[Path], object]


def command(*words: str | Path) -> Callable[[Path], object]:
    """Return what runs a command in a view."""
    return lambda view: measure.timed(words, view)


def read_pages(path: Path, count: int, *, mapped: bool) -> None:
    """Read pages at random places, the same ones each time."""
    rng = random.Random(10)
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        places = (rng.randrange(size // PAGE) * PAGE for _ in range(count))
        if mapped:
            with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
                for place in places:
                    memory[place : place + PAGE]
        else:
            for place in places:
                os.pread(fd, PAGE, place)
    finally:
        os.close(fd)


class ReadingSuite(Suite):
    """Small files and a large one."""

    name = "read"
    about = "import, find, small files by name and as found, a large file, pages, several readers"
    workloads = ("import", "find", "small", "found", "large", "random", "mmap", "readers")
    kinds = (
        Vfs,
        VfsOneWorker,
        BareReader,
        Directory,
        Squashfuse,
        Borg,
        Restic,
        Bup,
    )
    aims = (
        Aim(IMPORT, "borg", 1 / 4),
        Aim(IMPORT, "restic", 1 / 4),
        Aim(AGAIN, None, 0.5),
        Aim(AGAIN, "borg", 1 / 10),
        Aim(AGAIN, "restic", 1 / 10),
        Aim(STORE, "borg", 1.0),
        Aim(STORE, "restic", 1.0),
        Aim(STORE, "bup", 1.0),
        Aim("find with stat, cold", "squashfuse", 1.0),
        Aim("find with stat, warm", "squashfuse", 1.0),
        Aim("small files, cold", "squashfuse", 1.2),
        Aim("small files, warm", "squashfuse", 1.0),
        Aim("small files as found, cold", "squashfuse", 1.2),
        Aim("small files as found, warm", "squashfuse", 1.0),
        *(
            Aim(f"{label}, {state}", peer, 1 / 4)
            for label in ("small files", "small files as found")
            for peer in ("borg", "restic")
            for state in ("cold", "warm")
        ),
        Aim("large file, cold", "squashfuse", 1 / 1.5),
        Aim("large file, cold", "borg", 1 / 3),
        Aim("large file, cold", "restic", 1 / 3),
        Aim("large file, warm", "ext4", 1.0),
        Aim("random 4 KiB, warm", "ext4", 1.0),
        Aim("mmap, random 4 KiB, warm", "ext4", 1.0),
        Aim(f"small files, {READERS} readers, cold", "vfs, 1 worker", 1 / 1.5),
        Aim(IMPORT_RSS, None, 200 * measure.MIB),
        Aim(MOUNT_RSS, None, 200 * measure.MIB),
    )

    @property
    def disk_bytes(self) -> int:
        return self.sizes.read_bytes * len(self.kinds)

    def passes(self) -> tuple[str, ...]:
        """All imports of a round come before its readings, as the page cache is shared."""
        return ("fill", "once")

    def readings(self) -> dict[str, Reading]:
        """Return what is done by workload."""
        names = self.work / "names"
        small: Command = ["xargs", "-0", "-a", names]
        share = -(-self.sizes.files // READERS)
        pages = self.sizes.pages
        large = command("dd", "if=large.bin", "of=/dev/null", "bs=1M", "status=none")
        return {
            "find": Reading("find with stat", command("find", ".", "-printf", "%s\n")),
            "small": Reading("small files", command(*small, "cat")),
            "found": Reading(
                "small files as found", lambda view: measure.timed(READ_ALL, view / "small")
            ),
            "large": Reading("large file", large),
            "random": Reading(
                "random 4 KiB", lambda view: read_pages(view / "large.bin", pages, mapped=False)
            ),
            "mmap": Reading(
                "mmap, random 4 KiB",
                lambda view: read_pages(view / "large.bin", pages, mapped=True),
            ),
            "readers": Reading(
                f"small files, {READERS} readers",
                command(*small, "-P", str(READERS), "-n", str(share), "cat"),
            ),
        }

    def prepare(self) -> None:
        make_data.small_files(self.source / "small", self.sizes.files)
        make_data.large_file(self.source / "large.bin", self.sizes.large)
        found = sorted((self.source / "small").rglob("f*"))
        listing = (bytes(path.relative_to(self.source)) + b"\0" for path in found)
        (self.work / "names").write_bytes(b"".join(listing))

    def fill(self, peer: Peer) -> None:
        """Import; the figures count if they are asked for."""
        if not peer.imports:
            return
        peer.renew()
        measure.timed(READ_ALL, self.source)  # so that all find it in the page cache
        for label, version in ((IMPORT, "bench"), (AGAIN, "again")):
            words = peer.import_command(version)
            seconds, peak = measure.run_watched(words, cwd=self.source, env=peer.env)
            if not self.wants("import"):
                return
            self.results.add(peer.name, label, seconds)
            if label == IMPORT:
                self.results.add(peer.name, IMPORT_RSS, peak, MEMORY)
                self.results.add(peer.name, STORE, measure.disk_bytes(peer.store), BYTES)
            if not peer.remembers:
                return

    def once(self, peer: Peer) -> None:
        """Take all reading figures, each on a fresh mount."""
        for workload, reading in self.readings().items():
            # How many workers there are matters to several readers only.
            alone = isinstance(peer, VfsOneWorker) and workload != "readers"
            if alone or not self.wants(workload):
                continue
            with self.mounted(peer) as (view, pid):
                self.drop_caches()
                for state in ("cold", "warm") if self.cold else ("first", "warm"):
                    seconds = measure.clock(partial(reading.action, view))
                    self.results.add(peer.name, f"{reading.label}, {state}", seconds)
                if pid and workload == "small":
                    rss = measure.largest_rss_anon(pid)
                    self.results.add(peer.name, MOUNT_RSS, rss, MEMORY)
        if type(peer) is Vfs:
            self.verify(peer)

    def verify(self, peer: Peer) -> None:
        """Stop everything where what was imported is not what is shown."""
        with self.mounted(peer) as (view, _):
            if subprocess.run(["diff", "-r", self.source, view], check=False).returncode:
                sys.exit(f"{peer.name} does not show what was imported")
