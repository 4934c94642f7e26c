"""Learning from samples: worker processes read files in a random order, epoch after epoch.

What PyTorch's DataLoader does to a file system, without PyTorch: each epoch has an order of its
own, cut into batches, which whichever worker is free reads.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Sequence

import make_data
import measure
from peers import BareReader, Borg, Directory, Peer, Restic, Squashfuse, Vfs, VfsWithBranches
from results import Aim
from suite import Suite

WORKERS = 4
BATCH = 64


def read_batch(paths: Sequence[str]) -> int:
    """Read some files whole; return how many bytes they have."""
    total = 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as a Dataset does
            total += len(file.read())
    return total


class LoadingSuite(Suite):
    """Two epochs over many samples."""

    name = "load"
    about = "random access to many samples by several processes, two epochs"
    workloads = ("load",)
    kinds = (Vfs, VfsWithBranches, BareReader, Directory, Squashfuse, Borg, Restic)
    most_rounds = 3
    aims = (Aim("second epoch", "ext4", 1.3),)

    @property
    def disk_bytes(self) -> int:
        return self.sizes.samples * 4096 * len(self.kinds)

    def prepare(self) -> None:
        make_data.small_files(self.source, self.sizes.samples, per_directory=1_000)
        files = sorted(self.source.rglob("f*"))
        self.names = [os.fspath(path.relative_to(self.source)) for path in files]

    def once(self, peer: Peer) -> None:
        if peer.imports and not peer.store.exists():
            peer.renew()
            measure.run_watched(peer.import_command(), cwd=self.source, env=peer.env)
        with self.mounted(peer) as (view, _):
            self.drop_caches()
            context = multiprocessing.get_context("fork")
            with context.Pool(WORKERS) as pool:
                for number, label in enumerate(("first epoch", "second epoch")):
                    order = random.Random(number).sample(self.names, len(self.names))
                    paths = [f"{view}/{name}" for name in order]
                    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]

                    def epoch(batches: Sequence[Sequence[str]] = batches) -> None:
                        for _ in pool.imap_unordered(read_batch, batches):
                            pass

                    self.results.add(peer.name, label, measure.clock(epoch))
                # In order: workers have this program's handlers, which hold what a signal finds.
                pool.close()
                pool.join()
