"""Commands that run other commands on exact versions: run, rerun."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings, warn
from vfs.cli.targets import TargetType

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.run.inputs import Wanted
    from vfs.run.running import Outcome, Repeated

EXIT_DIFFERENT: Final = 1


class InputType(TargetType):
    """`[NAME=]data[@revision][:PATH]`."""

    name = "input"

    def __init__(self) -> None:
        super().__init__(path=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a `Wanted`."""
        from vfs.errors import InvalidName
        from vfs.run.inputs import Wanted, parse_input

        if isinstance(value, Wanted):
            return value
        try:
            return parse_input(value)
        except InvalidName as error:
            self.fail(f"{error}; {error.hint}" if error.hint else str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Offer versions, also behind NAME=."""
        name, equals, rest = incomplete.rpartition("=")
        found = super().shell_complete(ctx, param, rest)
        for item in found:
            item.value = f"{name}{equals}{item.value}"
        return found


@click.command(
    cls=Command,
    examples=(
        (
            "Train on v3, and make a version of what comes out",
            "vfs run --in data@v3 --out models@main -- python train.py",
        ),
        (
            "Two inputs, one of them a directory, by names of your own",
            "vfs run --in train=data@v3:train --in old=models@v1 --out models:tuned -- ./tune",
        ),
        (
            "Also record which files were read",
            "vfs run --ledger --in data@v3 --out models -- ./train.sh",
        ),
        ("What failed runs wrote", "vfs run --logs"),
        ("What one of them wrote", "vfs run --logs 20261123-093000-5f0c1a"),
        ("What a version was made from", "vfs provenance models@main"),
    ),
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.argument(
    "command",
    metavar="-- COMMAND [ARG...]",
    nargs=-1,
    type=click.UNPROCESSED,
    help="What to run, in this directory.",
)
@click.option(
    "--in",
    "inputs",
    metavar="[NAME=]DATASET[@REVISION][:DIR]",
    multiple=True,
    type=InputType(),
    help="A version to work on. NAME is the data set's, if none is given. May be repeated.",
)
@click.option(
    "--out",
    "target",
    metavar="DATASET[@BRANCH][:DIR]",
    type=TargetType(path=True),
    help="The branch that gets a new version, and where in it the result is to be.",
)
@click.option("--fresh", is_flag=True, help="Begin with an empty directory, not what is there.")
@click.option("-m", "--message", metavar="TEXT", help="What the new version is.")
@click.option("--author", metavar="TEXT", help="Who made it.")
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    multiple=True,
    help="A variable to pass to the command, and to record. May be repeated.",
)
@click.option("--keep-env", is_flag=True, help="Pass all variables to the command.")
@click.option("--ledger", is_flag=True, help="Record which files of the inputs were opened.")
@click.option(
    "--dir",
    "place",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The directory to be made for the run. [default: vfs-run-ID in $TMPDIR]",
)
@click.option(
    "--logs",
    metavar="[ID]",
    is_flag=False,
    flag_value="",
    help="Run nothing: list the runs whose output is kept, or write that of one.",
)
@click.pass_context
@pass_settings
def run(
    settings: Settings,
    ctx: click.Context,
    /,
    command: tuple[str, ...],
    inputs: tuple[Wanted, ...],
    target: Target | None,
    place: Path | None,
    logs: str | None,
    **options: Any,
) -> None:
    """Run a command on versions, and make one of what it writes.

    The command finds each input, read-only, in the directory that $VFS_IN_NAME names (in upper
    case, other characters as _), and writes to the one that $VFS_OUT names, which at first is as
    the branch has it. Both are in $VFS_RUN, as in/NAME and out.

    If it exits with 0, what it wrote becomes the next version of the branch, all at once, with a
    record of the run: the command, exact inputs, code, environment, machine and output. Otherwise
    the branch stays as it is, only the log is kept, and vfs run exits as the command did. Where
    the same files were changed in the branch meanwhile, the version is made on a branch run-ID
    instead (exit code 1).

    Whatever it wrote gets the time of the newest input (as $SOURCE_DATE_EPOCH), and the owner of
    the directory, so that the same bytes are the same version, whoever makes them. Of variables
    only those that matter are passed and recorded, unless --env or --keep-env says more. What
    looks like a secret is never recorded.
    """
    if logs is not None:
        _show_logs(settings, logs)
        return
    if target is None or not command:
        raise click.UsageError("say where to and what: vfs run --out DATASET -- COMMAND", ctx)
    from vfs.run import places
    from vfs.run.running import RunOrder
    from vfs.run.running import run as perform

    for run_id in places.clear_killed(settings.store, settings.repository):
        note(f"cleared what the run {run_id} left, which was killed")
    done = perform(
        RunOrder(
            store=settings.store.resolve(),
            open_repository=settings.repository,
            inputs=inputs,
            output=target,
            command=command,
            directory=Path.cwd(),
            place=None if place is None else place.absolute(),
            **options,
        )
    )
    _report(ctx, target, done)


def _report(ctx: click.Context, target: Target, done: Outcome) -> None:
    """Say what came out; the command's own output is on standard output."""
    if done.withheld:
        warn(f"not recorded, as they may be secret, or are long: {', '.join(done.withheld)}")
    if done.exit_code:
        warn(f"the command exited with {done.exit_code}: no version is made")
        note(f"its output is kept: vfs run --logs {done.run_id}")
        ctx.exit(done.exit_code)
    if done.commit is None:
        note(f"{target.data_set}@{done.branch} is as it was: the command changed nothing")
        return
    name = f"{target.data_set}@{done.branch}"
    note(f"{name} is now {done.commit.hex()[: output.ID_DIGITS]}, made by the run {done.run_id}")
    if done.conflict:
        from vfs.errors import Conflict
        from vfs.model.names import DEFAULT_BRANCH

        branch = f"{target.data_set}@{target.revision or DEFAULT_BRANCH}"
        raise Conflict(
            f"{done.conflict}; the result is {name}",
            hint=f"bring it in with: vfs merge {name} into {branch}",
        )


def _show_logs(settings: Settings, run_id: str) -> None:
    from vfs.run.logs import ids, log_path

    if run_id:
        with log_path(settings.store, run_id).open("rb") as file:
            output.write_all_of(iter(lambda: file.read(1 << 16), b""))
        return
    rows = []
    for one in ids(settings.store):
        status = log_path(settings.store, one).stat()
        rows.append((one, output.local_time(status.st_mtime_ns), output.size(status.st_size)))
    output.write_table(("RUN", "ENDED", ">OUTPUT"), rows, cut=False)


@click.command(
    cls=Command,
    examples=(
        ("Whether a version can be made again, to the byte", "vfs rerun models@v1"),
        ("Keep what comes out, to look at it", "vfs rerun models@v1 --keep again"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION]",
    type=TargetType(),
    help="A version that vfs run has made.",
)
@click.option("--keep", metavar="BRANCH", help="Keep the result on this new branch.")
@json_option
@click.pass_context
@pass_settings
def rerun(
    settings: Settings, ctx: click.Context, /, target: Target, keep: str | None, as_json: bool
) -> None:
    """Run again what made a version, and compare.

    Runs the recorded command on the same versions, with the recorded variables, in the directory
    it ran in (or else this one), and compares what it writes with what it wrote. Says what differs,
    and exits with 1 if anything does. No branch is changed.

    JSON: run, exit_code, same, code_changed, different (as vfs diff --json), kept (a commit, or
    null). What the command writes then goes to standard error.
    """
    from vfs.run import places
    from vfs.run.running import rerun as repeat

    places.clear_killed(settings.store, settings.repository)
    with _output_on_stderr(wanted=as_json):
        done = repeat(settings.repository, settings.store.resolve(), target, keep=keep)
    _report_repeated(target, done, as_json=as_json)
    if done.exit_code:
        note(f"its output is kept: vfs run --logs {done.run_id}")
    if not done.is_same:
        ctx.exit(EXIT_DIFFERENT)


@contextmanager
def _output_on_stderr(*, wanted: bool) -> Iterator[None]:
    """Send what goes to descriptor 1 to standard error meanwhile."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _report_repeated(target: Target, done: Repeated, *, as_json: bool) -> None:
    from vfs.cli import changes

    if as_json:
        output.write_json(
            {
                "run": done.run_id,
                "exit_code": done.exit_code,
                "same": done.is_same,
                "code_changed": done.code_changed,
                "different": [changes.record(difference) for difference in done.different],
                "kept": None if done.commit is None else done.commit.hex(),
            }
        )
        return
    if done.code_changed:
        warn("the code in the directory is not at the commit it was, or changed since")
    if done.exit_code:
        warn(f"the command exited with {done.exit_code} this time")
    elif done.is_same:
        click.echo(output.printable(f"{target}: the same, to the byte"))
    else:
        for difference in done.different:
            path = output.path_text(difference.path)
            click.echo(f"{difference.letter}  {path}{'/' if difference.is_dir else ''}")
        warn(f"{target}: not the same")
