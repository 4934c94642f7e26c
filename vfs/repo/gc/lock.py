"""One process at a time that removes objects: a lock, which the kernel drops with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vfs.errors import Conflict, StoreError
from vfs.store.writers import LOCKS_DIR


@contextmanager
def collecting(store: Path) -> Iterator[None]:
    """Be the one process that removes objects of a store. Raises Conflict, which names the other.

    Whatever else moves or removes objects takes this lock, too.
    """
    path = store / LOCKS_DIR / "gc.lock"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}") from error
    with os.fdopen(fd, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            by = file.read().strip() or "?"
            raise Conflict(
                f"process {by} removes something from this store already", hint="wait for its end"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
