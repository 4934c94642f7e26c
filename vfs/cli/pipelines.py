"""The command pipeline, and its commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings, warn
from vfs.cli.progress import stage_progress
from vfs.cli.secrets import secret_options, unlockable
from vfs.cli.serving import (
    EXIT_FAILED,
    delete,
    name_argument,
    serve,
    service_runs,
    start,
    stop,
    wait,
)

if TYPE_CHECKING:
    from vfs.sync.remotes import RemotePlace


class CommandGroup(Command, click.Group):
    """A command that has commands."""


@click.group(
    cls=CommandGroup,
    examples=(
        ("Make a pipeline of a specification", "vfs pipeline create edges.toml"),
        ("Bring its output up to date, here and now", "vfs pipeline run edges"),
        ("Do that whenever its inputs have new versions", "vfs pipeline serve"),
        ("How all of them stand", "vfs pipeline list"),
    ),
)
def pipeline() -> None:
    """Make versions from versions, as these come.

    A pipeline runs a command on pieces of its inputs, its datums: on each whose content is new.
    What the others wrote is taken over, what was made from what is gone goes, and all of it is the
    next version of the pipeline's output. How to write a specification is in docs/pipelines.md.
    """


@pipeline.command(
    cls=Command,
    examples=(
        ("Make a pipeline", "vfs pipeline create edges.toml"),
        ("Change it", "vfs pipeline create --update edges.toml"),
        ("Only see which datums it would have", "vfs pipeline create --dry-run edges.toml"),
    ),
)
@click.argument(
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The specification: .toml, .yaml or .json.",
)
@click.option("--update", is_flag=True, help="Change the pipeline that there is.")
@click.option("--dry-run", is_flag=True, help="Make nothing; list the datums there would be.")
@json_option
@pass_settings
def create(settings: Settings, /, path: Path, update: bool, dry_run: bool, as_json: bool) -> None:
    """Make a pipeline, or change one.

    With another command, code, variables or version all of its datums run again; other changes
    run none. Commands run in the directory of the specification, or what it says.

    JSON, with --dry-run: a list of datums: id, inputs (name, path), done.
    """
    from vfs.pipeline import records
    from vfs.pipeline.plan import all_datums
    from vfs.pipeline.spec import read_spec

    spec = read_spec(path)
    if dry_run:
        with settings.repository(readonly=True) as repo:
            rows = [(one.id, one.facts(), done) for one, done in all_datums(repo, spec)]
        _write_datums(rows, as_json=as_json)
        return
    with settings.repository() as repo:
        records.create(repo, spec, update=update)
    click.echo(f"{'changed' if update else 'made'} the pipeline {spec.name}")
    if not service_runs(settings.store):
        note(f"no service runs it: vfs pipeline serve; or once: vfs pipeline run {spec.name}")


@pipeline.command(
    "list",
    cls=Command,
    examples=(("All pipelines", "vfs pipeline list"), ("For a script", "vfs pipeline list --json")),
)
@json_option
@pass_settings
def list_(settings: Settings, /, as_json: bool) -> None:
    """List the pipelines, and how they stand.

    current: the output is that of the inputs as they are; due: a job is to run; behind: one whose
    output it reads has to go first; waiting: its trigger wants more; failed: the last job has, on
    these inputs; no input: an input has no version yet; stopped: it does not run by itself.

    JSON: a list of name, output, standing, running, last_job (see inspect, or null).
    """
    from vfs.pipeline import records
    from vfs.pipeline.triggers import standings

    with settings.repository(readonly=True) as repo:
        found = standings(repo, settings.store, time.time())
        outputs = {
            k.spec.name: f"{k.spec.data_set}@{k.spec.branch}" for k in records.all_known(repo)
        }
    rows = []
    documents = []
    for name, standing in found.items():
        last = next(iter(records.jobs(settings.store, name)), None)
        running = records.runner(settings.store, name) is not None
        ended = output.local_time(int(last.started * 1e9)) if last else ""
        datums = f"{last.done} run, {last.skipped} skipped" if last else ""
        rows.append((name, outputs[name], "running" if running else standing, datums, ended))
        documents.append(
            {
                "name": name,
                "output": outputs[name],
                "standing": standing,
                "running": running,
                "last_job": asdict(last) if last else None,
            }
        )
    if as_json:
        output.write_json(documents)
    elif rows:
        output.write_table(("PIPELINE", "OUTPUT", "STANDING", "LAST JOB", "BEGUN"), rows, cut=False)
    else:
        note("there is no pipeline; make one with: vfs pipeline create FILE")


@pipeline.command(
    cls=Command,
    examples=(
        ("Its jobs, the newest first", "vfs pipeline inspect edges"),
        (
            "The datums of its output, and what they were made from",
            "vfs pipeline inspect edges --datums",
        ),
        ("All of it, with the specification", "vfs pipeline inspect edges --json"),
    ),
)
@name_argument
@click.option("--datums", is_flag=True, help="List the datums that are done.")
@json_option
@pass_settings
def inspect(settings: Settings, /, name: str, datums: bool, as_json: bool) -> None:
    """Show the jobs of a pipeline, or its datums.

    JSON: name, spec, stopped, and jobs: of each id, global_id, state, inputs (commits by name),
    total, skipped, done, dropped (numbers of datums), seconds (of all commands together), started,
    ended, problem, failed (datums), commit. With --datums: a list of id, inputs (name, path), done.
    """
    from vfs.model.names import datums_branch
    from vfs.pipeline import records, table

    with settings.repository(readonly=True) as repo:
        found = records.known(repo, name)
        if datums:
            ref = repo.store.refs.get(found.spec.data_set, datums_branch(name))
            root = None if ref is None else table.root_of(repo.commit(ref.commit))
            rows = [] if root is None else [(*one, True) for one in table.inputs(repo, root)]
            _write_datums(rows, as_json=as_json)
            return
    jobs = records.jobs(settings.store, name)
    if as_json:
        document = {"name": name, "spec": dict(found.spec.document), "stopped": found.stopped}
        output.write_json({**document, "jobs": [asdict(job) for job in jobs]})
        return
    rows_ = [
        (job.id, job.state, str(job.total), str(job.done), str(job.skipped), str(job.dropped),
         job.global_id[: output.ID_DIGITS], job.commit[: output.ID_DIGITS], job.problem)
        for job in jobs
    ]  # fmt: skip
    columns = (
        "JOB",
        "STATE",
        ">DATUMS",
        ">RUN",
        ">SKIPPED",
        ">GONE",
        "GLOBAL ID",
        "COMMIT",
        "PROBLEM",
    )
    output.write_table(columns, rows_, cut=False)


@pipeline.command(
    cls=Command,
    examples=(
        ("What the commands of the last job wrote", "vfs pipeline logs edges"),
        ("Of one datum", "vfs pipeline logs edges --datum 3f0c"),
        ("Of an earlier job", "vfs pipeline logs edges --job 20261123-093000-5f0c1a"),
    ),
)
@name_argument
@click.option("--job", "job_id", metavar="ID", help="The job. [default: the last that ran any]")
@click.option("--datum", metavar="ID", default="", help="Only what this datum wrote.")
@pass_settings
def logs(settings: Settings, /, name: str, job_id: str | None, datum: str) -> None:
    """Write what the commands of a job wrote, of each try of each datum that has ended."""
    from vfs.errors import NotFound
    from vfs.pipeline import records

    with settings.repository(readonly=True) as repo:
        records.known(repo, name)
    for job in records.jobs(settings.store, name):
        path = records.job_log(settings.store, job)
        if path.exists() and job_id in (None, job.id):
            with path.open("rb") as file:
                output.write_all_of(_of_datum(file, f"== datum {datum}".encode()))
            return
    raise NotFound("there is no log of such a job", hint=f"see: vfs pipeline inspect {name}")


def _of_datum(lines: Any, head: bytes) -> Iterator[bytes]:
    shown = False
    for line in lines:
        if line.startswith(b"== datum "):
            shown = line.startswith(head)
        if shown:
            yield line


@pipeline.command(
    cls=Command,
    examples=(
        ("Bring the output up to date", "vfs pipeline run edges"),
        ("Run all datums again, whatever is done", "vfs pipeline run edges --again"),
        (
            "On the workers of a Dask cluster",
            "vfs pipeline run edges --scheduler tcp://cluster:8786",
        ),
        (
            "On workers of other machines, which read the inputs from a remote",
            "vfs pipeline run edges --scheduler tcp://cluster:8786 --remote origin",
        ),
    ),
)
@name_argument
@click.option("--again", is_flag=True, help="Run all datums, also those that are done.")
@click.option(
    "--scheduler",
    metavar="URL",
    default="",
    help="Of Dask, whose workers run the commands. [default: as the specification says]",
)
@click.option(
    "--remote",
    metavar="REMOTE",
    default="",
    help="A name or URL: the inputs are pushed there, and the scheduler's workers read them there. "
    "They need not see the store. [default: as the specification says]",
)
@secret_options
@json_option
@click.pass_context
@pass_settings
def run(
    settings: Settings,
    ctx: click.Context,
    /,
    name: str,
    again: bool,
    scheduler: str,
    remote: str,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Bring a pipeline's output up to date now, whatever its trigger says.

    Exit codes: 0; 1 where the job failed: the output is as it was, what was done is kept, and is
    not done again by the next job.

    JSON: the job, as inspect has it; null where there was nothing to do.
    """
    from vfs.pipeline.job import Cluster, run_job
    from vfs.repo.stages import Stage

    def unlock(place: RemotePlace) -> RemotePlace:
        return unlockable(place, key_file, passphrase_file)

    with stage_progress() as on_stage:
        job = run_job(
            settings.store.resolve(),
            settings.repository,
            name,
            again=again,
            cluster=Cluster(scheduler, remote, unlock),
            told=lambda job: on_stage(Stage("datums", job.done, job.total - job.skipped)),
        )
    if as_json:
        output.write_json(None if job is None else asdict(job))
    elif job is None:
        note(f"{name} is current: its output is that of its inputs as they are")
    elif job.state == "success":
        numbers = f"{job.done} run, {job.skipped} skipped, {job.dropped} gone"
        version = job.commit[: output.ID_DIGITS]
        click.echo(f"{name}: {output.plural(job.total, 'datum')} ({numbers}), {version}")
    if job is not None and job.state != "success":
        warn(f"{name}: {job.problem}")
        note(f"what its commands wrote: vfs pipeline logs {name} --job {job.id}")
        ctx.exit(EXIT_FAILED)


def _write_datums(rows: list[tuple[str, list[Any], bool]], *, as_json: bool) -> None:
    if as_json:
        output.write_json([{"id": one, "inputs": made, "done": done} for one, made, done in rows])
        return
    lines = []
    for one, made, done in rows:
        names = ", ".join(f"{piece['name']}:/{piece['path']}" for piece in made)
        lines.append((one[: output.ID_DIGITS], "done" if done else "to run", names))
    output.write_table(("DATUM", "", "MADE FROM"), lines, cut=False)


for _command in (start, stop, delete, wait, serve):
    pipeline.add_command(_command)
