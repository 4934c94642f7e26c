from __future__ import annotations

import errno
import json
import logging
import os
import stat
from pathlib import Path

import pytest

from vfs.daemon.logs import (
    BURST,
    PERIOD_SECONDS,
    JSONLines,
    Limit,
    TextLines,
    begin_file,
    not_a_late_answer,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *args: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("vfs", level, __file__, 1, message, args, None)


def test_the_same_line_passes_once_a_minute() -> None:
    clock = Clock()
    limit = Limit(clock)
    passed = [limit.filter(record("read: %s", "chunk 1")) for _ in range(5)]
    assert passed == [True, False, False, False, False]
    clock.now = PERIOD_SECONDS
    again = record("read: %s", "chunk 1")
    assert limit.filter(again)
    assert again.getMessage() == "read: chunk 1 (and 4 more like it before)"


def test_lines_of_one_kind_are_limited() -> None:
    limit = Limit(Clock())
    passed = [limit.filter(record("read: %s", nth)) for nth in range(1000)]
    assert sum(passed) == BURST
    assert limit.filter(record("another kind"))


def test_what_is_no_problem_passes() -> None:
    limit = Limit(Clock())
    assert all(limit.filter(record("mounted", level=logging.INFO)) for _ in range(100))


def test_an_answer_that_nobody_waits_for_is_no_error() -> None:
    message = "fuse_read(): fuse_reply_* failed with %s"
    assert not not_a_late_answer(record(message, os.strerror(errno.ENOENT)))
    assert not_a_late_answer(record(message, os.strerror(errno.EIO)))
    assert not_a_late_answer(record("anything"))


def test_one_older_log_is_kept(tmp_path: Path) -> None:
    for text in (b"first", b"second", b"third"):
        path, fd = begin_file(tmp_path, "mnt")
        os.write(fd, text)
        os.close(fd)
    assert path.read_bytes() == b"third"
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == {
        "mnt.log": b"third",
        "mnt.log.1": b"second",
    }


def test_logs_are_for_their_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir(mode=0o755)
    path, fd = begin_file(tmp_path, "mnt")
    os.close(fd)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_log_is_not_written_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        begin_file(tmp_path, "mnt")


def test_lines_of_text_and_of_json() -> None:
    said = record("read: %s", "two\nlines")
    said.created, said.msecs = 1_700_000_000.25, 250.0
    assert TextLines().format(said).startswith("2023-11-14T22:13:20.250Z ")
    line = JSONLines().format(said)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "pid": os.getpid(),
        "level": "error",
        "logger": "vfs",
        "message": "read: two\nlines",
    }
    try:
        raise ValueError("why")
    except ValueError as error:
        said.exc_info = (ValueError, error, error.__traceback__)
    assert json.loads(JSONLines().format(said))["traceback"].endswith("ValueError: why")
