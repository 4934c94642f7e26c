"""Running a function as a daemon, with its success or failure told to the process that started it.

Knows nothing of mounts.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vfs.errors import MountProblem, VfsError

log = logging.getLogger(__name__)


def in_background(serve: Callable[[Callable[[], None]], None], log_path: Path, log_fd: int) -> None:
    """Run `serve(ready)` in a daemon whose standard error is *log_fd*.

    Return when it has called *ready*. Raises MountProblem with what it raised before that.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _become_daemon(serve, writer, log_fd)
    os.close(writer)
    os.close(log_fd)
    try:
        with os.fdopen(reader, "rb") as answers:
            os.waitpid(child, 0)
            # One line, not all until the end: workers hold the pipe, too.
            answer = answers.readline()
    except KeyboardInterrupt:
        # The reading end is closed now, so the daemon ends instead of becoming ready.
        raise MountProblem("interrupted; the mount is taken back") from None
    if not answer:
        raise MountProblem("the daemon ended before the mount was ready", hint=f"see {log_path}")
    outcome: dict[str, str] = json.loads(answer)
    if "error" in outcome:
        raise MountProblem(outcome["error"], hint=outcome["hint"])


def _become_daemon(serve: Callable[[Callable[[], None]], None], writer: int, log_fd: int) -> None:
    """Detach from terminal, session and parent (daemon(7)), serve, and never return."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.environ.pop("NOTIFY_SOCKET", None)  # it tells of the process that started this one
        with Path(os.devnull).open("r+b") as null:
            os.dup2(null.fileno(), 0)
            os.dup2(null.fileno(), 1)
        os.dup2(log_fd, 2)
        os.close(log_fd)
        code = _serve(serve, writer)
    finally:
        os._exit(code)


def _serve(serve: Callable[[Callable[[], None]], None], writer: int) -> int:
    def tell(**facts: str) -> None:
        os.write(writer, json.dumps(facts).encode() + b"\n")
        os.close(writer)

    told = False

    def ready() -> None:
        nonlocal told
        told = True
        tell()

    try:
        serve(ready)
    except BrokenPipeError:
        log.info("whoever wanted the mount is gone")
        return 1
    except VfsError as exc:
        log.error("%s (%s)", exc, exc.hint)  # noqa: TRY400 - no traceback
        if not told:
            with suppress(OSError):
                tell(error=str(exc), hint=exc.hint)
        return 1
    except BaseException as exc:
        log.exception("the daemon failed")
        if not told:
            with suppress(OSError):
                tell(error=f"the daemon failed: {exc!r}", hint="this is a bug; see its log")
        return 1
    return 0
