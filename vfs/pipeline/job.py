"""A job: what is new is run, what is gone goes, the output is committed, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.daemon import branches
from vfs.errors import VfsError
from vfs.pipeline import records
from vfs.pipeline.committing import commit_output, make_branches
from vfs.pipeline.executor import LocalExecutor
from vfs.pipeline.plan import (
    Plan,
    commits_of,
    global_id,
    is_current,
    make_plan,
)
from vfs.pipeline.records import Job
from vfs.pipeline.tasks import task_of
from vfs.pipeline.work import Way, Work
from vfs.run import places
from vfs.run.command import ending_in_order
from vfs.run.guard import Guard
from vfs.run.places import OpenRepository, Place

if TYPE_CHECKING:
    from vfs.pipeline.elsewhere import Unlock
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository

TOLD_SECONDS: Final = 0.5

Told = Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where commands run, if not on this machine."""

    scheduler: str = ""  # of Dask
    remote: str = ""  # its name or URL, through which workers of other machines get the inputs
    unlock: Unlock = lambda place: place
    """Gives an encrypted remote what opens it."""


def run_job(
    store: Path,
    open_repository: OpenRepository,
    name: str,
    *,
    again: bool = False,
    told: Told | None = None,
    cluster: Cluster | None = None,
) -> Job | None:
    """Bring a pipeline's output up to date; None where it is. *again*: run all datums.

    *cluster*: whose workers run the commands; what it does not say the specification does, if any.

    *told* is called now and then with how far it is. Where a datum fails, or anything else, the
    job says so and the output stays as it was. Raises NotFound, Conflict where it runs already.
    """
    with ending_in_order(), records.locked(store, name) as scratch:
        places.clear_killed(store, open_repository)
        with open_repository() as repo:
            spec = records.known(repo, name).spec
            plan = make_plan(repo, spec, again=again)
            if not again and is_current(repo, spec, plan.sources, plan.spec_id):
                return None
            make_branches(repo, spec)
            job = _new_job(repo, spec, plan)
        one = _Running(store, open_repository, spec, plan, job, told)
        try:
            one.run(scratch, cluster or Cluster())
        except VfsError as error:
            job.problem = str(error)
            one.end("failure")
        except BaseException:
            one.end("stopped")
            raise
        return job


def _new_job(repo: Repository, spec: Spec, plan: Plan) -> Job:
    return Job(
        id=places.new_id(),
        pipeline=spec.name,
        global_id=global_id(repo, plan.cause),
        state="running",
        inputs=commits_of(plan.sources),
        spec=plan.spec_id,
        started=time.time(),
        total=plan.total,
        skipped=plan.total - len(plan.to_run),
    )


class _Running:
    """A job that goes on."""

    def __init__(
        self,
        store: Path,
        open_repository: OpenRepository,
        spec: Spec,
        plan: Plan,
        job: Job,
        told: Told | None,
    ) -> None:
        self._store, self._open, self._spec, self._plan = store, open_repository, spec, plan
        self._job = job
        self._watcher = told
        self._noted = 0.0
        records.write_job(store, job)

    def run(self, scratch: Path, cluster: Cluster) -> None:
        """Run what has to run, and commit the output. Raises VfsError."""
        to_run = self._plan.to_run
        is_done = True
        if to_run:
            with self._way(cluster) as way, self._open() as repo:
                work = Work(repo, self._store, self._spec, self._job, scratch, way, self._tell)
                is_done = work.run(to_run)
        if not is_done:
            self.end("failure")
            return
        branches.checkpoint(self._store, self._spec.data_set, self._spec.branch)
        with self._open() as repo:
            self._job.commit = commit_output(repo, self._spec, self._plan, self._job).hex()
        self.end("success")

    def end(self, state: records.State) -> None:
        """Note how the job has ended."""
        self._job.state = state
        self._job.ended = time.time()
        records.write_job(self._store, self._job)

    def _tell(self, job: Job) -> None:
        if self._watcher is not None:
            self._watcher(job)
        if time.monotonic() - self._noted >= TOLD_SECONDS:
            self._noted = time.monotonic()
            records.write_job(self._store, job)

    @contextmanager
    def _way(self, cluster: Cluster) -> Iterator[Way]:
        """Prepare for commands to be run. Raises RemoteUnavailable, NotSupported, MountProblem."""
        spec = self._spec
        scheduler, remote = cluster.scheduler or spec.scheduler, cluster.remote or spec.remote
        if not scheduler:
            cores = len(os.sched_getaffinity(0))
            at_once = max(1, min(spec.parallelism, cores // spec.cpus))
            with Guard() as guard, self._mounted() as mounts:
                here = LocalExecutor(at_once, guard)
                yield Way(partial(task_of, spec), here, mounts)
            return
        from vfs.pipeline import dask  # noqa: PLC0415 - takes half a second

        needs = {"cpus": float(spec.cpus)} | ({"memory": float(spec.memory)} if spec.memory else {})
        if not remote:
            # In this order: the mounts' daemons would inherit the connection, and the scheduler
            # would not notice that this process is killed.
            with self._mounted() as mounts:
                beside = dask.DaskExecutor(scheduler, spec.parallelism, dask.HERE, needs)
                yield Way(partial(task_of, spec), beside, mounts)
            return
        from vfs.pipeline.elsewhere import Elsewhere, send_inputs  # noqa: PLC0415 - as above

        away = dask.DaskExecutor(scheduler, spec.parallelism, dask.ELSEWHERE, needs)
        with self._open() as repo:
            versions = send_inputs(repo, spec, self._plan.sources, remote, cluster.unlock)
        yield Way(Elsewhere(spec, versions).order, away, {})

    @contextmanager
    def _mounted(self) -> Iterator[Mapping[str, Path]]:
        """Mount the inputs, each version once; give their places by the inputs' names."""
        run_id = self._job.id
        place = Place(
            store=self._store,
            run_id=run_id,
            directory=places.default_directory(run_id),
            data_set=self._spec.data_set,
        )
        first = {source.commit: source for source in reversed(self._plan.sources)}
        names = [source.wanted.name for source in first.values()]
        with places.made(place), places.unmounted_at_the_end(place, names):
            for source in first.values():
                places.mount_input(place, source, ledger=False)
            yield {
                one.wanted.name: place.input(first[one.commit].wanted.name)
                for one in self._plan.sources
            }
