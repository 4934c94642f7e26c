"""What it costs to collect garbage: many small chunks, of which nothing leads to two thirds.

    python scripts/gc_costs.py DIRECTORY [CHUNKS]

Makes a store in DIRECTORY (which must be on the disk that is to be measured), collects, and says
time, memory and what became free.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from vfs.ids import ObjectId
from vfs.model.entry import Entry, Totals, directory_entry
from vfs.repo.blobs import BlobBuilder
from vfs.repo.gc import Collection, collect
from vfs.repo.repository import Repository
from vfs.repo.trees import TreeBuilder
from vfs.store.ingest import Ingest

CHUNK_BYTES = 200
CHUNKS_A_FILE = 50
MODE = 0o100644


def memory() -> dict[str, int]:
    """Return this process's memory in bytes, by /proc's names."""
    lines = Path("/proc/self/status").read_text().splitlines()
    rows = (line.split() for line in lines if line.startswith(("RssAnon", "VmHWM")))
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def fill(repo: Repository, chunks: int) -> None:
    """Import made-up files into two data sets, side by side: of three files one is to stay."""
    noise = random.Random(1)
    with repo.store.ingest() as ingest:
        trees = {name: TreeBuilder(ingest) for name in ("kept", "gone")}
        for number in range(chunks // CHUNKS_A_FILE):
            tree = trees["gone" if number % 3 else "kept"]
            bodies = [noise.randbytes(CHUNK_BYTES) for _ in range(CHUNKS_A_FILE)]
            blob = BlobBuilder(ingest)
            for oid in ingest.add_chunks(bodies, [len(bodies)]):
                blob.add(oid, CHUNK_BYTES)
            file = blob.finish()
            name, size = b"%08d" % number, CHUNK_BYTES * CHUNKS_A_FILE
            tree.add(Entry(name, MODE, 0, 0, number, size, file.content, file.flags, b""))
        for data_set, tree in trees.items():
            repo.create_data_set(data_set)
            commit(repo, ingest, data_set, *tree.finish())
    repo.delete_ref("gone", "main", kind="branch")


def commit(repo: Repository, ingest: Ingest, data_set: str, tree: ObjectId, totals: Totals) -> None:
    """Make a version of a tree."""
    root = directory_entry(b"", tree, totals, uid=0, gid=0, mtime_ns=0)
    repo.commit_root(data_set, "main", lambda _: root, ingest=ingest, message="made", author="a")


def main() -> None:
    """Make, collect, tell."""
    path = Path(sys.argv[1])
    chunks = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    if not path.exists():
        with Repository.create(path) as repo:
            fill(repo, chunks)
        print(f"made: {chunks:,} chunks")
    peak = 0
    with Repository.open(path) as repo:
        stages: dict[str, float] = {}
        begun = last = time.monotonic()
        stage_now = "start"

        def on_stage(stage: object) -> None:
            nonlocal peak, last, stage_now
            peak = max(peak, memory()["RssAnon"])
            now = time.monotonic()
            stages[stage_now] = stages.get(stage_now, 0) + now - last
            last, stage_now = now, getattr(stage, "name", "")

        report = collect(repo.store, Collection(keep_s=0), on_stage)
        took = time.monotonic() - begun
        stages[stage_now] = time.monotonic() - last
        cpu = time.process_time()
    print(f"{report.objects:,} objects removed, {report.kept_objects:,} stay, in {took:.1f} s")
    print(f"CPU of the process: {cpu:.1f} s; RssAnon {peak / 2**20:.0f} MiB at the most")
    print(f"{report.freed_bytes / 2**20:.0f} MiB free, {report.blocks_rewritten} blocks rewritten")
    for name, duration in stages.items():
        print(f"  {name}: {duration:.1f} s")


if __name__ == "__main__":
    main()
