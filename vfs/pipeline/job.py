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

from vfs.clock import iso, now_ns
from vfs.daemon import branches
from vfs.errors import VfsError
from vfs.model.names import datums_branch
from vfs.pipeline import records, table
from vfs.pipeline.executor import LocalExecutor
from vfs.pipeline.output import put_together
from vfs.pipeline.plan import Plan, commits_of, finished, global_id, is_current, make_plan
from vfs.pipeline.records import Job
from vfs.pipeline.tasks import task_of
from vfs.pipeline.work import Way, Work
from vfs.repo import identity
from vfs.repo.branches import require_branch
from vfs.repo.merge.landing import Draft, land
from vfs.repo.uncommitted import PassingObjects
from vfs.run import places
from vfs.run.command import ending_in_order
from vfs.run.output import begin
from vfs.run.places import OpenRepository, Place
from vfs.run.record import PIPELINE_KIND

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import JSON
    from vfs.pipeline.elsewhere import Unlock
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository

VERSION: Final = 1
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
            _begin(repo, spec)
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


def _begin(repo: Repository, spec: Spec) -> None:
    """Make the branches that the pipeline writes to, where they are missing."""
    if not repo.store.refs.has_data_set(spec.data_set):
        repo.create_data_set(spec.data_set)
    first = begin(repo, spec.data_set, spec.branch)
    own = datums_branch(spec.name)
    if repo.store.refs.get(spec.data_set, own) is None:
        repo.set_branch(spec.data_set, own, first, expected=None, why="pipeline")


def _new_job(repo: Repository, spec: Spec, plan: Plan) -> Job:
    return Job(
        id=places.new_id(),
        pipeline=spec.name,
        global_id=global_id(repo, plan.cause),
        state="running",
        inputs=commits_of(plan.sources),
        spec=plan.spec_id,
        started=time.time(),
        total=len(plan.datums),
        skipped=len(plan.done),
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
            self._job.commit = self._commit(repo).hex()
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
            here = LocalExecutor(max(1, min(spec.parallelism, cores // spec.cpus)))
            with self._mounted() as mounts:
                yield Way(partial(task_of, spec), here, mounts)
            return
        from vfs.pipeline import dask  # noqa: PLC0415 - takes half a second

        needs = {"cpus": float(spec.cpus)} | ({"memory": float(spec.memory)} if spec.memory else {})
        if not remote:
            beside = dask.DaskExecutor(scheduler, spec.parallelism, dask.HERE, needs)
            with self._mounted() as mounts:
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

    def _commit(self, repo: Repository) -> ObjectId:
        """Make the output's next version. Raises Conflict."""
        spec, plan = self._spec, self._plan
        done = finished(repo, spec)
        now = {one: done[one] for one in plan.datums}
        settled = self._settle(repo, set(done) - set(now))
        before = plan.before.outputs if plan.before else {}
        gone = {one: tree for one, tree in before.items() if now.get(one) != tree}
        new = {one: tree for one, tree in now.items() if before.get(one) != tree}
        self._job.dropped = len(set(before) - set(now))
        head = require_branch(repo, spec.data_set, spec.branch).commit
        with PassingObjects(repo.reader) as objects:
            base = plan.before.tree if plan.before else None
            root = put_together(objects, objects, base, gone, new, now)
            draft = Draft(
                root=root,
                message=f"Pipeline {spec.name}",
                author=identity.author(),
                provenance=self._provenance(settled, root.content),
            )
            return land(
                repo, spec.data_set, spec.branch, head, [draft], objects=objects, why="pipeline"
            )

    def _settle(self, repo: Repository, stale: set[str]) -> ObjectId:
        """Let go of what datums wrote that are none any more; return the version of the table."""
        spec = self._spec
        with repo.store.ingest() as ingest:
            return repo.commit_root(
                spec.data_set,
                datums_branch(spec.name),
                lambda head: table.with_changes(repo, ingest, table.root_of(head), {}, stale),
                ingest=ingest,
                message=f"Datums of {spec.name}",
                provenance={"kind": table.KIND, "pipeline": spec.name},
            ).commit

    def _provenance(self, datums: ObjectId, tree: ObjectId) -> dict[str, JSON]:
        spec, plan, job = self._spec, self._plan, self._job
        return {
            "kind": PIPELINE_KIND,
            "version": VERSION,
            "pipeline": spec.name,
            "id": job.id,
            "global_id": job.global_id,
            "command": list(spec.command),
            "spec": spec.document,
            "spec_id": plan.spec_id,
            "code": plan.code,
            "inputs": [source.facts() for source in plan.sources],
            "output": {
                "data_set": spec.data_set,
                "branch": spec.branch,
                "path": "",
                "tree": tree.hex(),
            },
            "datums": {
                "table": datums.hex(),
                "total": job.total,
                "skipped": job.skipped,
                "run": job.done,
                "dropped": job.dropped,
            },
            "host": identity.host(),
            "user": identity.who().rpartition("@")[0],
            "started": iso(int(job.started * 1e9), precise=True),
            "ended": iso(now_ns(), precise=True),
            "seconds": round(job.seconds, 3),
        }
