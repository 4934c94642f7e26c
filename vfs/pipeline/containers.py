"""Containers that outlive the process that began them, as those of podman and docker do.

Each writes its id to a file in the directory of its try: `container.podman`, `container.docker`.
Run as a program, this waits for the end of the process that started it, and ends its containers.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_SECONDS: Final = 60


def id_file(directory: Path, program: str) -> Path:
    """Return the file of the id of the container of a try."""
    return directory / f"container.{program}"


def end(directory: Path) -> None:
    """Kill and remove the container of a try, if there is one."""
    for file in directory.glob("container.*"):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [file.suffix[1:], "rm", "--force", file.read_text().strip()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )


def end_all(scratch: Path) -> None:
    """Kill and remove the containers of all tries of a job that was killed."""
    for file in scratch.glob("*/container.*"):
        end(file.parent)


def guarded(directory: Path, *, wanted: bool = True) -> AbstractContextManager[None]:
    """Have containers end when this process is killed meanwhile: those of the tries in *directory*,
    or of *directory* itself. Nothing is done where that is not *wanted*.
    """
    return _guarded(directory) if wanted else nullcontext()


@contextmanager
def _guarded(directory: Path) -> Iterator[None]:
    # By its descriptor: the next job may make another directory of that name.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        guard = subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid()), str(fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )
    finally:
        os.close(fd)
    try:
        yield
    finally:
        guard.terminate()
        guard.wait()


def _guard(parent: int, fd: int) -> None:
    """Wait for the end of the process *parent*, and end the containers of the directory *fd*."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([process], [], [])
    directory = Path(f"/proc/self/fd/{fd}")
    end(directory)
    end_all(directory)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), int(sys.argv[2]))
