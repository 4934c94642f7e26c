"""Operations on one file, by its size: sparse, so that any disk holds it."""

from __future__ import annotations

import os
import random
import statistics
import sys
from functools import partial
from pathlib import Path

import measure
from measure import KIB

from growing.figures import Growth

SIZES = (10**6, 10**8, 10**10, 10**11)
PIECES, PIECE = 16, 64 * KIB
READS = 100
PAGE = 4 * KIB
TIMES = 5


def sizes(growth: Growth) -> None:
    """One file of so many bytes: imported, read here and there, changed in one byte."""
    for size in growth.sizes(SIZES, "bytes"):
        source = growth.work / "source"
        starts = _write_sparse(source, size)
        for words in (("init",), ("create", "data")):
            growth.command(*words)
        figure = growth.command("import", source, "data:file", "-m", "file")
        growth.note("import", size, figure, growth.stored())
        _read(growth, size, source, starts)
        # Where pieces fill the file there is no hole: the two are then the same.
        middle = starts[PIECES // 2]
        _change(growth, size, "1 byte of data, commit", [middle + at for at in range(TIMES)])
        between = (middle + starts[PIECES // 2 + 1]) // 2
        _change(growth, size, "1 byte of a hole, commit", [between + at for at in range(TIMES)])
        source.unlink()
        growth.clear()


def _write_sparse(path: Path, size: int) -> list[int]:
    """Write a file of holes and random bytes, a piece of these at each of the places returned."""
    rng = random.Random(9)
    starts = [number * size // PIECES for number in range(PIECES)]
    with path.open("wb") as file:
        for start in starts:
            file.seek(start)
            file.write(rng.randbytes(min(PIECE, size // PIECES)))
        file.truncate(size)
    return starts


def _read(growth: Growth, size: int, source: Path, starts: list[int]) -> None:
    """Read a page at random places, every other one of them in a piece, with nothing cached."""
    rng = random.Random(11)
    places = [rng.randrange(size) for _ in range(READS)]
    places[::2] = [rng.choice(starts) + rng.randrange(PIECE) for _ in places[::2]]

    def pages(path: Path) -> list[bytes]:
        fd = os.open(path, os.O_RDONLY)
        try:
            return [os.pread(fd, PAGE, place) for place in places]
        finally:
            os.close(fd)

    found: list[bytes] = []
    with growth.mounted("--read-only") as pid:
        shown = growth.mountpoint / "data@main" / "file"
        seconds = measure.clock(lambda: found.extend(pages(shown)))
        peak = measure.largest_rss_anon(pid)
    if found != pages(source):
        sys.exit(f"the file of {size:,} bytes was not read as it was written")
    growth.note(f"read {READS} pages, cold", size, (seconds, peak))


def _change(growth: Growth, size: int, what: str, places: list[int]) -> None:
    """Overwrite one byte in a mounted branch and commit, several times."""
    before = growth.stored()

    def change(place: int) -> None:
        fd = os.open(growth.mountpoint / "file", os.O_WRONLY)
        try:
            os.pwrite(fd, b"!", place)
        finally:
            os.close(fd)
        growth.commit()

    with growth.branch() as peak:
        seconds = statistics.median(measure.clock(partial(change, place)) for place in places)
    new = (growth.stored() - before) / len(places)
    growth.note(what, size, (seconds, peak.bytes), new)
