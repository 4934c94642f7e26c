"""Fetching on demand: a store that is the cache of a remote, and fills as it is read.

Such a store has the setting "promised": what it lacks, the remote has. Several processes read
through it. Each fetches what it misses itself, in windows of packs on a fixed grid. Who fetches
a window holds a lock on a byte of the file `fetching` that stands for it, so that nobody else asks
for it meanwhile; the kernel frees the lock of a process that is killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from vfs.errors import CorruptObject, Erased, NotFound, RemoteProblem, RemoteUnavailable
from vfs.ids import ObjectId, object_id
from vfs.remote.remote import Remote
from vfs.remote.urls import open_bucket
from vfs.store.layout import Kind

if TYPE_CHECKING:
    from vfs.remote.bucket import Bucket
    from vfs.remote.objects import Window
    from vfs.store.store import Store

T = TypeVar("T")

PATIENCE_SECONDS: Final = 60.0
REST_SECONDS: Final = 2.0
"""So long after a failure nothing is asked for: who reads what is here waits behind nobody."""

_LOCK_FILE: Final = "fetching"
_TURN_SECONDS: Final = 0.005  # between two looks at whether somebody else is done

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a reader waits for a remote."""

    seconds: float = PATIENCE_SECONDS
    offline: bool = False  # not at all


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cache is filled from."""

    url: str
    endpoint: str | None
    uuid: str

    def bucket(self) -> Bucket:
        """Return its bucket, to be closed."""
        return open_bucket(self.url, self.endpoint)


class OnDemand:
    """Brings objects that a store misses. For one thread, and one instance in a process."""

    def __init__(
        self,
        store: Store,
        source: Source,
        patience: Patience,
        open_source: Callable[[Source], Bucket] = Source.bucket,
    ) -> None:
        self._store = store
        self._source = source
        self._patience = patience
        self._open_source = open_source
        self._remote: Remote | None = None  # connected when it is needed: after any fork
        self._rests_until = 0.0

    def __call__(self, oid: ObjectId) -> None:
        """Store an object, with what lies around it on the remote.

        Raises RemoteUnavailable when that takes too long, Erased, RemoteProblem, StoreFull.
        """
        if self._patience.offline:
            raise RemoteUnavailable(
                f"the object {oid.hex()} is not here, and this mount is offline",
                hint="mount without --offline",
            )
        if time.monotonic() < self._rests_until:
            raise RemoteUnavailable(f"{self._source.url} did not answer a moment ago")
        try:
            self._bring(oid, time.monotonic() + self._patience.seconds)
        except RemoteUnavailable as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            log.warning("%s: %s", self._source.url, error)
            raise

    def _bring(self, oid: ObjectId, deadline: float) -> None:
        remote = self._connected()
        window = remote.objects.window(oid)
        if window is None:
            _in_time(remote.refresh, deadline)
            window = remote.objects.window(oid)
        try:
            self._fetch(remote, oid, window, deadline)
        except NotFound:  # its pack was removed, after others had got what is needed of it
            _in_time(remote.refresh, deadline)
            try:
                self._fetch(remote, oid, remote.objects.window(oid), deadline)
            except NotFound as error:  # to a reader, it would be the file that is not there
                raise RemoteProblem(str(error)) from error

    def _fetch(self, remote: Remote, oid: ObjectId, window: Window | None, deadline: float) -> None:
        """Store what a window has. Raises NotFound where its pack is gone."""
        if window is None:
            erased = remote.journal.state.erased.get(oid)
            if erased is not None:
                raise Erased(f"the content was erased on {erased}")
            raise RemoteProblem(f"the object {oid.hex()} is not on the remote")
        with self._turn(window, deadline):
            if self._store.object_size(oid) is not None:
                return  # somebody else brought it
            objects = _in_time(lambda: remote.objects.read_window(window), deadline)
            try:
                self._keep(remote, objects)
            except CorruptObject:  # a node that is none, which another one need not suffer for
                self._keep(remote, [one for one in objects if one[1] == oid])

    def _connected(self) -> Remote:
        if self._remote is None:
            source = self._source
            self._remote = Remote(self._open_source(source), source.uuid, self._store.path)
            self._remote.catalog.load_kept()
        return self._remote

    @contextmanager
    def _turn(self, window: Window, deadline: float) -> Iterator[None]:
        """Be the only one on this machine that fetches a window."""
        name = window.pack + window.start.to_bytes(8, "little")
        byte = int.from_bytes(object_id(name)[:7], "little")
        fd = os.open(self._store.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise RemoteUnavailable("another process waits for it too long") from None
                    time.sleep(_TURN_SECONDS)
            yield
        finally:
            os.close(fd)

    def _keep(self, remote: Remote, objects: list[tuple[Kind, ObjectId, bytes]]) -> None:
        """Store what came. Raises CorruptObject for a node that is none, StoreFull."""
        chunks: list[bytes] = []
        with self._store.ingest(when_erased="note") as ingest:
            for kind, oid, data in objects:
                # What some pack has as a node, too, is stored as one: a leaf needs its numbers.
                node = remote.catalog.find(oid, is_node=True) if kind is Kind.CHUNK else None
                if kind is Kind.CHUNK and node is None:
                    chunks.append(data)
                else:
                    ingest.add_object(node.kind if node else kind, data)
            ingest.add_chunks(chunks, [len(chunks)])


def _in_time(call: Callable[[], T], deadline: float) -> T:
    """Return what *call* does, in a thread of its own: a line that hangs ends by itself some time.

    Raises RemoteUnavailable when it is not done by then.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="vfs-fetch", daemon=True).start()
    try:
        return outcome.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise RemoteUnavailable("the remote did not answer in time") from None
