"""Import and reading, against whatever of borg, restic and squashfuse is installed.

All get the same data in the same run; each round goes through them in another order, with a fresh
store and fresh mounts. Only ratios from one run mean anything: machines and moments differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import make_data
import measure
from measure import MIB
from peers import ALL, Command, Peer, Vfs
from rich.console import Console
from rich.table import Table

SECONDS = {
    "import": "import",
    "find_cold": "find with stat, cold",
    "find_warm": "find with stat, warm",
    "small_cold": "small files, cold",
    "small_warm": "small files, warm",
    "large_cold": "large file, cold",
    "large_warm": "large file, warm",
}
BYTES = {
    "store_bytes": "store on disk",
    "import_rss_bytes": "peak RssAnon, import",
    "mount_rss_bytes": "largest RssAnon, mount",
}
# What is aimed at: vfs's figure divided by the peer's is at most this.
AIMS = (
    ("import", "borg", 1 / 3),
    ("import", "restic", 1 / 3),
    ("store_bytes", "borg", 1.0),
    ("store_bytes", "restic", 1.0),
    ("find_cold", "squashfuse", 1.0),
    ("small_cold", "squashfuse", 2.0),
    ("small_warm", "squashfuse", 1.4),
    ("large_cold", "squashfuse", 1.0),
    ("large_warm", "squashfuse", 1.0),
    ("small_cold", "borg", 1 / 3),
    ("small_warm", "borg", 1 / 3),
    ("small_cold", "restic", 1 / 3),
    ("small_warm", "restic", 1 / 3),
)


WIDTH = 110  # columns, where the table goes into a file
READ_ALL = ["find", ".", "-type", "f", "-exec", "cat", "{}", "+"]


@dataclass
class Results:
    """All samples, by peer and metric."""

    best: bool
    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, peer: str, metric: str, value: float) -> None:
        self.samples[peer][metric].append(value)

    def figure(self, peer: str, metric: str) -> float | None:
        """One figure for all rounds: their median, or the least of them."""
        values = self.samples.get(peer, {}).get(metric)
        if not values:
            return None
        return min(values) if self.best else statistics.median(values)

    def ratio(self, peer: str, metric: str) -> float | None:
        """How the peer's figure stands to vfs's: above 1 where vfs is better."""
        ours, theirs = self.figure(Vfs.name, metric), self.figure(peer, metric)
        return theirs / ours if ours and theirs else None


@dataclass(frozen=True)
class Bench:
    work: Path
    source: Path
    cold: bool
    results: Results

    @property
    def names(self) -> Path:
        """A list of all small files, for xargs."""
        return self.work / "names"

    def import_once(self, peer: Peer) -> None:
        peer.renew()
        seconds, peak = measure.run_watched(peer.import_command(), cwd=self.source, env=peer.env)
        self.results.add(peer.name, "import", seconds)
        self.results.add(peer.name, "import_rss_bytes", peak)
        self.results.add(peer.name, "store_bytes", measure.disk_bytes(peer.store))

    @contextmanager
    def mounted(self, peer: Peer) -> Iterator[tuple[Path, int]]:
        """Yield the view of a fresh mount, with nothing cached where that can be had, and a pid."""
        mountpoint = self.work / f"mnt-{peer.home.name}"
        command = peer.mount_command(mountpoint)
        mount = measure.mounted(command, mountpoint, peer.env) if command else nullcontext(0)
        with mount as pid:
            if self.cold:
                measure.drop_caches()
            yield peer.view(mountpoint), pid

    def read_once(self, peer: Peer) -> None:
        """Take all reading figures of one peer; find, small and large each on a fresh mount."""
        commands: dict[str, Command] = {
            "find": ["find", ".", "-printf", "%s\n"],
            "small": ["xargs", "-0", "-a", self.names, "cat"],
            "large": ["dd", "if=large.bin", "of=/dev/null", "bs=1M", "status=none"],
        }
        for metric, command in commands.items():
            with self.mounted(peer) as (view, pid):
                first = measure.timed(command, view)
                if self.cold:
                    self.results.add(peer.name, f"{metric}_cold", first)
                self.results.add(peer.name, f"{metric}_warm", measure.timed(command, view))
                if pid and metric == "small":
                    rss = measure.largest_rss_anon(pid)
                    self.results.add(peer.name, "mount_rss_bytes", rss)

    def verify(self, peer: Peer) -> None:
        """Stop everything where a peer does not give back what it was given."""
        with self.mounted(peer) as (view, _):
            if subprocess.run(["diff", "-r", self.source, view], check=False).returncode:
                sys.exit(f"{peer.name} does not show what was imported")


def make_source(bench: Bench, files: int, mebibytes: int) -> None:
    make_data.small_files(bench.source / "small", files)
    make_data.large_file(bench.source / "large.bin", mebibytes)
    found = sorted((bench.source / "small").rglob("f*"))
    bench.names.write_bytes(
        b"".join(bytes(path.relative_to(bench.source)) + b"\0" for path in found)
    )


def run(bench: Bench, peers: list[Peer], rounds: int, console: Console) -> None:
    """Fill the results: every round all imports, then all readings, in a rotated order."""
    for number in range(rounds):
        shift = number % len(peers)
        order = peers[shift:] + peers[:shift]
        for peer in order:
            console.print(f"round {number + 1} of {rounds}: {peer.name}: import", style="dim")
            measure.timed(READ_ALL, bench.source)  # so that all find it in the page cache
            bench.import_once(peer)
        for peer in order:
            console.print(f"round {number + 1} of {rounds}: {peer.name}: reading", style="dim")
            bench.read_once(peer)
    for peer in peers:
        if isinstance(peer, Vfs):
            bench.verify(peer)


def figure(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric in BYTES:
        return f"{value / MIB:,.0f} MiB"
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def table(results: Results, peers: list[Peer]) -> Table:
    others = [peer.name for peer in peers if peer.name != Vfs.name]
    kind = "Best of all rounds" if results.best else "Medians of all rounds"
    shown = Table(title=f"{kind}; in brackets how many times vfs's figure that is")
    shown.add_column("")
    shown.add_column(Vfs.name, justify="right", style="bold")
    for name in others:
        shown.add_column(name, justify="right", no_wrap=True)
    for metric, label in (SECONDS | BYTES).items():
        cells = [label, figure(metric, results.figure(Vfs.name, metric))]
        for name in others:
            ratio = results.ratio(name, metric)
            text = figure(metric, results.figure(name, metric))
            cells.append(f"{text} ({ratio:.2f}x)" if ratio else text)
        shown.add_row(*cells)
    return shown


def aims(results: Results) -> Table:
    shown = Table(title="Aims: vfs's figure divided by the peer's")
    for heading in ("", "against", "at most", "is", ""):
        shown.add_column(heading, justify="right" if heading in {"at most", "is"} else "left")
    for metric, peer, most in AIMS:
        ratio = results.ratio(peer, metric)
        if ratio is not None:
            verdict = "[green]met" if 1 / ratio <= most else "[red]missed"
            label = (SECONDS | BYTES)[metric]
            shown.add_row(label, peer, f"{most:.2f}", f"{1 / ratio:.2f}", verdict)
    return shown


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="small files, 4 KiB each")
    parser.add_argument("--mebibytes", type=int, default=512, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--best", action="store_true", help="each one's best round, not medians")
    parser.add_argument("--quick", action="store_true", help="2,000 files, 64 MiB, one round")
    parser.add_argument("--only", action="append", metavar="PEER", help="may be given repeatedly")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", action="store_true", help="all samples, to standard output")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.files, chosen.mebibytes, chosen.rounds = 2_000, 64, 1
    return chosen


def main() -> None:
    chosen = arguments()
    console = Console(stderr=True)
    cold = measure.can_drop_caches()
    if not cold:
        console.print("Not root: caches can't be dropped, so there are no cold figures.")
    results = Results(best=chosen.best)
    with measure.workspace(chosen.work) as work:
        bench = Bench(work, work / "source", cold, results)
        peers = []
        for peer in (kind(work) for kind in ALL):
            if chosen.only and peer.name not in chosen.only:
                continue
            if missing := peer.missing():
                console.print(f"{peer.name} is left out: there is no {missing} here")
            else:
                peers.append(peer)
        make_source(bench, chosen.files, chosen.mebibytes)
        run(bench, peers, chosen.rounds, console)
    if chosen.json:
        shape = {"files": chosen.files, "mebibytes": chosen.mebibytes, "rounds": chosen.rounds}
        document = {"machine": measure.machine(), "data": shape, "samples": results.samples}
        print(json.dumps(document, indent=2))
    else:
        output = Console() if sys.stdout.isatty() else Console(width=WIDTH)
        output.print(table(results, peers), aims(results))


if __name__ == "__main__":
    main()
