"""What size and change cost: versions that hardly differ, a huge directory, a growing table.

Needs no peers: each figure has an aim of its own beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import make_data
import measure
from measure import KIB, MIB
from peers import Vfs
from rich.console import Console
from rich.table import Table


@dataclass
class Results:
    """Figures in the order they were taken: what, how much, its unit, and the aim."""

    figures: list[tuple[str, float, str, float | None]] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, most: float | None = None) -> None:
        self.figures.append((what, value, unit, most))

    def table(self) -> Table:
        shown = Table(title="vfs, by size and change")
        for heading in ("", "measured", "at most", ""):
            shown.add_column(heading, justify="right" if heading else "left")
        for what, value, unit, most in self.figures:
            verdict = "" if most is None else "[green]met" if value <= most else "[red]missed"
            limit = "" if most is None else f"{most:g} {unit}"
            shown.add_row(what, f"{value:,.4g} {unit}", limit, verdict)
        return shown


@dataclass(frozen=True)
class Bench:
    work: Path
    vfs: Vfs
    results: Results

    @property
    def mountpoint(self) -> Path:
        return self.work / "mnt"

    def store(self) -> None:
        """Start with an empty store."""
        self.vfs.renew()

    def import_(self, source: Path, target: str, tag: str, *, quiet: bool = False) -> None:
        """Import; note the seconds and the peak of anonymous memory."""
        command = [*self.vfs.command, "import", source, target, "-m", tag, "--tag", tag]
        seconds, peak = measure.run_watched(command, cwd=self.work, env=self.vfs.env)
        if quiet:
            return
        self.results.add(f"import of {source.name} to {target}, {tag}", seconds, "s")
        self.results.add("   its peak RssAnon", peak / MIB, "MiB", 300)

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of all stored objects, and those of the store on the disk."""
        command = [*self.vfs.command, "stats", "--json"]
        done = subprocess.run(command, env=self.vfs.env, capture_output=True, check=True)
        stats = json.loads(done.stdout)
        return stats["stored_bytes"] + stats["metadata_bytes"], measure.disk_bytes(self.vfs.store)

    @contextmanager
    def mounted(self) -> Iterator[int]:
        """Mount afresh with nothing cached, where that can be had."""
        command = self.vfs.mount_command(self.mountpoint)
        with measure.mounted(command, self.mountpoint, self.vfs.env) as pid:
            if measure.can_drop_caches():
                measure.drop_caches()
            yield pid


def two_versions(bench: Bench, count: int) -> None:
    """Two versions of many files, one of them changed: the recursive comparison of both."""
    source = bench.work / "tree"
    make_data.small_files(source, count, size=100)
    bench.store()
    bench.import_(source, "data", "v1")
    bench.import_(source, "data", "same")
    changed = source / "d0005" / "f0000555"
    changed.write_bytes(b"changed\n")
    bench.import_(source, "data", "v2")
    v1, v2 = bench.mountpoint / "data@v1", bench.mountpoint / "data@v2"
    with bench.mounted():
        for state in ("cold", "again"):
            seconds, found = measure.captured(["diff", "-rq", v1, v2])
            if found.split()[1:2] != [str(v1 / changed.relative_to(source))]:
                sys.exit(f"diff -r names something else than {changed.name}: {found[:500]}")
            bench.results.add(f"diff -rq of {count:,} files, {state}", seconds, "s", 0.5)
        seconds, counted = measure.captured(["du", "-sc", "--inodes", v1, v2])
        bench.results.add("du -sc of both", seconds, "s")
        bench.results.add("   inodes of v2 that v1 has not", int(counted.split()[2]), "")


def huge_directory(bench: Bench, count: int) -> None:
    """One directory of very many files, and a change of one of them."""
    archive = bench.work / "huge.tar"
    make_data.archive(archive, (f"huge/f{number:07}" for number in range(count)))
    bench.store()
    bench.import_(archive, "data", "v1")
    archive.unlink()
    rng = random.Random(5)
    changed = bench.work / "changed"
    # Several, as LMDB uses free pages first: the file does not grow with every change.
    before = bench.sizes()
    for change in range(CHANGES):
        changed.write_bytes(b"changed %d\n" % change)
        name = f"f{rng.randrange(count):07}"
        bench.import_(changed, f"data:huge/{name}", f"v2.{change}", quiet=change > 0)
    objects, disk = (
        (after - old) / CHANGES for after, old in zip(bench.sizes(), before, strict=True)
    )
    bench.results.add("one changed entry: new objects", objects / KIB, "KiB", 100)
    bench.results.add("   store growth on the disk, mean", disk / KIB, "KiB", 100)

    seconds = []
    for _ in range(5):
        with bench.mounted():
            directory = bench.mountpoint / "data@v1" / "huge"
            directory.lstat()
            path = directory / f"f{rng.randrange(count):07}"
            seconds.append(measure.clock(path.lstat))
    what = f"look-up and stat of one of {count:,} names, cold"
    bench.results.add(what, statistics.median(seconds) * 1000, "ms", 10)
    bench.results.add("   the slowest of 5", max(seconds) * 1000, "ms")
    walk_twice(bench, count)


def walk_twice(bench: Bench, count: int) -> None:
    """Walk all files twice, and look at the memory of every process of the mount."""
    with bench.mounted() as pid:
        root = bench.mountpoint / "data@v1"
        for times in ("once", "twice"):
            seconds = measure.timed(["find", ".", "-printf", "%s\n"], root)
            bench.results.add(f"find of {count:,} files, {times}", seconds, "s")
            rss = measure.largest_rss_anon(pid)
            bench.results.add("   largest RssAnon of the mount", rss / MIB, "MiB", 250)


def growing_table(bench: Bench, megabytes: int) -> None:
    """A CSV file with rows inserted in the middle, as a second version."""
    rows = megabytes * 10**6 // 48  # a row's length, about
    first, second = bench.work / "first.csv", bench.work / "second.csv"
    lines = list(make_data.csv_lines(rows, seed=4))
    new = list(make_data.csv_lines(1000, seed=6))
    first.write_bytes(b"".join(lines))
    second.write_bytes(b"".join([*lines[: rows // 2], *new, *lines[rows // 2 :]]))
    bench.results.add("size of the CSV", first.stat().st_size / 10**6, "MB")
    bench.store()
    bench.import_(first, "data:table.csv", "v1")
    before = bench.sizes()
    bench.import_(second, "data:table.csv", "v2")
    objects, disk = (after - old for after, old in zip(bench.sizes(), before, strict=True))
    bench.results.add("1,000 rows in its middle: new objects", objects / MIB, "MiB", 2)
    bench.results.add("   store growth on the disk", disk / MIB, "MiB", 2)
    with bench.mounted():
        for source, tag in ((first, "v1"), (second, "v2")):
            shown = bench.mountpoint / f"data@{tag}" / "table.csv"
            subprocess.run(["cmp", source, shown], check=True)


CHANGES = 20

PARTS: dict[str, Callable[[Bench, int], None]] = {
    "versions": two_versions,
    "directory": huge_directory,
    "table": growing_table,
}
SIZES = {"versions": 100_000, "directory": 1_000_000, "table": 200}
QUICK = {"versions": 2_000, "directory": 20_000, "table": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="a tenth or less of the size")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", action="store_true", help="the figures, to standard output")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    results = Results()
    if os.geteuid() != 0:
        console.print("Not root: caches can't be dropped, so cold figures are of warm caches.")
    for part in chosen.parts or PARTS:
        console.print(part, style="dim")
        with measure.workspace(chosen.work) as work:
            PARTS[part](Bench(work, Vfs(work), results), (QUICK if chosen.quick else SIZES)[part])
    if chosen.json:
        print(json.dumps({"machine": measure.machine(), "figures": results.figures}, indent=2))
    else:
        Console().print(results.table())


if __name__ == "__main__":
    main()
