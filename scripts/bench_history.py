"""What commands cost on a long history: 1,000 versions of 1,000,000 files, 10 changed in each.

Needs no peers: each figure has an aim of its own beside it. What a command takes to start is
measured apart; all others run in this process, from the command line to the closed store, and the
fastest of several runs counts.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from subprocess import DEVNULL

import measure
from branch_costs import Costs, make_store
from rich.console import Console

from vfs.cli.main import vfs
from vfs.model.commit import Commit
from vfs.model.entry import Entry
from vfs.repo.repository import Repository
from vfs.repo.treepaths import Path as TreePath
from vfs.repo.treepaths import edit_paths
from vfs.store.layout import Kind

TIMES = 5
CHANGED = 10
FILES = 1_000_000
VERSIONS = 1_000


class Commands:
    """Runs commands on a store in this process."""

    def __init__(self, store: Path) -> None:
        self._store = str(store)

    def start_ms(self) -> float:
        """Return what a command takes that only opens the store, as a process of its own."""
        command = [sys.executable, "-m", "vfs", "--store", self._store, "branch", "data"]
        return self._fastest([lambda: subprocess.run(command, stdout=DEVNULL, check=True)] * TIMES)

    def ms(self, *arguments: str) -> float:
        """Return the milliseconds of a command that can be run again and again."""
        return self.each_ms([arguments] * TIMES)

    def each_ms(self, commands: Sequence[Sequence[str]]) -> float:
        """Return the milliseconds of the fastest of *commands*, which do alike things."""
        return self._fastest([partial(self._run, command) for command in commands])

    def _run(self, arguments: Sequence[str]) -> None:
        with Path(os.devnull).open("w") as null, redirect_stdout(null):
            try:
                vfs.main(["--store", self._store, *arguments])
            except SystemExit as end:
                if end.code:
                    sys.exit(f"vfs {' '.join(arguments)} failed")

    def _fastest(self, actions: Sequence[Callable[[], object]]) -> float:
        return min(measure.clock(action) for action in actions) * 1000


class Changes:
    """Makes versions that differ from the one before in a few files."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._random = random.Random(7)
        root = repo.commit(repo.resolve("data").commit).root
        self._files = [
            ((directory.name, file.name), file)
            for directory in repo.entries(root.content)
            if directory.is_dir
            for file in list(repo.entries(directory.content))[:20]
        ]

    @property
    def some_path(self) -> str:
        """Return the path of a file that some versions change."""
        return b"/".join(self._files[0][0]).decode()

    def commit(self, branch: str, message: str) -> None:
        """Commit a version with other content in `CHANGED` files."""
        with self._repo.store.ingest() as ingest:
            edits: dict[TreePath, Entry | None] = {}
            for path, entry in self._random.sample(self._files, CHANGED):
                content = self._random.randbytes(20)
                oid = ingest.add_object(Kind.CHUNK, content)
                edits[path] = entry._replace(size=len(content), content=oid)
            ingest.flush()

            def make_root(head: Commit | None) -> Entry:
                assert head is not None
                return edit_paths(self._repo.reader, ingest, head.root, edits)

            self._repo.commit_root("data", branch, make_root, ingest=ingest, message=message)


def lengthen(store: Path, versions: int, pairs: int = TIMES) -> str:
    """Add versions, and pairs of branches to merge; return a path with a history."""
    with Repository.open(store) as repo:
        changes = Changes(repo)
        for number in range(versions):
            changes.commit("main", f"version {number}")
        base = repo.resolve("data").commit
        for number in range(pairs):
            for side in ("ours", "theirs"):
                name = f"{side}{number}"
                repo.set_branch("data", name, base, expected=None, why="to be merged")
                changes.commit(name, name)
        return changes.some_path


def take(commands: Commands, path: str, versions: int, costs: Costs) -> None:
    """Take all figures."""
    costs.add("start of a command", commands.start_ms(), "ms", 200)
    neighbours = ("data@main~1", "data@main")
    costs.add("diff of neighbours, 10 changes", commands.ms("diff", *neighbours), "ms", 100)
    distant = (f"data@main~{versions // 2}", "data@main")
    costs.add(f"   {versions // 2} versions apart", commands.ms("diff", *distant), "ms")
    costs.add("log of all versions", commands.ms("log", "data", "--oneline"), "ms")
    costs.add("log -- PATH", commands.ms("log", "data", "--", path), "ms", 1000)
    costs.add("who, of one path", commands.ms("who", f"data:{path}"), "ms")
    numbers = range(TIMES)
    branches = [["branch", "data", f"new{n}", "--from", f"main~{n}"] for n in numbers]
    costs.add("branch", commands.each_ms(branches), "ms", 50)
    tags = [["tag", "data", f"tag{n}", f"main~{n}"] for n in numbers]
    costs.add("tag", commands.each_ms(tags), "ms", 50)
    reverts = [["revert", f"data@main~{2 * n}"] for n in numbers]
    costs.add("revert, 10 changes", commands.each_ms(reverts), "ms", 50)
    merges = [["merge", f"data@theirs{n}", "into", f"data@ours{n}"] for n in numbers]
    costs.add("merge, 10 changes each", commands.each_ms(merges), "ms", 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the size")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--store", type=Path, help="a store to copy, with data@main in it")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    part = 100 if chosen.quick else 1
    costs = Costs()
    with measure.workspace(chosen.work) as work:
        store = work / "store"
        console.print(f"a store with {FILES // part:,} files", style="dim")
        if chosen.store:
            shutil.copytree(chosen.store, store)
        else:
            make_store(work, store, FILES // part)
        versions = VERSIONS // part
        console.print(f"{versions:,} versions", style="dim")
        path = lengthen(store, versions)
        console.print("figures", style="dim")
        take(Commands(store), path, versions, costs)
    Console().print(costs.table("vfs, by the length of the history"))


if __name__ == "__main__":
    main()
