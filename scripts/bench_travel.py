"""What push and clone make of a bucket's own speed, beside raw transfers to it in the same run.

    python scripts/bench_travel.py [--url s3://BUCKET/PREFIX --endpoint URL] [--mib 1024]

Without --url, the bucket is a directory in --dir. A bucket of an object store is left as it was.
Each transfer is a process of its own; its requests and the peak of its anonymous memory are told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import make_data
import measure
from measure import MIB
from rich.console import Console
from rich.table import Table

from vfs.remote.bucket import Bucket, Item
from vfs.remote.parallel import Workers
from vfs.remote.remote import Remote
from vfs.remote.urls import open_bucket
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

RAW_BYTES = 32 * MIB
RATE_AIM, MEMORY_AIM_MIB = 0.7, 300


class Counting:
    """A bucket that counts what it is asked for."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.calls: Counter[str] = Counter()

    def get(self, name: str, *, most: int) -> bytes:
        self.calls["get"] += 1
        return self._bucket.get(name, most=most)

    def get_range(self, name: str, start: int, length: int) -> bytes | memoryview:
        self.calls["get"] += 1
        return self._bucket.get_range(name, start, length)

    def put(self, name: str, data: bytes) -> bool:
        self.calls["put"] += 1
        return self._bucket.put(name, data)

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        self.calls["list"] += 1
        return self._bucket.items(directory, after)

    def directories(self, directory: str) -> list[str]:
        self.calls["list"] += 1
        return self._bucket.directories(directory)

    def delete(self, name: str) -> None:
        self.calls["delete"] += 1
        self._bucket.delete(name)

    def sweep(self, before_ns: int) -> None:
        self._bucket.sweep(before_ns)

    def close(self) -> None:
        self._bucket.close()


# what a child process does


def raw_put(bucket: Bucket, _store: Path, count: int) -> None:
    """Write objects as large as packs, eight at a time."""
    body = random.Random(3).randbytes(RAW_BYTES)
    with Workers() as workers:
        for _ in workers.in_order(lambda at: bucket.put(f"raw/{at}", body), range(count)):
            pass


def raw_get(bucket: Bucket, _store: Path, count: int) -> None:
    """Read them again."""
    with Workers() as workers:
        for _ in workers.in_order(
            lambda at: len(bucket.get(f"raw/{at}", most=RAW_BYTES)), range(count)
        ):
            pass


def raw_get_written(bucket: Bucket, store: Path, count: int) -> None:
    """Read them again and write them to a file, synced as often as a store is: what a clone does.

    The bytes are neither verified nor indexed, so no clone is faster.
    """
    with Workers() as workers, tempfile.TemporaryFile(dir=store) as file:
        for data in workers.in_order(
            lambda at: bucket.get(f"raw/{at}", most=RAW_BYTES), range(count)
        ):
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())


def push_all(bucket: Bucket, store: Path, _count: int) -> None:
    """Send all that a store has."""
    with Repository.open(store) as repo, Remote.connect(bucket, store=store, make=True) as remote:
        push(repo, remote, "", repo.all_refs())  # each round to a place of its own


def clone(bucket: Bucket, store: Path, _count: int) -> None:
    """Make a store of all that a remote has."""
    with Repository.create(store) as repo, Remote.connect(bucket, store=store) as remote:
        pull(repo, remote, "origin", [Wanted(name) for name in remote.refs.data_sets()])


ACTIONS: dict[str, Callable[[Bucket, Path, int], None]] = {
    "raw put": raw_put,
    "raw get": raw_get,
    "raw get, written": raw_get_written,
    "push": push_all,
    "clone": clone,
}


def run_child(options: argparse.Namespace) -> None:
    """Do one action; print its seconds, processor seconds and requests."""
    bucket = Counting(open_bucket(options.url, options.endpoint))
    begun, busy = time.perf_counter(), time.process_time()
    ACTIONS[options.child](bucket, options.dir, options.mib * MIB // RAW_BYTES)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    print(json.dumps({"seconds": seconds, "cpu": busy, "requests": bucket.calls}))


# the bench


class Bench:
    """One bucket, one store with content, and what was measured."""

    def __init__(self, endpoint: str | None, mib: int) -> None:
        self._endpoint, self._mib = endpoint, mib
        self.figures: dict[str, dict[str, Any]] = {}

    def take(self, action: str, url: str, store: Path) -> None:
        """Run an action in a process of its own; keep the fastest of its runs."""
        command = [sys.executable, __file__, "--child", action, "--dir", str(store), "--url", url]
        command += ["--mib", str(self._mib)]
        command += ["--endpoint", self._endpoint] if self._endpoint else []
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
            measure.watching(lambda: measure.rss_anon(process.pid)) as peak,
        ):
            output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{action} failed")
        figures = {**json.loads(output), "peak": peak.bytes}
        known = self.figures.get(action)
        if known is None or figures["seconds"] < known["seconds"]:
            self.figures[action] = figures

    def table(self, title: str, content_bytes: int) -> Table:
        """Show rates of content, and each as a part of the bucket's own."""
        shown = Table(title=title)
        for heading in ("", "seconds", "CPU", "MB/s", "of raw", "requests", "RssAnon"):
            shown.add_column(heading, justify="right" if heading else "left")
        raw_bytes = self._mib * MIB // RAW_BYTES * RAW_BYTES
        rates = {
            action: (raw_bytes if action.startswith("raw") else content_bytes) / figures["seconds"]
            for action, figures in self.figures.items()
        }
        for action, figures in self.figures.items():
            part = verdict = ""
            if not action.startswith("raw"):
                ratio = rates[action] / rates["raw put" if action == "push" else "raw get"]
                met = ratio >= RATE_AIM and figures["peak"] <= MEMORY_AIM_MIB * MIB
                verdict = " [green]met" if met else " [red]missed"
                part = f"{ratio:.2f}"
                if action == "clone":
                    part += f" ({rates[action] / rates['raw get, written']:.2f} of written)"
            requests = ", ".join(f"{count} {name}" for name, count in figures["requests"].items())
            shown.add_row(
                action,
                f"{figures['seconds']:.2f}",
                f"{figures['cpu']:.2f}",
                f"{rates[action] / 1e6:.0f}",
                part + verdict,
                requests,
                f"{figures['peak'] / MIB:.0f} MiB",
            )
        return shown


def fill(store: Path, source: Path, mib: int, kind: str) -> int:
    """Import files of 64 MiB, random ones or half of it; return their bytes."""
    source.mkdir()
    rng = random.Random(1)
    for number in range(mib // 64):
        if kind == "random":
            with (source / f"{number:03}").open("wb") as file:
                for _ in range(64):
                    file.write(rng.randbytes(MIB))
        else:
            make_data.large_file(source / f"{number:03}", 64, seed=number)
    vfs = [sys.executable, "-m", "vfs", "--store", str(store)]
    for command in (
        ["init"],
        ["create", "data"],
        ["import", str(source), "data", "-m", "made"],
    ):
        subprocess.run([*vfs, *command], check=True, stdout=subprocess.DEVNULL)
    return mib // 64 * 64 * MIB


def remove(url: str, endpoint: str | None) -> None:
    """Remove all below *url* from a bucket of an object store."""
    import obstore  # noqa: PLC0415 - an extra
    from obstore.store import from_url  # noqa: PLC0415

    options: dict[str, Any] = {"client_options": {"allow_http": True}}
    options |= {"endpoint": endpoint} if endpoint else {}
    place = from_url(url, **options)
    for page in obstore.list(place):
        obstore.delete(place, [item["path"] for item in page])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="a bucket; a prefix of its own is made in it")
    parser.add_argument("--endpoint")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=1, help="the fastest counts")
    parser.add_argument("--data", choices=["random", "half"], default="random")
    parser.add_argument("--child", choices=ACTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options)
        return
    console = Console()
    with measure.workspace(options.dir) as work:
        content_bytes = fill(work / "store", work / "source", options.mib, options.data)
        bench = Bench(options.endpoint, options.mib)
        for number in range(options.rounds):
            base = options.url or f"file://{work}/bucket"
            url = f"{base.rstrip('/')}/bench-{secrets.token_hex(4)}"
            try:
                bench.take("raw put", url, work)
                bench.take("raw get", url, work)
                bench.take("raw get, written", url, work)
                bench.take("push", url, work / "store")
                bench.take("clone", url, work / f"clone{number}")
            finally:
                if options.url:
                    remove(url, options.endpoint)
        title = f"{content_bytes // MIB} MiB, {options.data}; {options.url or 'a directory'}"
        console.print(bench.table(title, content_bytes))
        console.print(f"load {measure.load()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
