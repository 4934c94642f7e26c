"""Containers that outlive the process that began them, as those of podman and docker do.

Each writes its id to a file in the directory of its try, `container-NUMBER.podman`. The number is
of that try alone: who comes late ends no container of the next job.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

_SECONDS: Final = 60


def id_file(directory: Path, program: str) -> Path:
    """Return a file, not there yet, for the id of the container of a try."""
    return directory / f"container-{secrets.token_hex(4)}.{program}"


def end(file: Path) -> None:
    """Kill and remove the container whose id is in *file*, if there is one."""
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
    for file in scratch.glob("*/container-*"):
        end(file)
