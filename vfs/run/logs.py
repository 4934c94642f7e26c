"""What commands wrote: a file for each run in `<store>/log/runs`, the oldest removed in time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from blake3 import blake3

from vfs.errors import NotFound
from vfs.model.names import RUN_ID
from vfs.repo.revisions import near_misses

if TYPE_CHECKING:
    from vfs.model.commit import JSON

TAIL_BYTES: Final = 8 << 10
FILE_MAX_BYTES: Final = 64 << 20
FILES_KEPT: Final = 500


def logs_directory(store: Path) -> Path:
    """Return where the logs are; it need not be there."""
    return store / "log" / "runs"


def log_path(store: Path, run_id: str) -> Path:
    """Return the log of a run. Raises NotFound, with near misses."""
    path = logs_directory(store) / f"{run_id}.log"
    if not RUN_ID.fullmatch(run_id) or not path.is_file():
        raise NotFound(f"there is no log of a run '{run_id}'", hint=near_misses(run_id, ids(store)))
    return path


def ids(store: Path) -> list[str]:
    """Return the runs that have a log, the one that wrote last first."""
    found = []
    for path in logs_directory(store).glob("*.log"):
        if RUN_ID.fullmatch(path.stem):
            with suppress(FileNotFoundError):  # another run has removed it
                found.append((path.stat().st_mtime_ns, path.stem))
    return [run_id for _, run_id in sorted(found, reverse=True)]


class RunLog:
    """The log of a run that goes on. A context manager."""

    def __init__(self, store: Path, run_id: str) -> None:
        """Begin a log. Raises OSError."""
        directory = logs_directory(store)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in ids(store)[FILES_KEPT - 1 :]:
            (directory / f"{old}.log").unlink(missing_ok=True)
        self.path = directory / f"{run_id}.log"
        self._file = self.path.open("xb", buffering=0)
        os.fchmod(self._file.fileno(), 0o600)
        self._hash = blake3()
        self._bytes = 0
        self._tail = b""
        self._is_whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Add what the command wrote. A full disk does not end a run: the file stays shorter."""
        self._hash.update(data)
        self._bytes += len(data)
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        if self._is_whole:
            try:
                self._is_whole = self._bytes <= FILE_MAX_BYTES
                self._file.write(data)
            except OSError:
                self._is_whole = False

    def facts(self) -> dict[str, JSON]:
        """Return what is recorded: the end of it, and the hash of all."""
        return {
            "bytes": self._bytes,
            "blake3": self._hash.hexdigest(),
            "tail": self._tail.decode("utf-8", "replace"),
        }
