"""What workloads ask of vfs: FUSE requests by kind, LMDB transactions, processor time.

Counts say what times do not on a machine that others use: what is asked, and how often. Requests
are those of `vfs metrics`; `counted_vfs.py` notes transactions, which takes 1 us of each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import measure
from comparing import ComparingSuite
from loading import BATCH, LoadingSuite, read_batch
from peers import Vfs, VfsBranch, VfsWithBranches
from reading import ReadingSuite
from results import Results
from rich.console import Console
from rich.table import Table
from suite import QUICK, Suite
from writing import COPY, LARGE_READ, LARGE_WRITE, UNPACK, WritingSuite

from vfs.daemon import counting

SIZES = replace(QUICK, samples=10_000, written=1_000)
WIDTH = 160  # columns, where the table goes into a file


@dataclass
class Count:
    """What was counted until now, in all; or, of two of them, what lies between."""

    requests: dict[str, float]
    reads: float
    writes: float
    client: float  # seconds of processor time
    server: float

    def since(self, before: Count, number: int) -> Count:
        """Return what came since *before*, for each of *number*."""
        return Count(
            {k: (n - before.requests.get(k, 0)) / number for k, n in self.requests.items()},
            (self.reads - before.reads) / number,
            (self.writes - before.writes) / number,
            (self.client - before.client) / number,
            (self.server - before.server) / number,
        )

    def cells(self) -> Iterator[str]:
        """Return the cells of a row."""
        kinds = [f"{n:.3g} {kind}" for kind, n in self.requests.items() if n >= 0.0005]
        yield f"{sum(self.requests.values()):.3g}"
        yield ", ".join(kinds)
        yield f"{self.reads:.3g}"
        yield f"{self.writes:.3g}"
        yield f"{self.client * 1e6:,.0f}"
        yield f"{self.server * 1e6:,.0f}"


class Counter:
    """Counts what is done to one peer, and fills the table."""

    def __init__(self, peer: Vfs, work: Path, table: Table) -> None:
        self.peer, self.table = peer, table
        self.noted = work / "transactions"
        self.noted.touch()
        peer.command = [sys.executable, Path(__file__).with_name("counted_vfs.py")]
        peer.env["TRANSACTIONS"] = str(self.noted)

    def now(self, mountpoint: Path | None, pid: int) -> Count:
        """Return all that was counted until now; of no mount where there is none."""
        totals = mountpoint and counting.read(self.peer.store, str(mountpoint))
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        noted = self.noted.read_bytes()
        return Count(
            {each.kind: each.count for each in totals.requests} if totals else {},
            noted.count(b"r"),
            noted.count(b"w"),
            sum(one.ru_utime + one.ru_stime for one in used),
            on_processor(pid) if pid else 0,
        )

    def row(
        self,
        label: str,
        number: int,
        action: Callable[[], object],
        mount: tuple[Path | None, int] = (None, 0),
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Do *action*, which is *number* operations, and *settle* what it left; add a row."""
        before = self.now(*mount)
        action()
        settle()
        self.table.add_row(label, *self.now(*mount).since(before, number).cells())

    def run(self, label: str, number: int, command: Sequence[str | Path], cwd: Path) -> None:
        """Count a command of vfs by itself."""
        quiet = {"cwd": cwd, "env": self.peer.env, "stdout": subprocess.DEVNULL}
        self.row(label, number, partial(subprocess.run, command, check=True, **quiet))


def on_processor(pid: int) -> float:
    """Return the seconds that a process and all below it were on a processor."""
    nanoseconds = 0
    for process in measure.process_tree(pid):
        for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
            nanoseconds += int(task.read_text().split()[0])
    return nanoseconds / 1e9


@contextmanager
def made(kind: type[Suite], work: Path) -> Iterator[Suite]:
    """Yield a suite with its data."""
    place = work / kind.name
    place.mkdir()
    suite = kind(place, SIZES, Results(), kind.workloads)
    suite.prepare()
    yield suite


def reading(work: Path, table: Table) -> None:
    """Import, and all ways to read, where nothing can be written and where branches can be made."""
    with made(ReadingSuite, work) as suite:
        assert isinstance(suite, ReadingSuite)
        files = {"large": SIZES.large, "random": SIZES.pages, "mmap": SIZES.pages}
        units = {"large": " (a MiB)", "random": " (a page)", "mmap": " (a page)"}
        for kind in (Vfs, VfsWithBranches):
            peer = kind(suite.work)
            counter = Counter(peer, suite.work, table)
            if kind is Vfs:
                peer.renew()
                for version in ("bench", "again"):
                    label = "import" if version == "bench" else "import again"
                    counter.run(label, SIZES.files, peer.import_command(version), suite.source)
            table.add_section()
            table.add_row("[bold]writable hub" if kind is VfsWithBranches else "[bold]read-only")
            for name, way in suite.readings().items():
                with suite.mounted(peer) as (view, pid):
                    suite.drop_caches()
                    mount = view.parent, pid
                    for state in ("cold", "warm"):
                        number = files.get(name, SIZES.files)
                        label = f"{way.label}, {state}{units.get(name, '')}"
                        counter.row(label, number, partial(way.action, view), mount)


def loading(work: Path, table: Table) -> None:
    """Samples at random, by one and by several processes, two epochs."""
    with made(LoadingSuite, work) as suite:
        assert isinstance(suite, LoadingSuite)
        for kind in (Vfs, VfsWithBranches):
            peer = kind(suite.work)
            counter = Counter(peer, suite.work, table)
            if kind is Vfs:
                peer.renew()
                subprocess.run(peer.import_command(), cwd=suite.source, env=peer.env, check=True)
            table.add_section()
            for workers in (1, 2, 4):
                with suite.mounted(peer) as (view, pid):
                    suite.drop_caches()
                    for number in (1, 2):
                        label = f"samples, {peer.name}, {workers} readers, epoch {number}"
                        paths = [f"{view}/{name}" for name in suite.names]
                        random.Random(number).shuffle(paths)
                        counter.row(
                            label,
                            len(paths),
                            partial(epoch, paths, workers),
                            (view.parent, pid),
                        )


def epoch(paths: Sequence[str], workers: int) -> None:
    """Read all *paths*, in batches, by so many processes."""
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for _ in pool.imap_unordered(read_batch, batches):
            pass
        pool.close()
        pool.join()


def comparing(work: Path, table: Table) -> None:
    """`diff -r` of two versions."""
    with made(ComparingSuite, work) as suite:
        assert isinstance(suite, ComparingSuite)
        peer = Vfs(suite.work)
        suite.fill(peer)
        counter = Counter(peer, suite.work, table)
        table.add_section()
        with suite.mounted(peer) as (view, pid):
            suite.drop_caches()
            places = [view.with_name(f"data@{version}") for version in ("v1", "v2")]
            for state in ("cold", "again"):
                compare = partial(measure.captured, ["diff", "-rq", *places])
                label = f"diff -r, {state} (in all)"
                counter.row(label, 1, compare, (view.parent, pid))


def writing(work: Path, table: Table) -> None:
    """All that is written to a branch, with what storing it takes; then its commands."""
    with made(WritingSuite, work) as suite:
        assert isinstance(suite, WritingSuite)
        peer = VfsBranch(suite.work)
        counter = Counter(peer, suite.work, table)
        per = dict.fromkeys((COPY, UNPACK, "rm -r", "find after the copy"), SIZES.written)
        per |= dict.fromkeys((LARGE_WRITE, LARGE_READ), SIZES.large)
        table.add_section()
        with suite.based(peer) as (view, pid):
            for label, count, action in suite.everything(view):
                measure.settle(view)
                if not label:
                    action()
                    continue
                number = per.get(label, count)
                shown = f"{label} (a MiB)" if per.get(label) == SIZES.large else label
                counter.row(shown, number, action, (view, pid), lambda: measure.settle(view))
        table.add_section()
        for words in (["branch", "data", "new"], ["status", "data@main"], ["commit", "data@main"]):
            message = ["-m", "bench"] if words[0] == "commit" else []
            label = f"vfs {words[0]} (in all)"
            counter.run(label, 1, [*peer.command, *words, *message], suite.work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="SUITE", choices=sorted(SUITES))
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    chosen = parser.parse_args()
    if not measure.can_drop_caches():
        sys.exit("It takes root to drop caches: what is cold would not be.")
    table = Table(
        title="For each file, or what the row says",
        caption="client: all that asks; server: all processes of the mount",
    )
    for heading in ("", "requests", "by kind", "read txns", "write txns", "client us", "server us"):
        table.add_column(heading, justify="left" if heading in {"", "by kind"} else "right")
    with measure.workspace(chosen.work) as work:
        for name in chosen.only or SUITES:
            SUITES[name](work, table)
    (Console() if sys.stdout.isatty() else Console(width=WIDTH)).print(table)


SUITES: dict[str, Callable[[Path, Table], None]] = {
    "read": reading,
    "load": loading,
    "diff": comparing,
    "write": writing,
}

if __name__ == "__main__":
    main()
