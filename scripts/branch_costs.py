"""What a branch costs by the number of its files and of its changes; a part of `bench`.

Needs no peers: each figure has an aim of its own beside it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import make_data
import measure
from measure import MIB
from peers import Command, VfsBranch
from rich.console import Console
from rich.table import Table

from vfs.daemon import owners
from vfs.errors import NotFound
from vfs.repo.repository import Repository

TIMES = 5
CHANGED = 10
PER_DIRECTORY = 1_000
RSS_MIB = 250


@dataclass
class Costs:
    """Figures in the order they were taken: what, how much, its unit, and the aim."""

    figures: list[tuple[str, float, str, float | None]] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, aim: float | None = None) -> None:
        self.figures.append((what, value, unit, aim))

    def table(self, title: str) -> Table:
        shown = Table(title=title)
        for heading in ("", "measured", "aim", ""):
            shown.add_column(heading, justify="right" if heading else "left")
        for what, value, unit, aim in self.figures:
            verdict = limit = ""
            if aim is not None:
                per_second = unit.endswith("/s")
                limit = f"{'>=' if per_second else '<='} {aim:,g} {unit}"
                met = value >= aim if per_second else value <= aim
                verdict = "[green]met" if met else "[red]missed"
            shown.add_row(what, f"{value:,.4g} {unit}", limit, verdict)
        return shown


class Branch:
    """A branch of a prepared store, to be mounted."""

    def __init__(self, work: Path, store: Path, target: str) -> None:
        self.peer = VfsBranch(work)
        self.peer.home.mkdir(exist_ok=True)
        self.peer.env["VFS_STORE"] = str(store)
        self.store, self.target = store, target
        self.data_set, _, self.name = target.partition("@")
        self.mountpoint = work / "mnt"
        self.mountpoint.mkdir()

    def run(self, *arguments: str | Path) -> str:
        """Run a command of vfs; return what it prints."""
        command = [*self.peer.command, *arguments]
        done = subprocess.run(
            command, env=self.peer.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"vfs {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def pid(self) -> int:
        """Return the process that serves the branch; 0 if none does."""
        found = owners.find(self.store, self.data_set, self.name)
        return found.pid if found else 0

    @contextmanager
    def mounted(self) -> Iterator[measure.Peak]:
        """Mount; yield the peak of the serving process's anonymous memory so far."""
        self.run("mount", self.target, self.mountpoint)
        try:
            pid = self.pid()
            with measure.watching(lambda: measure.rss_anon(pid)) as peak:
                yield peak
        finally:
            self.run("umount", self.mountpoint)

    def some_files(self, count: int) -> list[Path]:
        """Return files in as many directories as there are."""
        with os.scandir(self.mountpoint) as entries:
            directories = sorted(entry.path for entry in entries if entry.is_dir())
        found: list[Path] = []
        for directory in directories[:: max(len(directories) // count, 1)]:
            with os.scandir(directory) as entries:
                found += [Path(entry.path) for entry in islice(entries, 1) if entry.is_file()]
        if len(found) < count:
            sys.exit(f"{self.target} has too few directories with files in it")
        return found[:count]


def median(action: Callable[[], object], times: int = TIMES) -> float:
    """Return the median of the milliseconds that *action* takes."""
    return statistics.median(measure.clock(action) for _ in range(times)) * 1000


def take(
    work: Path, files: int, new: int, store: Path | None, target: str, console: Console
) -> Costs:
    """Take all figures."""
    costs = Costs()
    if store is None:
        store = work / "store"
        console.print(f"a store with {files:,} files", style="dim")
        make_store(work, store, files)
    branch = Branch(work, store, target)
    console.print("branches made and mounted", style="dim")
    making(branch, costs)
    mounting(branch, costs)
    console.print(f"{CHANGED} changed files", style="dim")
    changing(branch, costs)
    console.print(f"{new:,} new files", style="dim")
    growing(branch, costs, new)
    return costs


def make_store(work: Path, store: Path, files: int) -> None:
    """Make a store whose data set `data` has so many files of a few bytes, in many directories."""
    per_directory = max(1, min(PER_DIRECTORY, files // (2 * CHANGED)))
    numbers = range(files)
    store_of(work, store, (f"d{number // per_directory:04}/f{number:07}" for number in numbers))


def store_of(work: Path, store: Path, names: Iterable[str]) -> None:
    """Make a store whose data set `data` has files with these names."""
    archive = work / "files.tar"
    make_data.archive(archive, names)
    peer = VfsBranch(work)
    peer.home.mkdir()
    peer.env["VFS_STORE"] = str(store)
    importing: Command = [*peer.command, "import", archive, "data", "-m", "files"]
    for command in (*peer.init_commands(), importing):
        subprocess.run(command, env=peer.env, check=True, stdout=subprocess.DEVNULL)
    archive.unlink()


def making(branch: Branch, costs: Costs) -> None:
    """Branches made, and the one that all else is about."""
    data_set = branch.data_set
    with Repository.open(branch.store) as repo:
        head = repo.resolve(data_set, "main").commit
        numbers = iter(range(TIMES))

        def make() -> None:
            name = f"bench-{next(numbers)}"
            repo.set_branch(data_set, name, head, expected=None, why="bench")

        costs.add("branch made, the operation", median(make), "ms", 20)
    names = iter(range(TIMES, 2 * TIMES))

    def make_by_command() -> None:
        branch.run("branch", data_set, f"bench-{next(names)}")

    costs.add("branch made, the command", median(make_by_command), "ms")
    with Repository.open(branch.store) as repo:
        for number in range(2 * TIMES):
            repo.delete_ref(data_set, f"bench-{number}", kind="branch")
        try:
            repo.resolve(data_set, branch.name)
        except NotFound:
            repo.set_branch(data_set, branch.name, head, expected=None, why="bench")


def mounting(branch: Branch, costs: Costs) -> None:
    """The mount by itself."""
    samples = []
    rss = 0
    for _ in range(TIMES):
        samples.append(measure.clock(lambda: branch.run("mount", branch.target, branch.mountpoint)))
        rss = measure.rss_anon(branch.pid())
        branch.run("umount", branch.mountpoint)
    costs.add("mount, the command", statistics.median(samples) * 1000, "ms", 500)
    costs.add("   RssAnon of the serving process", rss / MIB, "MiB", RSS_MIB)


def changing(branch: Branch, costs: Costs) -> None:
    """A few files changed: what tells and commits them."""
    with branch.mounted() as peak:
        files = branch.some_files(CHANGED)
        control = branch.mountpoint / ".vfs"

        def change() -> None:
            for path in files:
                with path.open("ab") as file:
                    file.write(b"changed\n")

        def status() -> None:
            if (found := control.joinpath("status").read_bytes().count(b"\n")) < CHANGED:
                sys.exit(f"{found} changes, not {CHANGED}")

        def commit() -> None:
            control.joinpath("commit").write_text("bench\n")

        figures: dict[str, list[float]] = {}
        for _ in range(TIMES):
            for what, action in {
                "status, .vfs/status": status,
                "status, the command": lambda: branch.run("status", branch.target),
                "commit, .vfs/commit": commit,
                "commit, the command": lambda: branch.run("commit", branch.target, "-m", "bench"),
            }.items():
                if what != "status, the command":
                    change()
                figures.setdefault(what, []).append(measure.clock(action) * 1000)
        limits = {"status, .vfs/status": 50, "commit, .vfs/commit": 100}
        for what, samples in figures.items():
            label = what.replace(",", f" of {CHANGED} changed files,", 1)
            costs.add(label, statistics.median(samples), "ms", limits.get(what))
    costs.add("   peak RssAnon of the serving process", peak.bytes / MIB, "MiB", RSS_MIB)


def growing(branch: Branch, costs: Costs, new: int) -> None:
    """Many files added, kept over a remount, and committed."""
    with branch.mounted() as peak:
        top = branch.mountpoint / f"new-{os.urandom(4).hex()}"
        seconds = measure.clock(lambda: write_files(top, new))
        costs.add(f"{new:,} new files written", new / seconds, "files/s")
    costs.add("   peak RssAnon of the serving process", peak.bytes / MIB, "MiB", RSS_MIB)
    seconds = measure.clock(lambda: branch.run("mount", branch.target, branch.mountpoint))
    branch.run("umount", branch.mountpoint)
    costs.add(f"mount with {new:,} changed files", seconds * 1000, "ms", 1000)
    with branch.mounted() as peak:
        seconds = measure.clock(lambda: branch.run("status", branch.target))
        costs.add(f"status of {new:,} new files, the command", seconds * 1000, "ms")
        command: Command = ["commit", branch.target, "-m", "bench", "--json"]
        with measure.watching(measure.of_children) as ours:
            told = json.loads(branch.run(*command))
        costs.add(f"commit of {new:,} new files", new / told["seconds"], "files/s", 20_000)
        costs.add("   peak RssAnon of the committing process", ours.bytes / MIB, "MiB")
    costs.add("   peak RssAnon of the serving process", peak.bytes / MIB, "MiB", RSS_MIB)


def write_files(top: Path, count: int) -> None:
    """Write *count* files of a few bytes."""
    top.mkdir()
    directory = top
    for number in range(count):
        if number % PER_DIRECTORY == 0:
            directory = top / f"n{number // PER_DIRECTORY:04}"
            directory.mkdir()
        fd = os.open(f"{directory}/f{number:07}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"%d new\n" % number)
        os.close(fd)
