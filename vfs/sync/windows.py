"""Fetching windows of packs into a cache, by any thread of any process, each window by one of them.

Who fetches a window holds a lock on a byte of the file `fetching` that stands for it. The lock is
of an open file, so threads exclude each other as processes do; the kernel frees it with a process
that is killed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from vfs.errors import CorruptObject, StoreFull
from vfs.ids import ObjectId, object_id
from vfs.remote.remote import Remote
from vfs.repo.checkednodes import check_node
from vfs.store.clock import Clock
from vfs.store.layout import Kind
from vfs.sync.segments import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfs.remote.bucket import Bucket
    from vfs.remote.objects import Arrived, Window
    from vfs.store.store import Store
    from vfs.store.whole import Part

KEPT_PART: Final = 0.9
"""What a cache that is full is brought down to, of its limit: each time its index is read."""

STORING_AT_ONCE: Final = 2
"""While one transaction waits for the disk, the next is made ready."""

_LOCK_FILE: Final = "fetching"
_FLOCK: Final = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, pid

_LEAF: Final = b"T\0"
"""Begins a tree leaf, and few chunks: the indexes need not be asked for all others."""


class Windows:
    """The windows of one remote's packs, and the store that they are fetched into. Thread-safe."""

    def __init__(
        self, store: Store, uuid: str, limit: int, open_bucket: Callable[[], Bucket]
    ) -> None:
        """*limit*: the bytes that the store is to take at most, about."""
        self._store = store
        self._limit = limit
        self._clock = Clock(store.path)
        self._uuid = uuid
        self._open_bucket = open_bucket
        self._remote: Remote | None = None  # connected when it is needed: after any fork
        self._connecting = threading.Lock()
        self._storing = threading.BoundedSemaphore(STORING_AT_ONCE)
        self._came: deque[tuple[ObjectId, list[Arrived]]] = deque()  # and is not stored yet
        self._closed = False

    def close(self) -> None:
        """Let nothing more be stored; what is on its way from the remote is given up."""
        for _ in range(STORING_AT_ONCE):
            self._storing.acquire()
        self._closed = True
        self._clock.close()
        self._storing.release(STORING_AT_ONCE)

    def touched(self, block: int) -> None:
        """Note that somebody read from a block of the store."""
        self._clock.touch(block)

    def find(self, oid: ObjectId) -> Window | None:
        """Return where an object is, by the indexes that are known. Raises RemoteProblem."""
        return self._connected().objects.window(oid)

    def refresh(self) -> None:
        """Learn of the packs that are new. Raises RemoteProblem, RemoteUnavailable."""
        self._connected().refresh()

    def fetch(self, window: Window) -> list[Arrived]:
        """Return what a window holds. Raises NotFound, RemoteProblem, RemoteUnavailable."""
        return self._connected().objects.read_window(window)

    def erased(self, oid: ObjectId) -> str | None:
        """Return when and why the remote lost an object, if it was erased there."""
        erased = self._connected().journal.state.erased.get(oid)
        return None if erased is None else str(erased)

    def has(self, oid: ObjectId) -> bool:
        """Say whether an object is in the store."""
        return self._store.object_size(oid) is not None

    def require_room(self, coming: int) -> None:
        """Raise StoreFull if the cache is about to take all that it may, with *coming* bytes."""
        if self._store.used_bytes() + coming > self._limit * KEPT_PART:
            raise StoreFull(
                "the cache holds what it may: more of it would drive out what is there",
                hint="give it more: --cache-size",
            )

    def store(self, come: Iterable[tuple[Window, list[Arrived]]]) -> None:
        """Store what came, durable on return. Raises CorruptObject, StoreFull.

        What came to other threads meanwhile goes along: each transaction waits for the disk.
        """
        mine = [(window.wanted[0], came) for window, came in come]
        self._came.extend(mine)
        with self._storing:
            batch = []
            while self._came:
                batch.append(self._came.popleft())
            if not batch or self._closed:
                return
            try:
                self._keep([one for _, some in batch for one in some])
            except CorruptObject:  # a node that is none, which others need not suffer for
                self._keep_wanted({wanted for wanted, _ in mine}, batch)
            used = self._store.used_bytes()
            if used > self._limit:
                self._store.evict(self._clock, used - int(self._limit * KEPT_PART))

    @contextmanager
    def turn(self, window: Window) -> Iterator[bool]:
        """Try to be the only one on this machine that fetches a window; give whether it worked."""
        with self._lock_file() as fd:
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _lock_of(window))
            except BlockingIOError:
                yield False
            else:
                yield True

    def wait(self, window: Window) -> None:
        """Return when nobody fetches a window; the kernel wakes whoever waits."""
        with self._lock_file() as fd:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _lock_of(window))

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        fd = os.open(self._store.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def _connected(self) -> Remote:
        with self._connecting:
            if self._remote is None:
                remote = Remote(self._open_bucket(), self._uuid, self._store.path)
                remote.catalog.load_kept()
                self._remote = remote
            return self._remote

    def _keep(self, came: Iterable[Arrived]) -> None:
        with self._store.ingest(when_erased="note", fetched=True) as ingest:
            for one in came:
                for kind, part in zip(one.kinds, one.parts, strict=True):
                    node = self._node_kind(one, part) if kind is Kind.CHUNK else kind
                    if node is not None:
                        data = one.data(part)
                        if node is Kind.TREE:
                            check_node(part.oid, data)
                        ingest.add_object(node, data)
                if Kind.CHUNK in one.kinds:
                    keep(ingest, one)

    def _keep_wanted(
        self, mine: Container[ObjectId], batch: list[tuple[ObjectId, list[Arrived]]]
    ) -> None:
        """Store what was asked for alone. Raises CorruptObject where one of *mine* can't be."""
        problem = None
        for wanted, some in batch:
            try:
                self._keep(filter(None, (one.only(wanted) for one in some)))
            except CorruptObject as error:
                problem = error if wanted in mine else problem
        if problem is not None:
            raise problem

    def _node_kind(self, came: Arrived, part: Part) -> Kind | None:
        """Return what some pack has a chunk as, too: a leaf that is stored needs its numbers."""
        if came.raw[part.offset : part.offset + min(part.size, len(_LEAF))] != _LEAF:
            return None
        place = self._connected().catalog.find(part.oid, is_node=True)
        return None if place is None else place.kind


def _lock_of(window: Window) -> bytes:
    """Return what fcntl(2) takes for a lock on the byte that stands for a window."""
    name = window.pack + window.start.to_bytes(8, "little")
    byte = int.from_bytes(object_id(name)[:7], "little")
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
