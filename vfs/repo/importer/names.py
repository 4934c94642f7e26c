"""The names of one directory, sorted as bytes, in bounded memory. Knows no store and no entries."""

from __future__ import annotations

import errno
import heapq
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from vfs.errors import StoreError, StoreFull
from vfs.repo.importer.inode import SOURCE

REGULAR: Final = b"\0f"
DIRECTORY: Final = b"\0d"
OTHER: Final = b"\0o"
KIND_BYTES: Final = 2
"""A key is a name and its kind. A name holds no NUL, so keys sort as their names do."""

NAMES_IN_MEMORY: Final = 500_000
"""Over all directories that are being walked; about 40 MB."""
RUN_MIN_NAMES: Final = 1 << 16

_BLOCK_BYTES: Final = 16 * 1024
_END: Final = b"/"  # no name holds it
_ENCODING: Final = sys.getfilesystemencoding()
_ERRORS: Final = sys.getfilesystemencodeerrors()


class NameBudget:
    """How many names may still be held in memory."""

    def __init__(self, names: int = NAMES_IN_MEMORY, run_min: int = RUN_MIN_NAMES) -> None:
        self.free = names
        self.run_min = run_min


class Names:
    """The sorted keys of a directory; iterate once, then `close`."""

    def __init__(self, directory: int, budget: NameBudget, spill_dir: Path) -> None:
        """Read the whole directory that the descriptor *directory* has open.

        Raises Unreadable; StoreFull or StoreError when what does not fit into memory can't be kept.
        """
        self._budget = budget
        self._spill_dir = spill_dir
        self._held: list[bytes] = []
        self._reserved = 0
        self._spill: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []
        self.count = 0
        try:
            self._read(directory)
        except BaseException:
            self.close()
            raise

    def _read(self, directory: int) -> None:
        limit = max(self._budget.free, self._budget.run_min)
        held: list[bytes] = []
        with SOURCE, os.scandir(directory) as listing:
            for item in listing:
                if item.is_file(follow_symlinks=False):
                    kind = REGULAR
                elif item.is_dir(follow_symlinks=False):
                    kind = DIRECTORY
                else:
                    kind = OTHER
                held.append(item.name.encode(_ENCODING, _ERRORS) + kind)
                if len(held) >= limit:
                    self._write_run(held)
                    held = []
        self.count += len(held)
        held.sort()
        self._held = held
        self._reserved = len(held)
        self._budget.free -= self._reserved

    def _write_run(self, held: list[bytes]) -> None:
        self.count += len(held)
        held.sort()
        with _spilling(self._spill_dir):
            if self._spill is None:
                self._spill = tempfile.TemporaryFile(dir=self._spill_dir)  # noqa: SIM115 - close()
            start = self._spill.tell()
            for at in range(0, len(held), 4096):
                self._spill.write(_END.join(held[at : at + 4096]) + _END)
            self._spill.flush()
            self._runs.append((start, self._spill.tell()))

    def __iter__(self) -> Iterator[bytes]:
        if self._spill is None:
            return iter(self._held)
        runs = [self._read_run(self._spill.fileno(), *run) for run in self._runs]
        return heapq.merge(*runs, self._held)

    def _read_run(self, fd: int, start: int, end: int) -> Iterator[bytes]:
        rest = b""
        while start < end:
            with _spilling(self._spill_dir):
                block = rest + os.pread(fd, min(_BLOCK_BYTES, end - start), start)
            start += len(block) - len(rest)
            *keys, rest = block.split(_END)
            yield from keys

    def close(self) -> None:
        """Give the memory and the file back."""
        self._held = []
        self._budget.free += self._reserved
        self._reserved = 0
        if self._spill is not None:
            self._spill.close()
            self._spill = None


@contextmanager
def _spilling(spill_dir: Path) -> Iterator[None]:
    """Around calls on the spill file, which is the store's and not the source's."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                f"the disk that holds {spill_dir} is full",
                hint="make room there; what was confirmed is kept",
            ) from error
        raise StoreError(f"{spill_dir} can't be used: {error.strerror}") from error
