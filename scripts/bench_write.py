"""Writing to a mounted branch, against the machine's own file system, fuse-overlayfs and S3QL.

All do the same in the same run; each round goes through them in another order, with a fresh store
and fresh mounts, on top of some files that were there before. Only ratios from one run mean
anything. Then what branches cost by themselves: see `branch_costs`.
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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import branch_costs
import make_data
import measure
from bench_read import Results
from measure import KIB, MIB
from peers import WRITABLE, Command, Peer, VfsBranch
from rich.console import Console
from rich.table import Table

COPY, UNPACK = "cp -r", "tar x"
LARGE_WRITE, LARGE_READ = "large file written, fsync", "read back from the page cache"
RSS = "largest RssAnon"
# What is aimed at: vfs's figure divided by the peer's is at most this.
AIMS = (
    (COPY, "S3QL", 1 / 4),
    (UNPACK, "S3QL", 1 / 4),
    (COPY, "fuse-overlayfs", 1.5),
    (UNPACK, "fuse-overlayfs", 1.5),
    (LARGE_WRITE, "S3QL", 1.0),
    (LARGE_WRITE, "ext4", 2.0),
    (LARGE_READ, "ext4", 1.0),
)

PAGE = 4 * KIB
Workload = tuple[str, Callable[[], object]]
WIDTH = 100  # columns, where the table goes into a file


@dataclass(frozen=True)
class Sizes:
    """How much of each there is."""

    files: int = 5_000
    empty: int = 10_000
    large: int = 512  # MiB
    database: int = 256  # MiB of the file that is overwritten here and there
    overwrites: int = 20_000
    synced: int = 500  # overwrites and appends with an fsync each


QUICK = Sizes(files=500, empty=1_000, large=64, database=32, overwrites=2_000, synced=50)


@dataclass(frozen=True)
class Bench:
    work: Path
    sizes: Sizes
    results: Results

    @property
    def base(self) -> Path:
        """What is there before anything is written."""
        return self.work / "base"

    @property
    def source(self) -> Path:
        """What is copied in."""
        return self.work / "source"

    @property
    def archive(self) -> Path:
        return self.work / "source.tar"

    def make_data(self) -> None:
        make_data.small_files(self.base, self.sizes.files)
        make_data.small_files(self.source / "small", self.sizes.files)
        make_data.large_file(self.source / "large.bin", self.sizes.large)
        subprocess.run(["tar", "cf", self.archive, "-C", self.source, "small"], check=True)

    @contextmanager
    def mounted(self, peer: Peer) -> Iterator[tuple[Path, int]]:
        """Yield where to write, on top of the base, and the pid of who serves it."""
        peer.renew()
        command = peer.base_command()
        if command:
            subprocess.run(
                command, cwd=self.base, env=peer.env, check=True, stdout=subprocess.DEVNULL
            )
        mountpoint = self.work / f"mnt-{peer.home.name}"
        mounting = peer.mount_command(mountpoint)
        mount = measure.mounted(mounting, mountpoint, peer.env) if mounting else nullcontext(0)
        with mount as pid:
            view = peer.view(mountpoint)
            if not command:
                subprocess.run(["cp", "-a", f"{self.base}/.", view], check=True)
            yield view, pid

    def run_once(self, peer: Peer) -> None:
        """Take all figures of one peer."""
        with self.mounted(peer) as (view, pid):

            def memory() -> int:
                return measure.largest_rss_anon(pid) if pid else 0

            with measure.watching(memory) as peak:
                every = self.workloads if peer.keeps_content else self.small_files
                for name, action in every(view):
                    measure.settle(view)
                    seconds = measure.clock(action)
                    if name:
                        self.results.add(peer.name, name, seconds)
                if peer.keeps_content:
                    self.verify(view)
            if pid:
                self.results.add(peer.name, RSS, peak.bytes)

    def small_files(self, view: Path) -> Iterator[Workload]:
        """Yield what many small files are timed with, each as what the one before left it."""
        yield COPY, shell(view, "cp", "-r", self.source / "small", "copied")
        yield "find with stat", shell(view, "find", "copied", "-printf", "%s\n")
        yield UNPACK, shell(view, "tar", "xf", self.archive)
        yield "rm -r", shell(view, "rm", "-r", "copied")

    def workloads(self, view: Path) -> Iterator[Workload]:
        """Yield all that is to be timed, in order; `""`: not timed."""
        yield from self.small_files(view)
        large = self.source / "large.bin"
        measure.timed(["cat", large], view)  # so that all find it in the page cache
        write: Command = ["dd", f"if={large}", "of=large", "bs=1M", "conv=fsync", "status=none"]
        yield LARGE_WRITE, shell(view, *write)
        yield LARGE_READ, shell(view, "dd", "if=large", "of=/dev/null", "bs=1M", "status=none")
        sizes, database = self.sizes, view / "database"
        yield "", lambda: make_data.large_file(database, sizes.database)
        what = f"{sizes.overwrites:,} overwrites of 4 KiB, one fsync"
        yield what, lambda: overwrite(database, sizes.overwrites, each=False)
        what = f"{sizes.synced} overwrites of 4 KiB, fsync each"
        yield what, lambda: overwrite(database, sizes.synced, each=True)
        what = f"{sizes.synced} appends of 4 KiB, fsync each"
        yield what, lambda: append(view / "log", sizes.synced)
        paths = [os.fspath(view / "empty" / f"e{number:06}") for number in range(sizes.empty)]
        (view / "empty").mkdir()
        for verb, action in (("made", touch), ("stat", os.stat), ("unlinked", os.unlink)):
            yield f"{sizes.empty:,} empty files {verb}", partial(do_all, action, paths)

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


def run(bench: Bench, peers: list[Peer], rounds: int, console: Console) -> None:
    """Fill the results: every round goes through all peers, in a rotated order."""
    for number in range(rounds):
        shift = number % len(peers)
        for peer in peers[shift:] + peers[:shift]:
            console.print(f"round {number + 1} of {rounds}: {peer.name}", style="dim")
            bench.run_once(peer)


def figure(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric == RSS:
        return f"{value / MIB:,.0f} MiB"
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


def table(results: Results, peers: list[Peer]) -> Table:
    others = [peer.name for peer in peers if peer.name != VfsBranch.name]
    kind = "Best of all rounds" if results.best else "Medians of all rounds"
    shown = Table(title=f"{kind}; in brackets how many times vfs's figure that is")
    shown.add_column("")
    for name in (VfsBranch.name, *others):
        shown.add_column(name, justify="right", no_wrap=True)
    metrics = {name: None for peer in peers for name in results.samples[peer.name]}
    for metric in metrics:
        cells = [metric, figure(metric, results.figure(VfsBranch.name, metric))]
        for name in others:
            ratio = results.ratio(name, metric)
            text = figure(metric, results.figure(name, metric))
            cells.append(f"{text} ({ratio:.2f}x)" if ratio else text)
        shown.add_row(*cells)
    return shown


def aims(results: Results) -> Table:
    """What is to be reached; a ratio is the median of those of each round, as disks have moods."""
    shown = Table(title="Aims: vfs's figure divided by the peer's")
    for heading in ("", "against", "at most", "is", ""):
        shown.add_column(heading, justify="right" if heading in {"at most", "is"} else "left")
    for metric, peer, most in AIMS:
        ours, theirs = (results.samples[name].get(metric, []) for name in (VfsBranch.name, peer))
        if ours and theirs:
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            verdict = "[green]met" if ratio <= most else "[red]missed"
            shown.add_row(metric, peer, f"{most:.2f}", f"{ratio:.2f}", verdict)
    return shown


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["peers", "branch", []], help="default: both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--best", action="store_true", help="each one's best round, not medians")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, one round")
    parser.add_argument("--only", action="append", metavar="PEER", help="may be given repeatedly")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--json", action="store_true", help="all samples, to standard output")
    branch = parser.add_argument_group("what a branch costs")
    branch.add_argument("--files", type=int, help="files in the branch [default: 100,000]")
    branch.add_argument("--new", type=int, help="files that are added to it [default: 100,000]")
    branch.add_argument(
        "--store", type=Path, help="use this store, and change it, instead of making one"
    )
    branch.add_argument(
        "--branch", default="data@bench", help="of that store, made from main if there is none"
    )
    chosen = parser.parse_args()
    chosen.rounds = 1 if chosen.quick else chosen.rounds
    chosen.files = chosen.files or (2_000 if chosen.quick else 100_000)
    chosen.new = chosen.new or (2_000 if chosen.quick else 100_000)
    return chosen


def compare(chosen: argparse.Namespace, console: Console) -> tuple[Results, list[Peer]]:
    results, peers = Results(best=chosen.best), []
    with measure.workspace(chosen.work) as work:
        for peer in (kind(work) for kind in WRITABLE):
            if chosen.only and peer.name not in chosen.only:
                continue
            if missing := peer.missing():
                console.print(f"{peer.name} is left out: there is no {missing} here")
            else:
                peers.append(peer)
        bench = Bench(work, QUICK if chosen.quick else Sizes(), results)
        bench.make_data()
        run(bench, peers, chosen.rounds, console)
    return results, peers


def main() -> None:
    chosen = arguments()
    console = Console(stderr=True)
    output = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    document = {"machine": measure.machine(), "rounds": chosen.rounds}
    parts = chosen.parts or ["peers", "branch"]
    if "peers" in parts:
        results, peers = compare(chosen, console)
        document["samples"] = results.samples
        if not chosen.json:
            output.print(table(results, peers), aims(results))
    if "branch" in parts:
        with measure.workspace(chosen.work) as work:
            costs = branch_costs.take(
                work, chosen.files, chosen.new, chosen.store, chosen.branch, console
            )
        document["branch"] = costs.figures
        if not chosen.json:
            output.print(costs.table(f"A branch of {chosen.files:,} files"))
    if chosen.json:
        print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
