"""The commands of pipeline that run it by itself, or no more: start, stop, delete, wait, serve."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vfs.cli.command import Command, Settings, note, pass_settings, warn

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vfs.pipeline.triggers import Standing
    from vfs.repo.repository import Repository

EXIT_FAILED: Final = 1
POLL_SECONDS: Final = 0.1


class PipelineType(click.ParamType[str]):
    """The name of a pipeline."""

    name = "pipeline"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer those that there are."""
        from click.shell_completion import CompletionItem

        from vfs.errors import VfsError
        from vfs.pipeline.records import all_known

        settings = ctx.find_object(Settings) or Settings()
        names: list[str] = []
        with suppress(VfsError, OSError), settings.repository(readonly=True) as repo:
            names = [one.spec.name for one in all_known(repo)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


name_argument = click.argument("name", type=PipelineType(), help="The pipeline.")


def service_runs(store: Path) -> bool:
    """Say whether somebody runs the pipelines of a store."""
    from vfs.pipeline.records import runner
    from vfs.pipeline.service import NAME

    return runner(store, NAME) is not None


@click.command(cls=Command, examples=(("Have it run by itself again", "vfs pipeline start edges"),))
@name_argument
@pass_settings
def start(settings: Settings, /, name: str) -> None:
    """Have a pipeline run by itself again."""
    from vfs.pipeline.records import set_stopped

    with settings.repository() as repo:
        set_stopped(repo, name, stopped=False)


@click.command(cls=Command, examples=(("Stop it, and its job", "vfs pipeline stop edges"),))
@name_argument
@pass_settings
def stop(settings: Settings, /, name: str) -> None:
    """Have a pipeline not run by itself, and stop its job.

    What the job has done is kept. 'vfs pipeline run' still runs it.
    """
    from vfs.pipeline.records import set_stopped

    with settings.repository() as repo:
        set_stopped(repo, name, stopped=True)
    _end_job(settings.store, name)


def _end_job(store: Path, name: str) -> None:
    """Stop a job that goes on, and wait for its end."""
    from vfs.pipeline.records import runner

    pid = runner(store, name)
    if not pid:  # 0: in another name space of processes, where nobody can be signalled from here
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while runner(store, name) == pid:
        time.sleep(POLL_SECONDS)


@click.command(cls=Command, examples=(("Forget a pipeline", "vfs pipeline delete edges"),))
@name_argument
@pass_settings
def delete(settings: Settings, /, name: str) -> None:
    """Forget a pipeline: stop it, and remove its jobs' records and logs.

    Its output stays, as any data set, with what its datums wrote (the branch vfs-datums-NAME).
    """
    from vfs.pipeline import records

    with settings.repository() as repo:
        records.set_stopped(repo, name, stopped=True)
    _end_job(settings.store, name)
    with settings.repository() as repo:
        records.delete(repo, settings.store, name)
    click.echo(f"forgot the pipeline {name}")


@click.command(
    cls=Command,
    examples=(
        ("Until all pipelines have done what there is to do", "vfs pipeline wait"),
        ("Until the output of one is that of its inputs", "vfs pipeline wait montage"),
    ),
)
@click.argument("name", required=False, type=PipelineType(), help="The pipeline. [default: all]")
@click.option("--timeout", metavar="S", type=float, help="Give up after so many seconds.")
@click.pass_context
@pass_settings
def wait(
    settings: Settings, ctx: click.Context, /, name: str | None, timeout: float | None
) -> None:
    """Wait until a pipeline, and those whose outputs lead to it, have nothing to do.

    Exit codes: 0; 1 where one of them failed, or nobody runs them, or the time is over.
    """
    from vfs.errors import Conflict

    begun = time.monotonic()
    while unsettled := _unsettled(settings, name):
        if timeout is not None and time.monotonic() - begun > timeout:
            raise Conflict(f"not done yet: {', '.join(unsettled)}")
        time.sleep(POLL_SECONDS)
    failed = [one for one, how in _standings(settings, name).items() if how == "failed"]
    for one in failed:
        warn(f"{one} failed: vfs pipeline inspect {one}")
    if failed:
        ctx.exit(EXIT_FAILED)


def _unsettled(settings: Settings, name: str | None) -> list[str]:
    """Return the pipelines that have something to do. Raises Conflict where nobody does it."""
    from vfs.errors import Conflict
    from vfs.pipeline.records import runner

    found = _standings(settings, name)
    running = [one for one in found if runner(settings.store, one) is not None]
    due = [one for one, how in found.items() if how == "due"]
    if due and not running and not service_runs(settings.store):
        raise Conflict(
            f"nobody runs what is due: {', '.join(due)}", hint="start: vfs pipeline serve"
        )
    return due + running


def _standings(settings: Settings, name: str | None) -> dict[str, Standing]:
    """Return how a pipeline and those before it stand."""
    from vfs.pipeline import records
    from vfs.pipeline.chain import upstream
    from vfs.pipeline.triggers import standings

    with settings.repository(readonly=True) as repo:
        found = standings(repo, settings.store, time.time())
        if name is None:
            return found
        records.known(repo, name)
        wanted = upstream([one.spec for one in records.all_known(repo)])[name] | {name}
    return {one: how for one, how in found.items() if one in wanted}


@click.command(
    cls=Command,
    examples=(
        ("Run what is due, until Ctrl-C", "vfs pipeline serve"),
        ("As a service of systemd (Type=notify)", "vfs pipeline serve --store /srv/store"),
    ),
)
@pass_settings
def serve(settings: Settings, /) -> None:
    """Run pipelines whenever they are due, until Ctrl-C or SIGTERM.

    One process for each store. Jobs that go on when it ends, however it ends, go on when it is
    started again: what is done by then is kept.
    """
    from vfs.daemon import logs as logging_
    from vfs.daemon import notify
    from vfs.pipeline.service import serve as run_service

    logging_.configure()

    def ready() -> None:
        note(f"running the pipelines of {settings.store}, until Ctrl-C")
        notify.tell(notify.READY)

    def looked_into() -> AbstractContextManager[Repository]:
        return settings.repository(readonly=True)

    run_service(settings.store.resolve(), looked_into, ready)
