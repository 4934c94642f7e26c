"""Which daemons run for a store: one record per mount in `<store>/run`, locked while it lives.

The daemon holds an flock on its record, and so do the workers it forks; the kernel drops it when
the last of them has ended, however it ended. So a record that nobody locks is stale, and is removed
by whoever finds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vfs.errors import MountProblem

RUN_DIR: Final = "run"
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.02  # someone who only looks holds the lock for microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A running daemon."""

    pid: int
    mountpoint: str
    store: str
    target: str | None
    workers: int
    started_ns: int


def mount_id(mountpoint: str) -> str:
    """Return a file name for what belongs to a mount point: readable, and unique by its hash."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", mountpoint).strip("-.")[-40:]
    digest = hashlib.blake2b(os.fsencode(mountpoint), digest_size=4).hexdigest()
    return f"{readable}-{digest}"


def _record_path(store: Path, mountpoint: str) -> Path:
    return store / RUN_DIR / f"{mount_id(mountpoint)}.json"


@contextmanager
def registered(record: Record) -> Iterator[None]:
    """Hold the record of this daemon; it is gone afterwards.

    Raises MountProblem while another daemon, which may be about to end, has the mount point.
    """
    path = _record_path(Path(record.store), record.mountpoint)
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        fd = _acquire(path)
    except OSError as exc:
        raise MountProblem(
            f"can't write {path}: {exc.strerror}", hint="the store has to be writable"
        ) from exc
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(record), indent=1).encode() + b"\n", 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(fd)


def _acquire(path: Path) -> int:
    for attempt in range(_TRIES):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if _lock(fd):
            with suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == path.stat().st_ino:
                    return fd
            os.close(fd)  # its owner removed it between our open and our lock
            continue
        os.close(fd)
        if attempt + 1 < _TRIES:
            time.sleep(_PAUSE_SECONDS)
    holder = _parse(path)
    where, pid = (holder.mountpoint, str(holder.pid)) if holder else (str(path), "?")
    raise MountProblem(
        f"process {pid} still serves files of an earlier mount at {where}",
        hint=f"close them, or end it: kill {pid}",
    )


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def find(store: Path, mountpoint: str) -> Record | None:
    """Return the record of the living daemon of *mountpoint*, or None. Removes a stale one."""
    return _living(_record_path(store, mountpoint))


def _living(path: Path) -> Record | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not _lock(fd):
            return _parse(path)
        with suppress(OSError):
            if os.fstat(fd).st_ino == path.stat().st_ino:
                path.unlink()
        return None
    finally:
        os.close(fd)


def records(store: Path) -> list[Record]:
    """Return the living daemons of *store*. Removes stale records."""
    found = map(_living, sorted((store / RUN_DIR).glob("*.json")))
    return [record for record in found if record is not None]
