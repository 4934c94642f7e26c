"""Files put into the kernel's page cache before they are read: no request, and nobody who waits.

A page that somebody reads meanwhile is locked until that read is answered. Whoever puts something
there waits for it, so it must not be who answers: a thread of its own does it.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

from vfs.fuse import wire

log = logging.getLogger(__name__)

Files = Sequence[tuple[int, bytes]]
"""Nodes, and all that each holds."""

PATIENCE_SECONDS: Final = 0.002


class Pusher:
    """Puts files where the kernel finds them. To be used by one thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._todo: SimpleQueue[Files] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_late = False

    def push(self, files: Files) -> None:
        """Put *files* there; return when they are, or a moment later."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vfs-push", daemon=True)
            self._thread.start()
        if self._is_late and self._done.empty():
            return
        if self._is_late:
            self._done.get()
        self._todo.put(files)
        try:
            self._done.get(timeout=PATIENCE_SECONDS)
            self._is_late = False
        except Empty:
            self._is_late = True

    def _run(self) -> None:
        try:
            while True:
                for node, data in self._todo.get():
                    if not self._put(node, data):
                        break
                self._done.put(None)
        except OSError:  # nobody waits for the thread that is gone: all is read as it is asked for
            log.exception("no more files are put into the page cache")

    def _put(self, node: int, data: bytes) -> bool:
        """Say whether it is worth while to go on."""
        try:
            os.writev(self._fd, (wire.stored(node, len(data)), data))
        except OSError as exc:
            # The kernel does not know the file; then it won't know those that follow.
            if exc.errno in (errno.ENOENT, *wire.UNMOUNTED):
                return False
            raise
        return True
