"""A training loop in a container: epochs from a version, a writable hub, and a plain directory.

    python scripts/bench_training.py [--samples 100000] [--rounds 3]

Samples are files of 4 KiB, read in a random order by two loading processes; a network with one
hidden layer learns from them (numpy), which is about the least that anybody would train. Needs
podman. Epochs are medians of rounds, in turn; `--loading` reads alone, and learns nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import make_data
import measure
import numpy as np
from peers import Command, Vfs
from rich.console import Console
from rich.table import Table

from tests.support.podman import put_podman

EPOCHS = 3
LOADERS = 2
BATCH = 256
SAMPLE_BYTES = 4096
HIDDEN = 64
CLASSES = 10
AIM = 1.3
PLAIN = "directory"


def load(paths: list[str]) -> tuple[bytes, int]:
    """Return the bytes of a batch, and how many samples it has."""
    parts = []
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        parts.append(os.read(fd, SAMPLE_BYTES))
        os.close(fd)
    return b"".join(parts), len(paths)


class Network:
    """Two layers, trained by plain gradient descent."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.first = rng.normal(0, 0.01, (SAMPLE_BYTES, HIDDEN)).astype(np.float32)
        self.second = rng.normal(0, 0.01, (HIDDEN, CLASSES)).astype(np.float32)

    def learn(self, samples: np.ndarray) -> None:
        """Take one step; what is to be learned is the first byte, in ten classes."""
        inputs = samples.astype(np.float32) / 255
        wanted = np.eye(CLASSES, dtype=np.float32)[samples[:, 0] % CLASSES]
        hidden = np.maximum(inputs @ self.first, 0)
        scores = np.exp(hidden @ self.second)
        error = (scores / scores.sum(axis=1, keepdims=True) - wanted) / len(samples)
        back = (error @ self.second.T) * (hidden > 0)
        self.second -= hidden.T @ error
        self.first -= inputs.T @ back


def batches(order: list[str]) -> Iterator[list[str]]:
    """Yield the parts of an epoch."""
    for at in range(0, len(order), BATCH):
        yield order[at : at + BATCH]


def epochs(top: str, *, learns: bool) -> Iterator[float]:
    """Go through all samples again and again; yield the seconds that it took."""
    names = sorted(os.fspath(path) for path in Path(top).rglob("f*"))
    network = Network()
    with get_context("fork").Pool(LOADERS) as pool:
        for number in range(EPOCHS):
            order = random.Random(number).sample(names, len(names))
            begun = time.perf_counter()
            for data, count in pool.imap(load, batches(order)):
                if learns:
                    network.learn(np.frombuffer(data, np.uint8).reshape(count, SAMPLE_BYTES))
            yield time.perf_counter() - begun
        pool.close()
        pool.join()


class Bench:
    """A store and a directory with the same samples, and a container to train in."""

    def __init__(self, work: Path, samples: int, *, learns: bool) -> None:
        self.work = work
        self.samples = work / "samples"
        make_data.small_files(self.samples, samples, per_directory=1_000)
        self.peer = Vfs(work)
        self.peer.renew()
        measure.run_watched(self.peer.import_command("v1"), cwd=self.samples, env=self.peer.env)
        self.words = [] if learns else ["--loading"]
        programs = work / "bin"
        programs.mkdir()
        if why := put_podman(programs):
            sys.exit(why)
        self.podman = programs / "podman"

    def train(self, samples: Path) -> list[float]:
        """Return the seconds of each epoch, in a container with nothing cached at first."""
        if measure.can_drop_caches():
            measure.drop_caches()
        here = Path(__file__).resolve().parent
        volumes = [f"--volume={samples}:/data:ro", f"--volume={here.parent}:{here.parent}:ro"]
        environment = f"--env=PYTHONPATH={here.parent}:{here}"
        command: Command = [self.podman, "run", "--rm", "--network=none", *volumes, environment]
        command += ["scikit-learn", "python", __file__, "--learn", "/data", *self.words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return [float(line) for line in done.stdout.split()]

    def round(self) -> Iterator[tuple[str, list[float]]]:
        """Yield the epochs of each place that samples are read from."""
        yield PLAIN, self.train(self.samples)
        for name, words in (
            ("version", ("data@v1",)),
            ("hub, read-only", ("--read-only",)),
            ("hub, writable", ()),
        ):
            mountpoint = self.work / "mnt"
            command = [*self.peer.command, "mount", "--foreground", *words, mountpoint]
            with measure.mounted(command, mountpoint, self.peer.env):
                view = mountpoint if "data@v1" in words else mountpoint / "data@v1"
                yield name, self.train(view)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loading", action="store_true", help="read alone, learn nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="where to work")
    parser.add_argument("--learn", metavar="DIR", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.learn:
        for seconds in epochs(chosen.learn, learns=not chosen.loading):
            print(seconds, flush=True)
        return
    taken: dict[str, list[list[float]]] = defaultdict(list)
    with measure.workspace(chosen.work) as work:
        bench = Bench(work, chosen.samples, learns=not chosen.loading)
        for _ in range(chosen.rounds):
            for name, figures in bench.round():
                taken[name].append(figures)
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for name, rounds in taken.items()
    }
    if chosen.json:
        print(json.dumps({"machine": measure.machine(), "epochs": medians, "rounds": taken}))
        return
    table = Table(title=f"{chosen.samples:,} samples, seconds; aim of the second: {AIM}")
    for column in ("", *(f"epoch {number + 1}" for number in range(EPOCHS)), "second / plain"):
        table.add_column(column, justify="right")
    for name, figures in medians.items():
        ratio = figures[1] / medians[PLAIN][1]
        table.add_row(name, *(f"{seconds:.2f}" for seconds in figures), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
