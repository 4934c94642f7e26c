"""What the parts share: commands and mounts of one store, and the figures that were taken."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import measure
import svg
from measure import KIB, MIB
from peers import Command


class Figure(NamedTuple):
    """One operation at one size; `peak` and `new` are bytes, 0 where they were not looked at."""

    size: int
    seconds: float
    peak: int  # of anonymous memory
    new: float = 0  # objects stored, after compression


Figures = dict[str, list[Figure]]
"""By operation."""


class Growth:
    """Takes the figures of one part, on the store `store` of its directory."""

    def __init__(self, work: Path, *, part: int, full: bool, tell: Callable[[str], object]) -> None:
        self.work = work
        self.full = full
        self.tell = tell
        self.store = work / "store"
        self.mountpoint = work / "mnt"
        self.figures: Figures = defaultdict(list)
        self._part = part

    def sizes(self, whole: Sequence[int], unit: str = "") -> Iterator[int]:
        """Yield the part's share of each size; say when one begins."""
        for size in sorted({max(size // self._part, 1) for size in whole}):
            self.tell(f"{size:,} {unit}")
            yield size

    def share(self, whole: int) -> int:
        return max(whole // self._part, 1)

    def note(self, what: str, size: int, figure: tuple[float, int], new: float = 0) -> None:
        self.figures[what].append(Figure(size, *figure, new))

    def clear(self) -> None:
        """Remove the store, so that the next size begins with none."""
        subprocess.run(["rm", "-rf", self.store, self.work / "vfs-branch"], check=True)

    def whole(self, *words: str | Path) -> Command:
        """Return the command line of a command of vfs."""
        return [sys.executable, "-m", "vfs", "--store", self.store, *words]

    def command(self, *words: str | Path) -> tuple[float, int]:
        """Run a command of vfs; return its seconds and the peak of its memory in bytes."""
        return measure.run_watched(self.whole(*words), cwd=self.work, env=None)

    def median(self, actions: Sequence[Callable[[], tuple[float, int]]]) -> tuple[float, int]:
        """Return the median of the seconds of alike *actions*, and the highest of the peaks."""
        seconds, peaks = zip(*(action() for action in actions), strict=True)
        return statistics.median(seconds), max(peaks)

    def stored(self) -> int:
        """Return the bytes of all objects of the store."""
        done = subprocess.run(self.whole("stats", "--json"), capture_output=True, check=True)
        stats = json.loads(done.stdout)
        return int(stats["stored_bytes"] + stats["metadata_bytes"])

    @contextmanager
    def mounted(self, *words: str) -> Iterator[int]:
        """Mount with nothing cached, where that can be had; yield the mount's pid."""
        command = self.whole("mount", "--foreground", *words, self.mountpoint)
        if measure.can_drop_caches():
            measure.drop_caches()
        with measure.mounted(command, self.mountpoint, None) as pid:
            if measure.can_drop_caches():
                measure.drop_caches()
            yield pid

    @contextmanager
    def branch(self) -> Iterator[measure.Peak]:
        """Mount the branch `main`, to write to it; yield the peak of its memory so far."""
        with (
            self.mounted("data@main") as pid,
            measure.watching(lambda: measure.largest_rss_anon(pid)) as peak,
        ):
            yield peak

    def commit(self) -> None:
        """Commit what was written to the mounted branch."""
        (self.mountpoint / ".vfs" / "commit").write_text("bench\n")


def charts(x_name: str, figures: Figures) -> list[svg.Chart]:
    """Return a chart of time, one of memory, and one of what was stored, where that was taken."""
    kinds: dict[str, Callable[[Figure], float]] = {
        "seconds": lambda figure: figure.seconds,
        "peak RssAnon, MiB": lambda figure: figure.peak / MIB,
        "new objects, KiB": lambda figure: figure.new / KIB,
    }
    drawn = []
    for y_name, value in kinds.items():
        lines = []
        for what, rows in figures.items():
            points = [(float(row.size), value(row)) for row in rows if value(row) > 0]
            if points:
                lines.append(svg.Line(what, points))
        if lines:
            drawn.append(svg.Chart(f"By {x_name}", x_name, y_name, lines))
    return drawn
