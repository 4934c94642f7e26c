"""How time and memory of each operation grow with files and with versions; needs no peers.

Each operation is a command, a process of its own, from its start to its end: 0.15 to 0.2 s of each
are Python starting. Memory is the peak of its anonymous memory; of a mount, its largest process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import measure
import svg
from bench_history import lengthen
from branch_costs import make_store
from measure import MIB
from peers import Command
from rich.console import Console

FILES = (10_000, 100_000, 1_000_000)
VERSIONS = (1, 10, 100, 1_000)
Figures = dict[str, list[tuple[float, float, float]]]
"""By operation: how large, seconds, bytes."""


class Growth:
    """Measures one store after the other."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.figures: Figures = defaultdict(list)

    def command(self, store: Path, *words: str | Path) -> tuple[float, int]:
        """Run a command of vfs; return its seconds and the peak of its memory in bytes."""
        whole = [sys.executable, "-m", "vfs", "--store", store, *words]
        return measure.run_watched(whole, cwd=self.work, env=None)

    def note(self, what: str, size: int, figure: tuple[float, int]) -> None:
        self.figures[what].append((size, *figure))

    def of_files(self, count: int) -> None:
        """Operations on a version of so many files."""
        store = self.work / "store"
        with measure.watching(measure.of_children) as peak:
            seconds = measure.clock(lambda: make_store(self.work, store, count))
        self.note("import of an archive", count, (seconds, peak.bytes))
        lengthen(store, 1, pairs=0)
        self.note("import one file", count, self.command(store, *self.one_file()))
        self.note(
            "diff, 10 changed", count, self.command(store, "diff", "data@main~2", "data@main~1")
        )
        self.note("branch", count, self.command(store, "branch", "data", "grown"))
        self.reading(store, count)
        subprocess.run(["rm", "-rf", store, self.work / "vfs-branch"], check=True)

    def one_file(self) -> Command:
        path = self.work / "one"
        path.write_bytes(b"one\n")
        return ["import", path, "data:one", "-m", "one file"]

    def reading(self, store: Path, count: int) -> None:
        """A walk through the newest version, in a mount with nothing cached."""
        mountpoint = self.work / "mnt"
        words: Command = ["mount", "--foreground", "data@main~1", mountpoint]
        whole: Command = [sys.executable, "-m", "vfs", "--store", store, *words]
        with measure.mounted(whole, mountpoint, None) as pid:
            if measure.can_drop_caches():
                measure.drop_caches()
            seconds = measure.timed(["find", ".", "-printf", "%s\n"], mountpoint)
            self.note("find with stat", count, (seconds, measure.largest_rss_anon(pid)))

    def of_versions(self, files: int, counts: list[int]) -> None:
        """Operations on a history, as it becomes longer."""
        store = self.work / "store"
        make_store(self.work, store, files)
        made = 1
        for count in counts:
            path = lengthen(store, count - made, pairs=0)
            made = count
            commands: dict[str, Command] = {
                "log": ["log", "data", "--oneline"],
                "log -- PATH": ["log", "data", "--", path],
                "import one file": self.one_file(),
                "branch": ["branch", "data", f"grown{count}"],
            }
            for what, words in commands.items():
                self.note(what, count, self.command(store, *words))


def charts(x_name: str, figures: Figures) -> list[svg.Chart]:
    """Return a chart of time and one of memory."""
    seconds, mebibytes = [], []
    for what, rows in figures.items():
        seconds.append(svg.Line(what, [(size, took) for size, took, _ in rows]))
        mebibytes.append(svg.Line(what, [(size, peak / MIB) for size, _, peak in rows if peak]))
    title = f"By {x_name}"
    return [
        svg.Chart(title, x_name, "seconds", seconds),
        svg.Chart(title, x_name, "peak RssAnon, MiB", mebibytes),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=int, default=1, metavar="N", help="an N-th of the size")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the plots")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    part = chosen.part
    with measure.workspace(chosen.work) as work:
        files = Growth(work)
        for count in FILES:
            console.print(f"{count // part:,} files", style="dim")
            files.of_files(count // part)
        console.print("versions", style="dim")
        versions = Growth(work)
        versions.of_versions(
            FILES[0] // part, sorted({max(count // part, 1) for count in VERSIONS})
        )
    if chosen.svg:
        chosen.svg.write_text(
            svg.growth([*charts("files", files.figures), *charts("versions", versions.figures)])
        )
    document = {"machine": measure.machine(), "files": files.figures, "versions": versions.figures}
    text = json.dumps(document, indent=2) + "\n"
    if chosen.json:
        chosen.json.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
