"""Where a daemon's log goes and how it is kept small. Everything is written to standard error.

In the background standard error is `<store>/log/<mount>.log`, begun anew with each mount; the one
before is kept as `.log.1`. libfuse prints there, too. Of a store that can't be written it is
elsewhere: see `vfs.daemon.private`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from vfs.daemon import private

LOG_DIR: Final = "log"
BURST: Final = 20
PERIOD_SECONDS: Final = 60.0
_UNANSWERABLE: Final = os.strerror(errno.ENOENT)


class Limit(logging.Filter):
    """Lets the same line pass once a minute, and lines of one kind 20 times a minute.

    So an archive of a million damaged files can't fill the disk. What was left out is counted, and
    the count is told with the next line of that kind.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._since = now()
        self._passed: dict[object, int] = {}
        self._left_out: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide, and append the count to a line that passes."""
        if record.levelno < logging.WARNING:
            return True
        if self._now() - self._since >= PERIOD_SECONDS:
            self._since = self._now()
            self._passed.clear()
        kind = (record.name, record.msg)
        line = (kind, record.getMessage())
        if self._passed.get(kind, 0) >= BURST or line in self._passed:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._passed[kind] = self._passed.get(kind, 0) + 1
        self._passed[line] = 1
        left_out = self._left_out.pop(kind, 0)
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} more like it before)"
            record.args = ()
        return True


def not_a_late_answer(record: logging.LogRecord) -> bool:
    """Filter out pyfuse3's complaint that nobody waits for an answer any more.

    That is so when a request was interrupted, or handed out again after a worker's death and
    answered by two.
    """
    return not ("fuse_reply_" in str(record.msg) and record.args == (_UNANSWERABLE,))


class TextLines(logging.Formatter):
    """Lines to be read by people; times are UTC."""

    default_msec_format = "%s.%03dZ"
    default_time_format = "%Y-%m-%dT%H:%M:%S"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(process)d %(levelname)s %(message)s")
        self.converter = time.gmtime


class JSONLines(TextLines):
    """One JSON object a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, pid, level, logger and message; traceback, where there is one."""
        fields = {
            "time": self.formatTime(record),
            "pid": record.process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def configure(level: int = logging.INFO) -> None:
    """Log to standard error: text, or with VFS_LOG=json in the environment lines of JSON."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JSONLines() if os.environ.get("VFS_LOG") == "json" else TextLines())
    output.addFilter(Limit())
    output.addFilter(not_a_late_answer)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(output)
    root.setLevel(level)


def begin_file(store: Path, name: str) -> tuple[Path, int]:
    """Return the path and descriptor of a new log, with the one before moved aside.

    Raises OSError, with what keeps it from being in the store.
    """
    refusal: OSError | None = None
    for place in private.places(store, make=True):
        try:
            return _begin(place / LOG_DIR / f"{name}.log")
        except OSError as exc:
            refusal = refusal or exc
            if exc.errno not in private.NOT_WRITABLE:
                break
    assert refusal is not None
    raise refusal


def _begin(path: Path) -> tuple[Path, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with private.opened(path.parent, make=True) as directory:
        with suppress(FileNotFoundError):
            os.rename(path.name, f"{path.name}.1", src_dir_fd=directory, dst_dir_fd=directory)
        return path, os.open(path.name, flags, private.FILE_MODE, dir_fd=directory)
