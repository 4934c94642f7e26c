"""Who writes to a store now, so that nothing is removed that somebody is about to refer to.

A writer finds an object in the index, does not store it again, and makes something refer to it
later. Between the two nothing leads to the object. So a collection of garbage first **condemns**
what it would remove, by a mark in the index that makes whoever comes now store it again, begins a
new **generation**, and waits for all writers of the older ones. What these have made refer to
something condemned is found by then, and pardoned; after that nobody can come to rely on it.

A writer holds a shared flock on the file of its generation. The kernel drops it with the process,
so there is nothing to clean up after one that was killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from vfs.errors import StoreError, StoreFull
from vfs.store.layout import key_number, number_key

if TYPE_CHECKING:
    from vfs.store.environment import Environment, Txn

LOCKS_DIR: Final = "locks"
_KEY: Final = b"generation"  # in the table `meta`
_PREFIX: Final = "writers-"


class State(NamedTuple):
    """How far the store is with what is to be removed."""

    generation: int
    has_condemned: bool  # there may be objects that are condemned


class Writers:
    """The writers of one store. Thread-safe."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._directory = env.path / LOCKS_DIR

    def announce(self) -> IO[bytes]:
        """Be a writer of this generation until what is returned is closed.

        To be called before anything is looked up that is to be referred to. Raises StoreFull,
        StoreError.
        """
        while True:
            generation = self.state().generation
            file = self._open(generation)
            fcntl.flock(file, fcntl.LOCK_SH)
            # A new one may have begun since, whose collection saw no writer here.
            if self.state().generation == generation:
                return file
            file.close()

    def _open(self, generation: int) -> IO[bytes]:
        path = self._directory / f"{_PREFIX}{generation}"
        try:
            with suppress(FileExistsError):
                self._directory.mkdir(mode=0o700)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"the disk of {self._env.path} is full") from error
            raise StoreError(f"{path} can't be written: {error.strerror}") from error
        return os.fdopen(fd, "r+b", buffering=0)

    def state(self) -> State:
        """Return the store's state."""
        with self._env.read() as txn:
            return self.state_in(txn)

    def state_in(self, txn: Txn) -> State:
        """Return the store's state as *txn* sees it."""
        value = txn.get(_KEY, db=self._env.tables["meta"])
        return (
            State(0, False)
            if value is None
            else State(key_number(value[:8]), bytes(value[8:]) == b"1")
        )

    def put_state(self, txn: Txn, state: State) -> None:
        """Set the store's state as part of *txn*."""
        value = number_key(state.generation) + (b"1" if state.has_condemned else b"0")
        txn.put(_KEY, value, db=self._env.tables["meta"])

    def begin_generation(self) -> None:
        """Have those who announce themselves from now on be of a new generation."""

        def change(txn: Txn) -> None:
            state = self.state_in(txn)
            self.put_state(txn, state._replace(generation=state.generation + 1))

        self._env.write(change)

    def await_older(self, on_wait: Callable[[], None]) -> None:
        """Return when no writer of an older generation is left; *on_wait* is called if one is."""
        for path, generation in self._files():
            if generation >= self.state().generation:
                continue
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    on_wait()
                    fcntl.flock(file, fcntl.LOCK_EX)
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, int]]:
        for path in sorted(self._directory.glob(f"{_PREFIX}*")):
            with suppress(ValueError):
                yield path, int(path.name.removeprefix(_PREFIX))
