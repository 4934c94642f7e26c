"""What a suite of workloads is, and how it is run: all peers in each round, in turn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import measure
from measure import MIB
from peers import Peer
from results import Aim, Results
from rich.console import Console


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything."""

    files: int = 20_000  # of 4 KiB, to be read
    large: int = 512  # MiB
    pages: int = 2_000  # of 4 KiB, read here and there: borg takes 7 ms for one
    samples: int = 100_000  # of 4 KiB, to be learned from
    compared: int = 20_000  # files of 100 bytes in each of two versions
    written: int = 5_000  # files of 4 KiB, to be written
    empty: int = 10_000
    database: int = 256  # MiB of the file that is overwritten here and there
    overwrites: int = 20_000
    synced: int = 500  # overwrites and appends with an fsync each
    branch: int = 100_000  # files in a branch, and as many added
    rows: int = 500_000  # of a table

    @property
    def read_bytes(self) -> int:
        return self.files * 4096 + self.large * MIB


FULL = Sizes(compared=1_000_000)
QUICK = Sizes(
    files=2_000,
    large=64,
    pages=400,
    samples=2_000,
    compared=2_000,
    written=500,
    empty=1_000,
    database=32,
    overwrites=2_000,
    synced=50,
    branch=2_000,
    rows=20_000,
)


class Suite(ABC):
    """Some workloads that share data and stores."""

    name: ClassVar[str]
    about: ClassVar[str]
    workloads: ClassVar[tuple[str, ...]]
    kinds: ClassVar[tuple[type[Peer], ...]]
    aims: ClassVar[tuple[Aim, ...]] = ()
    most_rounds: ClassVar[int] = 1_000  # where one round takes long, or all give the same

    def __init__(self, work: Path, sizes: Sizes, results: Results, chosen: Collection[str]) -> None:
        self.work, self.sizes, self.results = work, sizes, results
        self.chosen = [name for name in self.workloads if name in chosen]
        self.cold = measure.can_drop_caches()
        self.source = work / "source"

    @property
    @abstractmethod
    def disk_bytes(self) -> int:
        """About what the suite needs on the disk."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data."""

    @abstractmethod
    def once(self, peer: Peer) -> None:
        """Take all figures of one peer."""

    def passes(self) -> tuple[str, ...]:
        """Name the methods that each round goes through all peers with."""
        return ("once",)

    def wants(self, workload: str) -> bool:
        return workload in self.chosen

    @contextmanager
    def mounted(self, peer: Peer) -> Iterator[tuple[Path, int]]:
        """Yield the view of a fresh mount, and the pid of who serves it (0: nobody)."""
        mountpoint = self.work / f"mnt-{peer.directory}"
        command = peer.mount_command(mountpoint)
        mount = measure.mounted(command, mountpoint, peer.env) if command else nullcontext(0)
        with mount as pid:
            yield peer.view(mountpoint), pid

    def drop_caches(self) -> None:
        """Have nothing cached, where that can be had."""
        if self.cold:
            measure.drop_caches()


def run(suite: Suite, peers: list[Peer], rounds: int, console: Console) -> None:
    """Fill the results: each round goes through all peers, each time in another order."""
    try:
        if shutil.disk_usage(suite.work).free < suite.disk_bytes:
            sys.exit(f"{suite.name} needs {suite.disk_bytes / 1e9:.0f} GB in {suite.work}")
        suite.prepare()
        rounds = min(rounds, suite.most_rounds)
        for number in range(rounds):
            shift = number % len(peers)
            for step in suite.passes():
                for peer in peers[shift:] + peers[:shift]:
                    where = f"{suite.name}, round {number + 1} of {rounds}: {peer.name}"
                    console.print(where if step == "once" else f"{where}: {step}", style="dim")
                    getattr(suite, step)(peer)
    finally:
        # Not shutil.rmtree, which holds an open descriptor for each level and is slower.
        subprocess.run(["rm", "-rf", "--one-file-system", suite.work], check=False)


def present(suite: type[Suite], work: Path, console: Console, only: Collection[str]) -> list[Peer]:
    """Return the suite's peers that are installed, of those that are asked for."""
    found = []
    for peer in (kind(work) for kind in suite.kinds):
        if only and peer.name not in only:
            continue
        if missing := peer.missing():
            console.print(f"{peer.name} is left out: there is no {missing} here")
        else:
            found.append(peer)
    return found
