"""A datum's command as a task, where its inputs are mounted: on the job's machine or a worker's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vfs.pipeline import sandbox
from vfs.pipeline.executor import Task
from vfs.pipeline.output import OUTPUT_TIME_S
from vfs.pipeline.sandbox import INSIDE, View, variables
from vfs.run.containers import id_file
from vfs.run.environment import passed

if TYPE_CHECKING:
    from vfs.pipeline.datums import Datum
    from vfs.pipeline.spec import Spec


def task_of(spec: Spec, datum: Datum, view: View) -> Task:
    """Make the directories that a datum's command sees, and return what is to be run."""
    pfs = INSIDE if spec.sandbox else view.directory / "pfs"
    view.make(datum, links=not spec.sandbox)
    environment = passed(os.environ, (), everything=False) if spec.sandbox in (
        "", "bubblewrap"
    ) else {}  # fmt: skip
    environment |= {**spec.env, **variables(spec, datum, pfs)}
    environment["SOURCE_DATE_EPOCH"] = str(OUTPUT_TIME_S)
    command, container = list(spec.command), None
    binds = [(source, INSIDE / name) for source, name in view.sources(datum)]
    if spec.sandbox == "bubblewrap":
        command = sandbox.bubblewrap(spec, view, binds, environment)
    elif spec.sandbox:
        container = id_file(view.directory, spec.sandbox)
        command = sandbox.container(spec, view, binds, environment, container)
    return Task(
        name=datum.id,
        command=command,
        directory=Path(spec.directory),
        environment=passed(os.environ, (), everything=True) if spec.sandbox else environment,
        log=view.log,
        timeout_s=spec.timeout_s,
        memory=0 if spec.has_containers else spec.memory,
        # In a sandbox it is the same for all, and nobody leaves the sandbox.
        mark="" if spec.sandbox else f"VFS_PFS={pfs}",
        container=container,
        needs=tuple(view.mounts.values()),
    )
