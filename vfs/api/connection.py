"""One open store for each path in a process, shared by threads and given up before a fork.

LMDB wants an environment to be opened once by a process and never to be used behind a fork, where
data loaders' workers are. So what is open and not at work is closed before a fork; whoever reads
next, in either process, opens it again (0.5 ms).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vfs.errors import StoreError
from vfs.repo.repository import Repository
from vfs.store.store import Store

_FORK_WAIT_SECONDS: Final = 1.0


class Connection:
    """The open store at one path. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Condition()
        self._at_work = 0
        self._store: Store | None = None
        self._lost = False  # behind a fork that it was open at
        self._own = threading.local()

    @contextmanager
    def repository(self) -> Iterator[Repository]:
        """Give this thread's repository; meanwhile the store stays open. Raises StoreError."""
        with self._lock:
            store = self._opened()
            self._at_work += 1
        try:
            repo = getattr(self._own, "repo", None)
            if repo is None or repo.store is not store:
                repo = self._own.repo = Repository(store)
            yield repo
        finally:
            with self._lock:
                self._at_work -= 1
                self._lock.notify_all()

    def _opened(self) -> Store:
        if self._lost:
            raise StoreError(
                f"the store {self.path} was at work when this process was forked",
                hint="fork before a commit is begun, or start the process with 'spawn'",
            )
        if self._store is None:
            writable = os.access(self.path / "data.mdb", os.W_OK)
            self._store = Store.open(self.path, readonly=not writable)
        return self._store

    def close(self) -> None:
        """Close the store unless another thread is using it. It is opened again when it is used."""
        with self._lock:
            if self._store is not None and not self._at_work:
                self._store.close()
                self._store = None

    # around a fork

    def before_fork(self) -> None:
        """Close the store unless it is at work. `after_fork` must follow."""
        self._lock.acquire()
        self._lock.wait_for(lambda: not self._at_work, _FORK_WAIT_SECONDS)
        if self._store is not None and not self._at_work:
            self._store.close()
            self._store = None

    def after_fork(self) -> None:
        """Go on, in the process that forked."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on in the new process, in which no other thread is."""
        self._lost = self._lost or self._store is not None
        self._at_work = 0
        self._lock = threading.Condition()


_connections: dict[Path, Connection] = {}
_connecting = threading.Lock()


def connect(path: Path) -> Connection:
    """Return this process's connection to the store at *path*, which is opened when it is used."""
    path = path.absolute()
    with _connecting:
        return _connections.setdefault(path, Connection(path))


def _before_fork() -> None:
    _connecting.acquire()
    for connection in _connections.values():
        connection.before_fork()


def _after_fork() -> None:
    for connection in _connections.values():
        connection.after_fork()
    _connecting.release()


def _after_fork_in_child() -> None:
    for connection in _connections.values():
        connection.after_fork_in_child()
    _connecting.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)
