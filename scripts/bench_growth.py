"""How time and memory of each operation grow with the size of what they work on; needs no peers.

Files, versions, entries of a directory, bytes of a file, bytes of a store.

Each operation is a command, a process of its own, from its start to its end: 0.15 to 0.2 s of each
are Python starting; those on a mount are timed by themselves. Memory is the peak of a command's
anonymous memory; of a mount, its largest process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import measure
import svg
from growing import counts, directories, extents, stores
from growing.figures import Figures, Growth, charts
from rich.console import Console

PARTS: dict[str, Callable[[Growth], None]] = {
    "files": counts.files,
    "versions": counts.versions,
    "directories": directories.directories,
    "sizes": extents.sizes,
    "stores": stores.stores,
}
GROWING = {
    "files": "files",
    "versions": "versions",
    "directories": "entries of a directory",
    "sizes": "bytes of a file",
    "stores": "bytes of a store",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--part", type=int, default=1, metavar="N", help="an N-th of the size")
    parser.add_argument("--full", action="store_true", help="a store of 32 GiB, too")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the plots")
    chosen = parser.parse_args()
    console = Console(stderr=True)

    def tell(text: str) -> None:
        console.print(f"   {text}", style="dim")

    figures: dict[str, Figures] = {}
    seconds: dict[str, float] = {}
    for name in chosen.only or PARTS:
        console.print(name)
        start = time.perf_counter()
        with measure.workspace(chosen.work) as work:
            growth = Growth(work, part=chosen.part, full=chosen.full, tell=tell)
            PARTS[name](growth)
        figures[name] = growth.figures
        seconds[name] = round(time.perf_counter() - start, 1)
        tell(f"{seconds[name]:,} s in all")
    if chosen.svg:
        drawn = [chart for name in figures for chart in charts(GROWING[name], figures[name])]
        chosen.svg.write_text(svg.growth(drawn))
    document = {"machine": measure.machine(), "seconds": seconds, **figures}
    text = json.dumps(document, indent=2) + "\n"
    if chosen.json:
        chosen.json.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
