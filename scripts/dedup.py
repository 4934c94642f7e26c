"""What versions of real data take: releases of packages, a table that grows in the middle."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import make_data
import measure
from peers import Borg, Bup, Peer, Restic, Vfs
from results import BYTES, Aim
from suite import Suite

RELEASES = {
    "tzdata": ("2023.3", "2024.1", "2025.1", "2025.2"),
    "certifi": ("2023.7.22", "2024.2.2", "2024.8.30", "2025.1.31"),
    "botocore": ("1.34.0", "1.34.20", "1.34.40", "1.34.60"),
}
VERSIONS = 4
INSERTED_ROWS = 1_000


def fetch(package: str, release: str, target: Path) -> bool:
    """Unpack a release from the package index; False where it can't be had."""
    with tempfile.TemporaryDirectory(dir=target.parent) as wheels:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
        options = ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--timeout", "20"]
        words = [*command, *options, "-d", wheels, f"{package}=={release}"]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            return False
        for wheel in Path(wheels).iterdir():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    return True


def tables(rows: int) -> Iterator[list[bytes]]:
    """Yield versions of a table, each with rows inserted in the middle of the one before."""
    lines = list(make_data.csv_lines(rows, seed=4))
    for version in range(VERSIONS):
        yield lines
        middle = len(lines) // 2
        lines[middle:middle] = make_data.csv_lines(INSERTED_ROWS, seed=100 + version)


def write_parquet(lines: list[bytes], path: Path) -> None:
    """Write a table's lines as Parquet, in pages and row groups as pyarrow makes them."""
    from io import BytesIO  # noqa: PLC0415 - where pyarrow is not installed, there is no Parquet

    from pyarrow import csv, parquet  # noqa: PLC0415

    read = csv.read_csv(
        BytesIO(b"".join(lines)), read_options=csv.ReadOptions(autogenerate_column_names=True)
    )
    parquet.write_table(read, path)


class DedupSuite(Suite):
    """All versions imported one after the other, and what the store takes then."""

    name = "dedup"
    about = "stored bytes of several versions of real packages, CSV and Parquet"
    workloads = ("packages", "csv", "parquet")
    kinds = (Vfs, Borg, Restic, Bup)
    most_rounds = 1
    aims = tuple(
        Aim(f"stored, {what}", peer, 1.0)
        for what in ("packages", "csv", "parquet")
        for peer in ("borg", "restic", "bup")
    )

    @property
    def disk_bytes(self) -> int:
        return self.sizes.rows * 100 * VERSIONS * 4 + 3 * 10**9

    def prepare(self) -> None:
        """Make `source/KIND/NUMBER` for all versions."""
        if self.wants("packages"):
            self.prepare_packages()
        if not self.wants("csv") and not self.wants("parquet"):
            return
        parquet = self.wants("parquet") and importlib.util.find_spec("pyarrow") is not None
        for number, lines in enumerate(tables(self.sizes.rows)):
            if self.wants("csv"):
                self.place("csv", number).joinpath("table.csv").write_bytes(b"".join(lines))
            if parquet:
                write_parquet(lines, self.place("parquet", number) / "table.parquet")

    def prepare_packages(self) -> None:
        for package, releases in RELEASES.items():
            for number, release in enumerate(releases):
                target = self.place("packages", number) / package
                if not fetch(package, release, target):
                    sys.exit(
                        f"{package} {release} can't be downloaded; without the network: --only csv"
                    )

    def place(self, kind: str, number: int) -> Path:
        path = self.source / kind / str(number)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def once(self, peer: Peer) -> None:
        for kind in sorted(self.source.iterdir()):
            peer.renew()
            # Each version at the same place, as a working copy is.
            current = self.work / "current"
            seconds, plain = 0.0, 0
            for version in sorted(kind.iterdir()):
                shutil.rmtree(current, ignore_errors=True)
                shutil.copytree(version, current)
                plain += measure.disk_bytes(current)
                seconds += measure.run_watched(
                    peer.import_command(f"v{version.name}"), cwd=current, env=peer.env
                )[0]
            stored = measure.disk_bytes(peer.store)
            self.results.add(peer.name, f"stored, {kind.name}", stored, BYTES)
            self.results.add(peer.name, f"imported, {kind.name}", seconds)
            if isinstance(peer, Vfs):
                self.results.add("plain copies", f"stored, {kind.name}", plain, BYTES)
