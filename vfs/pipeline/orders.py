"""A datum for a worker of another machine: what it is sent, what it does, what it sends back.

It sees neither the store nor the job's directories. Inputs come from a remote, files of the code
with the order, and the output goes back as a parcel, which stays here until the job has it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from vfs.errors import VfsError
from vfs.pipeline.parcels import pack
from vfs.pipeline.records import LOG_PIECE_BYTES
from vfs.pipeline.sandbox import View
from vfs.pipeline.tasks import task_of
from vfs.pipeline.workermounts import Version, WorkerPlace

if TYPE_CHECKING:
    from vfs.pipeline.datums import Datum
    from vfs.pipeline.executor import Ended, Task
    from vfs.pipeline.spec import Spec

PART_BYTES: Final = 4 << 20
"""Of a parcel, in one answer of a worker."""


class CodeFile(NamedTuple):
    """A file that the pipeline's command needs."""

    mode: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A datum to be run once."""

    name: str  # the datum's id
    spec: Spec
    datum: Datum
    versions: Mapping[str, Version]  # by the inputs' names
    code: Mapping[str, CodeFile]  # by their paths below the pipeline's directory
    directory: Path  # of the try, where the job is


@dataclass(frozen=True)
class Answer:
    """What became of an order, as its worker says."""

    problem: str
    seconds: float
    log: bytes
    worker: str  # its address
    parcel: Path  # there; only where there is no problem
    size: int = 0
    digest: bytes = b""
    lost: bool = False


def carry_out(order: Order, worker: str, execute: Callable[[Task], Ended]) -> Answer:
    """Run an order on this worker. The parcel goes when nobody holds the answer any more."""
    place = _place()
    directory = Path(tempfile.mkdtemp(prefix="datum-", dir=place.directory))
    try:
        answer = _carried_out(order, place, directory, worker, execute)
    except (VfsError, OSError) as error:
        answer = Answer(f"on the worker {worker}: {error}", 0, b"", worker, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    # Dask lets go of it when the job has what it wants, or is gone.
    weakref.finalize(answer, shutil.rmtree, directory, ignore_errors=True)
    return answer


def _carried_out(
    order: Order, place: WorkerPlace, directory: Path, worker: str, execute: Callable[[Task], Ended]
) -> Answer:
    home = directory / "code"
    home.mkdir()
    for name, file in order.code.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
    with place.shown(order.versions) as mounts:
        view = View(directory / "try", mounts)
        ended = execute(task_of(replace(order.spec, directory=str(home)), order.datum, view))
    log = _tail(view.log)
    if ended.problem:
        problem = ended.problem
        return Answer(problem, ended.seconds, log, worker, directory, lost=ended.lost)
    parcel = pack(view.output, order.datum.id, directory)
    shutil.rmtree(view.directory)
    digest = blake3(max_threads=blake3.AUTO).update_mmap(parcel).digest()
    size = parcel.stat().st_size
    return Answer("", ended.seconds, log, worker, parcel, size, digest)


@cache
def _place() -> WorkerPlace:
    place = WorkerPlace()
    atexit.register(place.close)
    return place


def _tail(log: Path) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_PIECE_BYTES))
        return file.read()


def read_part(parcel: Path, offset: int) -> bytes:
    """Return up to PART_BYTES of a parcel on this worker."""
    with parcel.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)
