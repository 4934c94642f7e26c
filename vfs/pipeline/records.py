"""What is known of pipelines, and of their jobs: settings of the store, and files in its log.

`pipeline/NAME` is a setting; a job has `<store>/log/pipelines/NAME/ID.json` and `ID.log`, the last
100 of each pipeline. Whoever runs a job holds the lock of the pipeline, so that a job which nobody
runs any more can be told by that.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from vfs.errors import AlreadyExists, Conflict, NotFound
from vfs.pipeline.chain import check
from vfs.pipeline.spec import Spec, parse_spec
from vfs.repo.revisions import near_misses
from vfs.run.containers import end_all

if TYPE_CHECKING:
    from vfs.repo.repository import Repository

PREFIX: Final = "pipeline/"
JOBS_KEPT: Final = 100
LOG_PIECE_BYTES: Final = 1 << 20  # of what one try of a datum wrote
_FLOCK: Final = struct.Struct("hhqqi0q")  # struct flock of fcntl(2)
State = Literal["running", "killed", "success", "failure", "stopped"]


@dataclass(frozen=True, slots=True)
class Known:
    """A pipeline that the store knows."""

    spec: Spec
    stopped: bool


@dataclass(slots=True, kw_only=True)
class Job:
    """What is known of a job. Times are in seconds since 1970."""

    id: str
    pipeline: str
    global_id: str
    state: State
    inputs: dict[str, str]  # commits, by the names of inputs
    spec: str  # hash of what decides on outputs
    started: float
    ended: float = 0
    total: int = 0  # datums
    skipped: int = 0  # of these, taken over
    done: int = 0  # of these, run
    dropped: int = 0  # that were in the output before, and are not any more
    seconds: float = 0  # that commands took, one after the other
    problem: str = ""
    commit: str = ""
    failed: list[str] = field(default_factory=list)  # datums


def known(repo: Repository, name: str) -> Known:
    """Return a pipeline. Raises NotFound, with near misses."""
    found = repo.store.settings.get(PREFIX + name)
    if found is None:
        names = [one.spec.name for one in all_known(repo)]
        raise NotFound(
            f"there is no pipeline '{name}'",
            hint=near_misses(name, names) or "see: vfs pipeline list",
        )
    return _known(found)


def all_known(repo: Repository) -> list[Known]:
    """Return all pipelines, by name."""
    return [_known(value) for _, value in repo.store.settings.items(PREFIX)]


def _known(value: Mapping[str, Any]) -> Known:
    return Known(parse_spec(value["spec"]), bool(value["stopped"]))


def create(repo: Repository, spec: Spec, *, update: bool) -> None:
    """Make a pipeline, or with *update* change it. Raises AlreadyExists, InvalidInput."""
    check(spec, [one.spec for one in all_known(repo)])
    value = {"spec": dict(spec.document), "stopped": False}
    if update:
        known(repo, spec.name)
        repo.store.settings.put(PREFIX + spec.name, value)
    elif not repo.store.settings.add(PREFIX + spec.name, value):
        raise AlreadyExists(
            f"there is a pipeline '{spec.name}' already", hint="change it with --update"
        )


def set_stopped(repo: Repository, name: str, *, stopped: bool) -> None:
    """Have a pipeline not run by itself, or run again. Raises NotFound."""
    found = known(repo, name)
    value = {"spec": dict(found.spec.document), "stopped": stopped}
    repo.store.settings.put(PREFIX + name, value)


def delete(repo: Repository, store: Path, name: str) -> None:
    """Forget a pipeline and its jobs; what it has made stays. Raises NotFound."""
    known(repo, name)
    repo.store.settings.delete(PREFIX + name)
    with suppress(FileNotFoundError):
        shutil.rmtree(jobs_directory(store, name))


@contextmanager
def locked(store: Path, name: str) -> Iterator[Path]:
    """Be the only one who runs a pipeline; give a directory for its files, which goes at the end.

    Raises Conflict, with the process that runs it.
    """
    directory = store / "run" / "pipelines"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # fcntl(2)'s, not flock(2)'s: mounts of a job that was killed must not have inherited it.
    with (directory / f"{name}.lock").open("a+b", buffering=0) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"the pipeline '{name}' runs already", hint=f"wait: vfs pipeline wait {name}"
            ) from None
        scratch = directory / name
        end_all(scratch)  # of one that was killed
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def runner(store: Path, name: str) -> int | None:
    """Return the process that runs a pipeline now.

    Asks who has the lock and does not try it, or whoever begins a job could find it taken. Not for
    that process itself: a file that it closes takes its lock along.
    """
    try:
        with (store / "run" / "pipelines" / f"{name}.lock").open("rb") as file:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)


def jobs_directory(store: Path, pipeline: str) -> Path:
    """Return where the jobs of a pipeline are noted; it need not be there."""
    return store / "log" / "pipelines" / pipeline


def write_job(store: Path, job: Job) -> None:
    """Note how a job is: whole, or as it was."""
    directory = jobs_directory(store, job.pipeline)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{job.id}.json"
    if not path.exists():
        for old in sorted(directory.glob("*.json"))[: -JOBS_KEPT + 1]:
            old.unlink(missing_ok=True)
            old.with_suffix(".log").unlink(missing_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(job)))
    new.rename(path)


def jobs(store: Path, pipeline: str) -> list[Job]:
    """Return the jobs that are known, the newest first."""
    found = []
    for path in jobs_directory(store, pipeline).glob("*.json"):
        with suppress(OSError, ValueError, TypeError):  # removed meanwhile, or damaged
            found.append(Job(**json.loads(path.read_text())))
    found.sort(key=lambda job: job.started, reverse=True)  # ids tell no more than the second
    if found and found[0].state == "running" and runner(store, pipeline) is None:
        found[0].state = "killed"
    for job in found[1:]:
        if job.state == "running":
            job.state = "killed"
    return found


def log_try(store: Path, job: Job, head: str, log: Path) -> None:
    """Append what a try of a datum wrote to the job's log, its end if that is long."""
    directory = jobs_directory(store, job.pipeline)
    with (directory / f"{job.id}.log").open("ab") as file:
        file.write(f"== {head}\n".encode())
        with suppress(FileNotFoundError), log.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - LOG_PIECE_BYTES))
            text = source.read(LOG_PIECE_BYTES)
            file.write(text + (b"" if not text or text.endswith(b"\n") else b"\n"))


def job_log(store: Path, job: Job) -> Path:
    """Return the log of a job; it need not be there."""
    return jobs_directory(store, job.pipeline) / f"{job.id}.log"
