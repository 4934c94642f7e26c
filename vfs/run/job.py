"""One command of a run, with all that it needs around it: mounts, a branch to write to, a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.clock import NS, iso, now_ns
from vfs.errors import NotFound
from vfs.model.names import work_branch
from vfs.run import places
from vfs.run.command import ending_in_order, run_command
from vfs.run.environment import machine_facts
from vfs.run.logs import RunLog
from vfs.run.output import make_branch
from vfs.run.record import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from vfs.model.commit import JSON
    from vfs.run.inputs import Input
    from vfs.run.output import OutputPlace
    from vfs.run.places import OpenRepository, Place

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command with all that it runs on settled."""

    open_repository: OpenRepository
    place: Place
    inputs: Sequence[Input]
    output: OutputPlace
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str]  # of the command
    recorded: Mapping[str, str]
    withheld: Sequence[str]
    keep_env: bool
    ledger: bool
    time_ns: int  # of all that it writes

    @property
    def branch(self) -> str:
        """The name of the branch that the command writes to, which hubs leave alone."""
        return work_branch(self.place.run_id)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended, whose output is in its branch as in the store."""

    job: Job
    exit_code: int
    log: RunLog
    machine: Mapping[str, JSON]
    started_ns: int
    seconds: float

    def record(
        self, sources: Sequence[Mapping[str, JSON]], output: Mapping[str, JSON]
    ) -> dict[str, JSON]:
        """Return the provenance of what the run made."""
        job = self.job
        ended_ns = self.started_ns + int(self.seconds * NS)
        return make_record(
            run_id=job.place.run_id,
            command=job.command,
            directory=str(job.directory),
            place=str(job.place.directory),
            inputs=sources,
            output=output,
            environment=job.recorded,
            withheld=job.withheld,
            keep_env=job.keep_env,
            machine=self.machine,
            times={
                "started": iso(self.started_ns, precise=True),
                "ended": iso(ended_ns, precise=True),
                "seconds": round(self.seconds, 3),
            },
            log=self.log.facts(),
        )


@contextmanager
def performed(job: Job) -> Iterator[Done]:
    """Run the command of a job; behind the block nothing is left of it but its log.

    Where what it wrote can't be made a version for any reason, its branch stays.
    """
    machine = machine_facts(job.command[0], job.directory)
    with (
        ending_in_order(),
        RunLog(job.place.store, job.place.run_id) as writing,
        places.made(job.place),
    ):
        with job.open_repository() as repo:
            make_branch(repo, job.output, job.branch)
        exit_code = -1
        names = [source.wanted.name for source in job.inputs]
        try:
            with places.unmounted_at_the_end(job.place, names):
                _mount(job)
                started_ns, begun = now_ns(), time.monotonic()
                exit_code = run_command(
                    job.command,
                    directory=job.directory,
                    environment={**job.environment, **_variables(job)},
                    log=writing.write,
                    mark=f"VFS_RUN={job.place.directory}",
                )
                seconds = time.monotonic() - begun
                places.unmount_output(job.place)
            yield Done(job, exit_code, writing, machine, started_ns, seconds)
        except BaseException:
            if exit_code == 0:
                log.warning("what it wrote is in %s@%s", job.place.data_set, job.branch)
            else:
                _forget(job)
            raise
        _forget(job)


def _forget(job: Job) -> None:
    with job.open_repository() as repo, suppress(NotFound):
        places.remove_branch(repo, job.place.data_set, job.branch)
    for source in job.inputs:
        job.place.reads_file(source.wanted.name).unlink(missing_ok=True)


def _mount(job: Job) -> None:
    for source in job.inputs:
        places.mount_input(job.place, source, ledger=job.ledger)
    places.mount_output(job.place)


def _variables(job: Job) -> dict[str, str]:
    place = job.place
    return {
        **{one.wanted.variable: str(place.input(one.wanted.name)) for one in job.inputs},
        "VFS_OUT": str(place.output),
        "VFS_RUN": str(place.directory),
        "SOURCE_DATE_EPOCH": str(job.time_ns // NS),
    }
