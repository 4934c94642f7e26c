"""The end of a job: what datums wrote becomes the next version of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfs.clock import iso, now_ns
from vfs.model.names import datums_branch
from vfs.pipeline import table
from vfs.pipeline.output import put_together
from vfs.pipeline.plan import change_of, table_now
from vfs.repo import identity
from vfs.repo.branches import require_branch
from vfs.repo.merge.landing import Draft, land
from vfs.repo.uncommitted import PassingObjects
from vfs.run.output import begin
from vfs.run.record import PIPELINE_KIND

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import JSON
    from vfs.pipeline.plan import Plan
    from vfs.pipeline.records import Job
    from vfs.pipeline.spec import Spec
    from vfs.repo.repository import Repository

VERSION: Final = 1


def make_branches(repo: Repository, spec: Spec) -> None:
    """Make the branches that the pipeline writes to, where they are missing."""
    if not repo.store.refs.has_data_set(spec.data_set):
        repo.create_data_set(spec.data_set)
    first = begin(repo, spec.data_set, spec.branch)
    own = datums_branch(spec.name)
    if repo.store.refs.get(spec.data_set, own) is None:
        repo.set_branch(spec.data_set, own, first, expected=None, why="pipeline")


def commit_output(repo: Repository, spec: Spec, plan: Plan, job: Job) -> ObjectId:
    """Make the output's next version; all datums are done. Raises Conflict."""
    change = change_of(repo, plan, table_now(repo, spec))
    settled = _settle(repo, spec, change.stale)
    job.dropped = len(plan.gone)
    head = require_branch(repo, spec.data_set, spec.branch).commit
    with PassingObjects(repo.reader) as objects:
        base = plan.before.tree if plan.before else None
        root = put_together(
            objects,
            objects,
            base,
            change.gone,
            change.new,
            lambda: table.outputs(repo, table_now(repo, spec)),
        )
        draft = Draft(
            root=root,
            message=f"Pipeline {spec.name}",
            author=identity.author(),
            provenance=_provenance(spec, plan, job, settled, root.content),
        )
        return land(
            repo, spec.data_set, spec.branch, head, [draft], objects=objects, why="pipeline"
        )


def _settle(repo: Repository, spec: Spec, stale: set[str]) -> ObjectId:
    """Let go of what datums wrote that are none any more; return the version of the table."""
    with repo.store.ingest() as ingest:
        return repo.commit_root(
            spec.data_set,
            datums_branch(spec.name),
            lambda head: table.with_changes(repo, ingest, table.root_of(head), {}, stale),
            ingest=ingest,
            message=f"Datums of {spec.name}",
            provenance={"kind": table.KIND, "pipeline": spec.name},
        ).commit


def _provenance(
    spec: Spec, plan: Plan, job: Job, datums: ObjectId, tree: ObjectId
) -> dict[str, JSON]:
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
