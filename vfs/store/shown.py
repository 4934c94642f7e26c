"""Which slots a mount has shown, so that their versions stay for whoever has files of them open.

A byte for each slot, in a sparse file that the mount's processes keep locked: the kernel drops the
lock with the last of them. The kernel keeps what it was told of a version for ever, and workers
remember nothing, so a slot that was shown counts until the mount ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from vfs.store.writers import LOCKS_DIR

log = logging.getLogger(__name__)

_SUFFIX: Final = ".shown"
_TRIES: Final = 20


class ShownSlots:
    """The slots that one mount has shown. To be opened before its workers are forked."""

    def __init__(self, store: Path, mount: str) -> None:
        """*mount*: a file name that no other mount of the store has."""
        self._path = store / LOCKS_DIR / f"{mount}{_SUFFIX}"
        self._fd = -1
        self._noted: set[int] = set()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def open(self) -> None:
        """Begin to keep what is shown. Where the store can't be written, nothing is kept."""
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            for _ in range(_TRIES):
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(self._path, flags, 0o600)
                fcntl.flock(fd, fcntl.LOCK_SH)
                if _is_at(fd, self._path):
                    self._fd = fd
                    return
                os.close(fd)  # somebody took it for a dead mount's, and removed it
        except OSError as error:
            log.warning("versions that are removed vanish from open files: %s", error.strerror)

    def close(self) -> None:
        """Remove the file, at the end of the mount."""
        if self._fd >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = -1

    def note(self, slot: int) -> None:
        """Note that a slot is about to be shown; whether it is there is to be asked after that."""
        if slot in self._noted or self._fd < 0:
            return
        try:
            os.pwrite(self._fd, b"\1", slot)
        except OSError as error:
            log.warning("slot %d can't be noted: %s", slot, error.strerror)
        self._noted.add(slot)


def shown_slots(store: Path) -> set[int]:
    """Return the slots that living mounts have shown; files of dead ones are removed."""
    return {slot for path in (store / LOCKS_DIR).glob(f"*{_SUFFIX}") for slot in _slots_in(path)}


def _slots_in(path: Path) -> Iterator[int]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            data = file.read()
            at = data.find(1)
            while at >= 0:
                yield at
                at = data.find(1, at + 1)
        else:
            path.unlink()


def _is_at(fd: int, path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
