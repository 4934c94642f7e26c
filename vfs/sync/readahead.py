"""Fetching ahead of who reads: threads that bring windows before anybody waits for them.

In a process of its own (`vfs.sync.cache.fetch_ahead`). Some threads fetch, another one stores what
came, so that neither the line nor the disk waits for the other. What goes wrong here is nobody's
error yet: whoever needs the object asks for it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from vfs.errors import VfsError
from vfs.sync.windows import STORING_AT_ONCE

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.layout import PackId
    from vfs.remote.objects import Arrived, Window
    from vfs.sync.hints import Waiting
    from vfs.sync.windows import Windows

THREADS: Final = 16
"""Windows on their way at once: 32 MiB, which at 50 ms is 640 MB/s."""

COME_MAX: Final = 24
"""Windows that came and are not stored yet: fetching waits for the disk then."""

STORED_AT_ONCE: Final = 8
"""Windows of a transaction: 16 MiB, so that who waits for the first does not wait for many."""

WAITING_MAX: Final = 128
"""Windows that wait for a thread; who expects more than that expects it too early."""

REFRESH_SECONDS: Final = 2.0  # at least, between two looks for new packs

log = logging.getLogger(__name__)


_Key: TypeAlias = "tuple[PackId, int]"
"""Of a window: where it begins."""


class _Come(NamedTuple):
    """What a window has, and the turn of who fetched it."""

    window: Window
    came: list[Arrived]
    turn: ExitStack


class ReadAhead:
    """Windows that are expected to be read. Thread-safe."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._waiting: deque[Window] = deque()
        self._known: dict[_Key, list[Waiting]] = {}  # waiting, or on their way; and for whom
        self._ids: dict[ObjectId, _Key] = {}  # what is in these
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._come: queue.Queue[_Come] = queue.Queue(COME_MAX)
        self._closed = False
        self._refreshed = 0.0

    def close(self) -> None:
        """Begin nothing more."""
        with self._change:
            self._closed = True
            while self._waiting:
                self._done(self._waiting.pop())
            self._change.notify_all()

    def expect(self, ids: Iterable[ObjectId], waiting: Waiting | None = None) -> None:
        """Have objects fetched soon, unless they are here.

        One that is waited for comes before others; *waiting* is closed when it is here, or can't be
        had. Raises nothing; may wait while it looks for packs that are new.
        """
        is_coming = False
        try:
            for oid in ids:
                is_coming = self._is_coming(oid, waiting)
                if not is_coming and not self._windows.has(oid):
                    window = self._windows.find(oid) or self._find_anew(oid)
                    is_coming = window is not None and self._expect(window, waiting)
        except VfsError as error:
            log.info("nothing is fetched ahead: %s", error)
        if waiting is not None and not is_coming:
            waiting.close()

    def _is_coming(self, oid: ObjectId, waiting: Waiting | None) -> bool:
        """Say whether an object is on its way; if so, who waits for it is going to be told."""
        with self._change:
            key = self._ids.get(oid)
            if key is not None and waiting is not None:
                self._known[key].append(waiting)
            return key is not None

    def _find_anew(self, oid: ObjectId) -> Window | None:
        now = time.monotonic()
        if now < self._refreshed + REFRESH_SECONDS:
            return None
        self._refreshed = now
        self._windows.refresh()
        return self._windows.find(oid)

    def _expect(self, window: Window, waiting: Waiting | None) -> bool:
        """Have a window fetched; give whether it is going to be."""
        key = (window.pack, window.start)
        with self._change:
            if self._closed or (len(self._waiting) >= WAITING_MAX and waiting is None):
                return False
            is_known = key in self._known
            self._known.setdefault(key, []).extend(() if waiting is None else (waiting,))
            if is_known:
                return True
            self._ids.update((oid, key) for oid, _ in window.around)
            if waiting is not None:
                self._waiting.appendleft(window)
            else:
                self._waiting.append(window)
            if self._idle < len(self._waiting) and len(self._threads) < THREADS + STORING_AT_ONCE:
                if not self._threads:
                    for _ in range(STORING_AT_ONCE):
                        self._begin(self._store)
                self._begin(self._fetch)
            self._change.notify()
            return True

    def _begin(self, work: Callable[[], None]) -> None:
        # Daemons: one that waits for a line that hangs keeps no process from ending.
        thread = threading.Thread(target=work, name="vfs-ahead", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fetch(self) -> None:
        while True:
            with self._change:
                self._idle += 1
                while not self._waiting and not self._closed:
                    self._change.wait()
                self._idle -= 1
                if self._closed:
                    return
                window = self._waiting.popleft()
            turn = ExitStack()  # until it is stored
            with self._tolerant(), turn:
                is_mine = turn.enter_context(self._windows.turn(window))
                if is_mine and not self._windows.has(window.wanted[0]):
                    self._come.put(_Come(window, self._windows.fetch(window), turn.pop_all()))
                    continue
            self._done(window)

    def _store(self) -> None:
        while True:
            batch = [self._come.get()]
            with suppress(queue.Empty):
                while len(batch) < STORED_AT_ONCE:
                    batch.append(self._come.get_nowait())
            with self._tolerant():
                self._windows.store([(one.window, one.came) for one in batch])
            for one in batch:
                one.turn.close()
                self._done(one.window)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except VfsError as error:
            log.info("nothing is fetched ahead: %s", error)
        except Exception:
            log.exception("nothing is fetched ahead")

    def _done(self, window: Window) -> None:
        with self._change:
            for waiting in self._known.pop((window.pack, window.start)):
                waiting.close()
            for oid, _ in window.around:
                self._ids.pop(oid, None)
