"""Fetching ahead of who reads: a few threads that bring windows before anybody waits for them.

What goes wrong here is nobody's error yet: whoever needs the object asks for it again.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from vfs.errors import VfsError

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.remote.layout import PackId
    from vfs.remote.objects import Window
    from vfs.sync.windows import Windows

THREADS: Final = 8
"""Windows on their way at once: 16 MiB, which at 50 ms is 320 MB/s for one worker of a mount."""

WAITING_MAX: Final = 32
"""Windows that wait for a thread; who expects more than that expects it too early."""

log = logging.getLogger(__name__)


class ReadAhead:
    """Windows that are expected to be read. Thread-safe."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._waiting: deque[Window] = deque()
        self._known: set[tuple[PackId, int]] = set()  # waiting, or on their way
        self._ids: set[ObjectId] = set()  # what is in these
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    @property
    def is_working(self) -> bool:
        """Say whether anything is on its way."""
        return bool(self._known)

    def close(self) -> None:
        """Begin nothing more."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()

    def expects(self, oid: ObjectId) -> bool:
        """Say whether an object is waited for or on its way."""
        return oid in self._ids

    def expect(self, window: Window) -> None:
        """Have a window fetched soon, unless somebody does, or too much is waiting."""
        key = (window.pack, window.start)
        with self._change:
            if key in self._known or len(self._waiting) >= WAITING_MAX or self._closed:
                return
            self._known.add(key)
            self._ids.update(oid for oid, _ in window.around)
            self._waiting.append(window)
            if self._idle < len(self._waiting) and len(self._threads) < THREADS:
                # Daemons: one that waits for a line that hangs keeps no process from ending.
                thread = threading.Thread(target=self._work, name="vfs-ahead", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                self._idle += 1
                while not self._waiting and not self._closed:
                    self._change.wait()
                self._idle -= 1
                if self._closed:
                    return
                window = self._waiting.popleft()
            try:
                self._bring(window)
            except VfsError as error:
                log.info("nothing is fetched ahead: %s", error)
            except Exception:
                log.exception("nothing is fetched ahead")
            with self._change:
                self._known.discard((window.pack, window.start))
                self._ids.difference_update(oid for oid, _ in window.around)

    def _bring(self, window: Window) -> None:
        with self._windows.turn(window) as is_mine:
            if is_mine and not self._windows.is_here(window):
                self._windows.store(window, self._windows.fetch(window))
