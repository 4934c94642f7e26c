"""Random operations on one file, each checked against a shadow of it in memory.

As a script: `python -m tests.support.fsx FILE --ops 1000000 --seed 1`. A difference prints the
operations that led to it; the same seed makes the same operations.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self

PAGE = mmap.PAGESIZE
FILE_BYTES = 256 * 1024
STEP_BYTES = 64 * 1024
HISTORY = 60
CHECK_EVERY = 500  # operations between two comparisons of the whole file

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    *(ctypes.c_int,) * 3,
    ctypes.c_int64,
)
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
LIBC.msync.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
MS_SYNC, MAP_FAILED = 4, ctypes.c_void_p(-1).value

WEIGHTS = {
    "read": 20,
    "pwrite": 14,
    "write": 6,
    "append": 4,
    "pwritev": 3,
    "extend": 3,
    "truncate": 6,
    "map_read": 10,
    "map_write": 10,
    "copy": 4,
    "allocate": 1,
    "reopen": 3,
    "truncate_open": 0.3,
    "fsync": 0.5,
    "fdatasync": 0.5,
    "stat": 5,
}


class Mismatch(Exception):
    """The file is not what it should be."""


class Fsx:
    """A file and what it should hold."""

    def __init__(
        self, path: str | Path, seed: int, *, size: int = FILE_BYTES, shadow: bytes = b""
    ) -> None:
        """Begin with *shadow*, which must be the content of a file that exists already."""
        self.path, self.size = os.fspath(path), size
        self._random = random.Random(seed)
        self._noise = random.Random(0).randbytes(size + STEP_BYTES)
        self.shadow = bytearray(shadow)
        self.history: deque[str] = deque(maxlen=HISTORY)
        self.done = 0
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT)
        self._append_fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self._operations: list[Callable[[], str]] = [getattr(self, name) for name in WEIGHTS]

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._append_fd)

    def run(self, count: int) -> None:
        """Do so many operations. Raises Mismatch, with what was done before."""
        chosen = self._random.choices(self._operations, list(WEIGHTS.values()), k=min(count, 4096))
        doing = ""
        try:
            for number in range(count):
                step = chosen[number % len(chosen)]
                doing = step.__name__
                self.history.append(step())
                self.done += 1
                if number % CHECK_EVERY == 0:
                    self.check()
                if number % len(chosen) == 0:
                    self._random.shuffle(chosen)
            self.check()
        except (Mismatch, OSError) as exc:
            story = "\n".join(self.history)
            message = f"{self.path}: operation {self.done}, {doing}: {exc}, after\n{story}"
            raise Mismatch(message) from exc

    def check(self) -> None:
        """Compare all of the file."""
        self._compare(0, os.pread(self._fd, self.size * 2, 0))
        self.stat()

    # ------------------------------------------------------------------------------ operations

    def read(self) -> str:
        start, length = self._range()
        self._compare(start, os.pread(self._fd, length, start), length)
        return f"read {start} +{length}"

    def pwrite(self) -> str:
        start, length = self._range(grow=True)
        self._put(start, data := self._data(length), os.pwrite(self._fd, data, start))
        return f"pwrite {start} +{length}"

    def write(self) -> str:
        start, length = self._range(grow=True)
        os.lseek(self._fd, start, os.SEEK_SET)
        self._put(start, data := self._data(length), os.write(self._fd, data))
        return f"write {start} +{length}"

    def append(self) -> str:
        start = len(self.shadow)
        length = min(self._random.randrange(2000), self.size - start)
        self._put(start, data := self._data(length), os.write(self._append_fd, data))
        return f"append {start} +{length}"

    def pwritev(self) -> str:
        start, length = self._range(grow=True)
        data = self._data(length)
        third = length // 3
        pieces = [data[:third], data[third : 2 * third], data[2 * third :]]
        self._put(start, data, os.pwritev(self._fd, pieces, start))
        return f"pwritev {start} +{length}"

    def extend(self) -> str:
        """Write behind the end."""
        start = self._random.randint(len(self.shadow), self.size)
        length = min(self._random.randrange(5000), self.size - start)
        self._put(start, data := self._data(length), os.pwrite(self._fd, data, start))
        return f"extend {start} +{length}"

    def truncate(self) -> str:
        size = self._random.randrange(self.size)
        if self._random.random() < 0.5:
            os.ftruncate(self._fd, size)
        else:
            os.truncate(self.path, size)
        self._resize(size)
        return f"truncate {size}"

    def map_read(self) -> str:
        start, length = self._range()
        length = min(length, len(self.shadow) - start)
        if length <= 0:
            return "map_read nothing"
        with _Mapped(self._fd, start, length, mmap.PROT_READ) as mapped:
            self._compare(start, ctypes.string_at(mapped.address, length), length)
            tail = -(start + length) % PAGE
            if start + length == len(self.shadow) and tail:
                found = ctypes.string_at(mapped.address + length, tail)
                if any(found):
                    raise Mismatch(f"not zero between the end, {start + length}, and its page's")
        return f"map_read {start} +{length}"

    def map_write(self) -> str:
        start, length = self._range(grow=True)
        if length == 0:
            return "map_write nothing"
        if start + length > len(self.shadow):
            os.ftruncate(self._fd, start + length)
            self._resize(start + length)
        data = self._data(length)
        with _Mapped(self._fd, start, length, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
            ctypes.memmove(mapped.address, data, length)
            synced = self._random.random() < 0.1
            if synced:
                mapped.sync()
        self._put(start, data, length)
        return f"map_write {start} +{length}{' synced' if synced else ''}"

    def copy(self) -> str:
        source, length = self._range()
        target = self._random.randrange(self.size)
        length = min(length, self.size - target, max(len(self.shadow) - source, 0))
        if abs(source - target) < length or length == 0:
            return "copy nothing"
        done = 0
        while done < length:
            step = os.copy_file_range(
                self._fd, self._fd, length - done, source + done, target + done
            )
            if step == 0:
                raise Mismatch(f"copy_file_range {source} to {target}: {done} of {length}")
            done += step
        self._put(target, bytes(self.shadow[source : source + length]), length)
        return f"copy {source} to {target} +{length}"

    def allocate(self) -> str:
        start, length = self._range(grow=True)
        if length == 0:
            return "allocate nothing"
        os.posix_fallocate(self._fd, start, length)
        self._resize(max(len(self.shadow), start + length))
        return f"allocate {start} +{length}"

    def reopen(self) -> str:
        self.close()
        self._fd = os.open(self.path, os.O_RDWR)
        self._append_fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        return "reopen"

    def truncate_open(self) -> str:
        os.close(os.open(self.path, os.O_RDWR | os.O_TRUNC))
        self.shadow.clear()
        return "truncate_open"

    def fsync(self) -> str:
        os.fsync(self._fd)
        return "fsync"

    def fdatasync(self) -> str:
        os.fdatasync(self._fd)
        return "fdatasync"

    def stat(self) -> str:
        size = os.fstat(self._fd).st_size
        if size != len(self.shadow):
            raise Mismatch(f"the size is {size}, not {len(self.shadow)}")
        return f"stat {size}"

    # ----------------------------------------------------------------------------------- parts

    def _range(self, *, grow: bool = False) -> tuple[int, int]:
        """A start and a length; the start is in the file unless it may grow."""
        top = self.size if grow else max(len(self.shadow), 1)
        start = int(self._random.random() * top)
        shape = self._random.random()
        if shape < 0.15:
            start -= start % PAGE
        limit = STEP_BYTES if shape < 0.5 else 5000
        length = int(self._random.random() * limit)
        return start, min(length, self.size - start)

    def _data(self, length: int) -> bytes:
        at = int(self._random.random() * self.size)
        return self._noise[at : at + length]

    def _put(self, start: int, data: bytes, written: int) -> None:
        if written != len(data):
            raise Mismatch(f"{written} of {len(data)} bytes were written at {start}")
        if data:
            if start > len(self.shadow):
                self._resize(start)
            self.shadow[start : start + len(data)] = data

    def _resize(self, size: int) -> None:
        del self.shadow[size:]
        self.shadow.extend(bytes(size - len(self.shadow)))

    def _compare(self, start: int, found: bytes, length: int | None = None) -> None:
        end = None if length is None else start + length
        if found == memoryview(self.shadow)[start:end]:
            return
        wanted = bytes(self.shadow[start:end])
        pairs = enumerate(zip(found, wanted, strict=False))
        at = next((index for index, (one, other) in pairs if one != other), -1)
        raise Mismatch(
            f"read {len(found)} bytes at {start}, not {len(wanted)}"
            if at < 0
            else f"at {start + at}: {found[at : at + 16].hex()}, not {wanted[at : at + 16].hex()}"
        )


class _Mapped:
    """Bytes of a file in memory, and the rest of their last page."""

    def __init__(self, fd: int, start: int, length: int, protection: int) -> None:
        skipped = start % PAGE
        self._length = length + skipped
        base = LIBC.mmap(None, self._length, protection, mmap.MAP_SHARED, fd, start - skipped)
        if base == MAP_FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        self._base = base
        self.address = base + skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        LIBC.munmap(self._base, self._length)

    def sync(self) -> None:
        if LIBC.msync(self._base, self._length, MS_SYNC):
            raise OSError(ctypes.get_errno(), "msync")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--ops", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--size", type=int, default=FILE_BYTES, help="the largest size")
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    began = time.monotonic()
    shadow = wanted.file.read_bytes() if wanted.file.exists() else b""
    tester = Fsx(wanted.file, wanted.seed, size=wanted.size, shadow=shadow)
    try:
        tester.run(wanted.ops)
    except Mismatch as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        tester.close()
    seconds = time.monotonic() - began
    print(f"{wanted.ops} operations, no difference, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
