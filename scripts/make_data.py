"""Data of known shapes, the same on every machine, for the demo and the benches."""

from __future__ import annotations

import argparse
import os
import random
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

MIB = 1024 * 1024
EPOCH_NS = 1_700_000_000 * 10**9  # fixed, so that two runs make the same metadata too

# Bytes drawn from 23 letters carry about 4.5 bits each: 4 KiB of them compress to about 2.3 KiB.
TEXT = bytes(b"abcdefghijklmnopqrstuvw"[byte * 23 // 256] for byte in range(256))


def write(path: Path, data: bytes) -> None:
    """Write a file with a fixed time."""
    path.write_bytes(data)
    os.utime(path, ns=(EPOCH_NS, EPOCH_NS))


def small_files(root: Path, count: int, *, size: int = 4096, per_directory: int = 100) -> None:
    """Make *count* files of *size* bytes that compress to a bit more than half of it.

    Two calls make the same, times of directories included, as a copy would.
    """
    rng = random.Random(1)
    for start in range(0, count, per_directory):
        directory = root / f"d{start // per_directory:04}"
        directory.mkdir(parents=True)
        for number in range(start, min(count, start + per_directory)):
            write(directory / f"f{number:07}", rng.randbytes(size).translate(TEXT))
        os.utime(directory, ns=(EPOCH_NS, EPOCH_NS))


def archive(path: Path, names: Iterable[str]) -> None:
    """Make a tar archive of files with these names, each with a few bytes of its own."""
    member = tarfile.TarInfo()
    member.mtime = EPOCH_NS // 10**9
    with path.open("wb") as file:
        for number, name in enumerate(names):
            body = b"%d\n" % (number * 7919)
            member.name, member.size = name, len(body)
            file.write(member.tobuf(tarfile.USTAR_FORMAT) + body.ljust(512, b"\0"))
        file.write(bytes(1024))


def large_file(path: Path, mebibytes: int, *, seed: int = 2) -> None:
    """Make a file of which every other MiB is random and the rest compresses to about 57 %."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        for number in range(mebibytes):
            block = rng.randbytes(MIB)
            file.write(block.translate(TEXT) if number % 2 else block)
    os.utime(path, ns=(EPOCH_NS, EPOCH_NS))


def csv_lines(count: int, seed: int) -> Iterator[bytes]:
    """Yield *count* rows as measurements look: a time, a name, some numbers."""
    rng = random.Random(seed)
    for number in range(count):
        yield (
            f"{1_700_000_000 + number},sensor-{rng.randrange(500):03},"
            f"{rng.gauss(20, 5):.3f},{rng.gauss(1013, 8):.2f},{rng.random():.6f},ok\n"
        ).encode()


def release(root: Path, number: int, *, files: int = 600) -> None:
    """Make release *number* (1, 2, ...) of a made-up data set shaped like tzdata.

    About 600 small binary files in some 20 directories, of which each release changes a tenth,
    adds two and takes one away.
    """
    rng = random.Random(3)
    for index in range(files + 2 * number):
        directory = root / f"region-{index % 20:02}"
        directory.mkdir(parents=True, exist_ok=True)
        body = rng.randbytes(rng.randrange(100, 2000)).translate(TEXT)
        if index < number:
            continue
        changes = sum(index % 10 == step % 10 for step in range(1, number))
        (directory / f"place-{index:03}").write_bytes(b"TZif2" + body + b"%d" % changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=["small", "large", "csv", "release"])
    parser.add_argument("path", type=Path)
    parser.add_argument("number", type=int, help="files, MiB, rows, or the release")
    chosen = parser.parse_args()
    if chosen.shape == "small":
        small_files(chosen.path, chosen.number)
    elif chosen.shape == "large":
        large_file(chosen.path, chosen.number)
    elif chosen.shape == "csv":
        with chosen.path.open("wb") as file:
            file.writelines(csv_lines(chosen.number, seed=4))
    else:
        release(chosen.path, chosen.number)


if __name__ == "__main__":
    main()
