"""Which daemons run for a store: one record per mount in `<store>/run`, locked while it lives.

Of a store that can't be written they are elsewhere: see `vfs.daemon.private`.

The daemon holds an flock on its record, and so do the workers it forks; the kernel drops it when
the last of them has ended, however it ended. So a record that nobody locks is stale, and is removed
by whoever looks for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vfs.daemon import lockfile, private
from vfs.errors import MountProblem

RUN_DIR: Final = "run"
ENDING_SECONDS: Final = 30.0
"""As long is waited for the children of a daemon that was killed."""

_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A running daemon."""

    pid: int
    mountpoint: str
    store: str
    target: str | None
    workers: int
    started_ns: int
    writable: bool = False


def mount_id(mountpoint: str) -> str:
    """Return a file name for what belongs to a mount point: readable, and unique by its hash."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", mountpoint).strip("-.")[-40:]
    digest = hashlib.blake2b(os.fsencode(mountpoint), digest_size=4).hexdigest()
    return f"{readable}-{digest}"


@contextmanager
def registered(record: Record) -> Iterator[None]:
    """Hold the record of this daemon; it is gone afterwards.

    Raises MountProblem while another daemon, which may be about to end, has the mount point.
    """
    refusal: OSError | None = None
    for place in private.places(Path(record.store), make=True):
        with ExitStack() as undo:
            try:
                _write(record, place / RUN_DIR, undo)
            except OSError as exc:
                refusal = refusal or exc
                if exc.errno not in private.NOT_WRITABLE:
                    break
                continue
            yield
            return
    assert refusal is not None
    raise MountProblem(
        f"can't write {Path(record.store, RUN_DIR)}: {refusal.strerror}",
        hint="the store has to be writable, or the user's runtime or temporary directory",
    ) from refusal


def _write(record: Record, run: Path, undo: ExitStack) -> None:
    name = _file_name(record.mountpoint)
    directory = undo.enter_context(private.opened(run, make=True))
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        fd, found = lockfile.hold(directory, name, _PAUSE_SECONDS)
        if fd != -1:
            break
        holder = _record(found)
        if holder is not None and not _is_alive(holder.pid) and time.monotonic() < deadline:
            continue  # its children still store what was written
        where, pid = (holder.mountpoint, str(holder.pid)) if holder else (name, "?")
        raise MountProblem(
            f"process {pid} still serves files of an earlier mount at {where}",
            hint=f"close them, or end it: kill {pid}",
        )
    undo.callback(os.close, fd)
    undo.callback(lockfile.unlink, directory, name)
    lockfile.write(fd, asdict(record))


def find(store: Path, mountpoint: str) -> Record | None:
    """Return the record of the living daemon of *mountpoint*, or None. Removes a stale one.

    *store* may be no store: whoever mounts can name anything as the source. So only a record of
    this mount point is ever removed, and no symlink is followed to it.
    """
    for place in private.places(store):
        with suppress(OSError), private.opened(place / RUN_DIR) as directory:
            record = _living(directory, mountpoint)
            if record is not None:
                return record
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _living(directory: int, mountpoint: str) -> Record | None:
    name = _file_name(mountpoint)
    fd = lockfile.look(directory, name)
    try:
        stale = lockfile.lock(fd)
        record = _record(lockfile.read(fd))
        if record is None or record.mountpoint != mountpoint:
            return None
        if not stale:
            return record
        if lockfile.is_at(fd, directory, name):
            lockfile.unlink(directory, name)
        return None
    finally:
        os.close(fd)


def _file_name(mountpoint: str) -> str:
    return f"{mount_id(mountpoint)}.json"


def _record(facts: dict[str, Any]) -> Record | None:
    try:
        record = Record(**facts)
    except TypeError:
        return None
    pid: object = record.pid  # whatever the file says
    return record if isinstance(pid, int) and pid > 0 else None
