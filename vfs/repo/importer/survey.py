"""A walk that runs ahead of an import and only counts, so that somebody who watches sees an end.

In a thread of its own. What it can't read it leaves out: the import itself says so.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from vfs.repo.importer.api import Counts


class Survey:
    """Counts what is below a directory, until it is done or stopped. A context manager."""

    def __init__(self, source: Path, skip: Callable[[os.stat_result], str | None]) -> None:
        """*skip* says why a directory is left out, or None."""
        self._source = os.fsencode(source)
        self._skip = skip
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="vfs-survey", daemon=True)
        self.counts = Counts()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        self.wait()

    def stop(self) -> None:
        """Let it end after the entry that it is at."""
        self._stopped.set()

    def wait(self) -> None:
        """Return when it has ended."""
        self._thread.join()

    def _walk(self) -> None:
        waiting = [self._source]
        while waiting and not self._stopped.is_set():
            with suppress(OSError):
                self._count(waiting.pop(), waiting)

    def _count(self, directory: bytes, waiting: list[bytes]) -> None:
        with os.scandir(directory) as listing:
            for item in listing:
                if self._stopped.is_set():
                    return
                with suppress(OSError):
                    st = item.stat(follow_symlinks=False)
                    if not stat.S_ISDIR(st.st_mode):
                        self.counts.files += 1
                        self.counts.bytes += st.st_size if stat.S_ISREG(st.st_mode) else 0
                    elif self._skip(st) is None:
                        waiting.append(item.path)
