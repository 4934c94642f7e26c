"""Fetching on demand: a store that is the cache of a remote, and fills as it is read.

Such a store has the setting "promised": what it lacks, the remote has. Several processes read
through it. Each fetches what it misses itself, in windows of packs on a fixed grid
(`vfs.sync.windows`); what is going to be read one other process fetches before it is missed
(`vfs.sync.hints`, `vfs.sync.readahead`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from vfs.errors import Erased, Interrupted, NotFound, RemoteProblem, RemoteUnavailable
from vfs.remote.objects import WINDOW_BYTES
from vfs.remote.parallel import Workers
from vfs.remote.unlocking import unlocked
from vfs.remote.urls import open_bucket
from vfs.store.objects import surely
from vfs.sync.windows import Windows

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.bucket import Bucket
    from vfs.remote.layout import PackId
    from vfs.remote.objects import Window
    from vfs.remote.secrets import MasterKey
    from vfs.store.objects import IsWanted
    from vfs.store.store import Store
    from vfs.sync.hints import Hints

T = TypeVar("T")

PATIENCE_SECONDS: Final = 60.0
LIMIT_BYTES: Final = 20 << 30
REST_SECONDS: Final = 2.0
"""So long after a failure nothing is asked for: who reads what is here waits behind nobody."""

SOON_SECONDS: Final = 1.0
"""As long another process has to bring what is missing, before a reader sees to it itself."""

_ASK_SECONDS: Final = 0.1  # between two looks at whether it is still wanted: 40 us each

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a reader waits for a remote."""

    seconds: float = PATIENCE_SECONDS
    offline: bool = False  # not at all
    key: MasterKey | None = field(default=None, repr=False)
    """Of an encrypted remote. Processes of a mount have it from the one that forked them."""
    hints: Hints | None = field(default=None, repr=False, compare=False)
    """Where to tell what is going to be read; None: it is fetched when it is missed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cache is filled from."""

    url: str
    endpoint: str | None
    uuid: str
    limit: int = LIMIT_BYTES  # of the cache
    key: MasterKey | None = field(default=None, repr=False)  # of an encrypted remote

    def bucket(self) -> Bucket:
        """Return its bucket, to be closed."""
        return unlocked(open_bucket(self.url, self.endpoint), self.key)


class OnDemand:
    """Brings objects that a store misses. Thread-safe; one instance in a process."""

    def __init__(
        self,
        store: Store,
        source: Source,
        patience: Patience,
        open_source: Callable[[Source], Bucket] = Source.bucket,
    ) -> None:
        self._source = source
        self._patience = patience
        self._windows = Windows(store, source.uuid, source.limit, lambda: open_source(source))
        self._rests_until = 0.0

    def touched(self, block: int) -> None:
        """Note that somebody read from a block."""
        self._windows.touched(block)

    def close(self) -> None:
        """Store nothing any more."""
        self._windows.close()

    def __call__(self, oid: ObjectId, wanted: IsWanted = surely) -> None:
        """Store an object, with what lies around it on the remote.

        Raises RemoteUnavailable when that takes too long, Interrupted soon after it is not *wanted*
        any more, Erased, RemoteProblem, StoreFull.
        """
        if self._patience.offline:
            raise RemoteUnavailable(
                f"the object {oid.hex()} is not here, and this mount is offline",
                hint="mount without --offline",
            )
        if self._rests:
            raise RemoteUnavailable(f"{self._source.url} did not answer a moment ago")
        seconds = self._patience.seconds
        if self._comes(oid, _Wait(min(SOON_SECONDS, seconds), wanted)):
            return
        try:
            self._bring(oid, _Wait(seconds, wanted))
        except RemoteUnavailable as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            log.warning("%s: %s", self._source.url, error)
            raise

    def _comes(self, oid: ObjectId, wait: _Wait) -> bool:
        """Have the process that fetches ahead bring an object; give whether it came soon.

        It has a connection, and what it has asked for already nobody asks for again.
        """
        if self._patience.hints is None:
            return False
        return self._patience.hints.ask(oid, wait.left) and self._windows.has(oid)

    def expect(self, ids: Iterable[ObjectId]) -> None:
        """Have objects brought by another process, as they are going to be read.

        Nothing is raised, or waited for: what does not come is asked for when it is read.
        """
        if self._patience.hints is not None and not (self._patience.offline or self._rests):
            self._patience.hints.tell(ids)

    def bring_all(self, ids: Iterable[ObjectId]) -> Iterator[tuple[int, int]]:
        """Store objects, several windows at once; yield what came of each: objects and bytes.

        Raises as a call does, and StoreFull where the cache would have to lose some for others.
        """
        windows = self._windows
        asked: set[tuple[PackId, int]] = set()
        arrived = 0

        def missing() -> Iterator[tuple[ObjectId, Window]]:
            for oid in ids:
                if windows.has(oid):
                    continue
                window = windows.find(oid)
                if window is None:
                    self(oid)  # says what is the matter, or has learned of new packs
                elif (window.pack, window.start) not in asked:
                    windows.require_room((len(asked) - arrived) * WINDOW_BYTES)
                    asked.add((window.pack, window.start))
                    yield oid, window

        with Workers() as workers:
            for came in workers.in_order(self._bring_window, missing()):
                arrived += 1
                yield came

    def _bring_window(self, wanted: tuple[ObjectId, Window]) -> tuple[int, int]:
        oid, window = wanted
        try:
            self._fetch(oid, window, _Wait(self._patience.seconds, surely))
        except NotFound as error:
            raise RemoteProblem(
                str(error), hint="it was cleaned up meanwhile: try again"
            ) from error
        return len(window.around), sum(place.size for _, place in window.around)

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    def _bring(self, oid: ObjectId, wait: _Wait) -> None:
        windows = self._windows
        window = windows.find(oid)
        if window is None:
            _in_time(windows.refresh, wait)
            window = windows.find(oid)
        try:
            self._fetch(oid, window, wait)
        except NotFound:  # its pack was removed, after others had got what is needed of it
            _in_time(windows.refresh, wait)
            try:
                self._fetch(oid, windows.find(oid), wait)
            except NotFound as error:  # to a reader, it would be the file that is not there
                raise RemoteProblem(str(error)) from error

    def _fetch(self, oid: ObjectId, window: Window | None, wait: _Wait) -> None:
        """Store what a window has. Raises NotFound where its pack is gone."""
        windows = self._windows
        if window is None:
            erased = windows.erased(oid)
            if erased is not None:
                raise Erased(f"the content was erased on {erased}")
            raise RemoteProblem(f"the object {oid.hex()} is not on the remote")
        while True:
            with windows.turn(window) as is_mine:
                if windows.has(oid):
                    return  # somebody else brought it
                if is_mine:
                    came = _in_time(lambda: windows.fetch(window), wait)
                    windows.store([(window, came)])
                    return
            _in_time(lambda: windows.wait(window), wait)


class _Wait:
    """How long somebody waits: so many seconds, as long as it is wanted."""

    def __init__(self, seconds: float, wanted: IsWanted) -> None:
        self._deadline = time.monotonic() + seconds
        self._wanted = wanted

    def left(self) -> float:
        """Return for how many seconds to wait before this is called again; 0: no longer.

        Raises Interrupted.
        """
        if not self._wanted():
            raise Interrupted("nobody waits for it any more")
        return max(0.0, min(self._deadline - time.monotonic(), _ASK_SECONDS))


def _in_time(call: Callable[[], T], wait: _Wait) -> T:
    """Return what *call* does, in a thread of its own: one that hangs ends some time.

    Raises RemoteUnavailable when it is not done in time, Interrupted.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="vfs-fetch", daemon=True).start()
    while left := wait.left():
        if wait_for([outcome], left).done:
            return outcome.result()
    raise RemoteUnavailable("the remote did not answer in time")
