"""Operations on a store, by the bytes that it holds; none of them compress."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tarfile
import time
from functools import partial
from typing import IO

import measure
from measure import MIB

from growing.figures import Growth

GIB = 1024 * MIB
BYTES = (1 * GIB, 4 * GIB, 16 * GIB)
WITH_FULL = 32 * GIB
SPARE = 4 * GIB  # of the disk, left to others
TIMES = 5


def stores(growth: Growth) -> None:
    """A store that fills up: one small file imported, the log, a mount and one file read."""
    for words in (("init",), ("create", "data")):
        growth.command(*words)
    held = 0
    for size in growth.sizes((*BYTES, WITH_FULL) if growth.full else BYTES, "bytes in the store"):
        missing = size - held + SPARE - shutil.disk_usage(growth.work).free
        if missing > 0:
            growth.tell(f"left out: the disk lacks {missing:,} bytes")
            break
        seconds, peak = _fill(growth, size - held, seed=size)
        # All fills are of another length: what an equal amount takes is comparable.
        growth.note("import of 1 GiB", size, (seconds * GIB / (size - held), peak))
        held = size
        _operate(growth, size)


def _fill(growth: Growth, size: int, seed: int) -> tuple[float, int]:
    """Import one file of so many random bytes from a pipe, so that the disk has it only once."""
    command = growth.whole("import", "-", f"data:fill/{seed}", "-m", f"filled up to {seed}")

    def run() -> None:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as importing:
            assert importing.stdin is not None
            _write_random(importing.stdin, size, seed)
            importing.stdin.close()
            if importing.wait():
                sys.exit("the import of random bytes failed")

    with measure.watching(measure.of_children) as peak:
        seconds = measure.clock(run)
    return seconds, peak.bytes


def _write_random(pipe: IO[bytes], size: int, seed: int) -> None:
    """Write an archive of one file."""
    member = tarfile.TarInfo("random")
    member.size = size
    pipe.write(member.tobuf(tarfile.GNU_FORMAT))
    rng = random.Random(seed)
    for start in range(0, size, MIB):
        pipe.write(rng.randbytes(min(MIB, size - start)))
    pipe.write(bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))


def _operate(growth: Growth, size: int) -> None:
    """Take the figures of a store of this size."""
    actions = []
    for number in range(TIMES):
        source = growth.work / f"small{number}"
        source.write_text(f"{size} {number}\n")
        words = ("import", source, "data:small", "-m", "one small file")
        actions.append(partial(growth.command, *words))
    before = growth.stored()
    figure = growth.median(actions)
    growth.note("import one small file", size, figure, (growth.stored() - before) / TIMES)
    log = partial(growth.command, "log", "data", "-n", "1")
    growth.note("log -n 1", size, growth.median([log] * TIMES))
    growth.note("mount, read a file, cold", size, growth.median([partial(_read, growth)] * TIMES))


def _read(growth: Growth) -> tuple[float, int]:
    """Mount with nothing cached and read the small file; the time is of both."""
    shown = growth.mountpoint / "data@main" / "small"
    if measure.can_drop_caches():
        measure.drop_caches()
    command = growth.whole("mount", "--foreground", "--read-only", growth.mountpoint)
    start = time.perf_counter()
    with measure.mounted(command, growth.mountpoint, None) as pid:
        shown.read_bytes()
        return time.perf_counter() - start, measure.largest_rss_anon(pid)
