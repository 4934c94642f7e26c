"""The command log."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, pass_settings
from vfs.cli.targets import TargetType
from vfs.clock import iso
from vfs.model.entry import directory_totals

if TYPE_CHECKING:
    from vfs.ids import ObjectId
    from vfs.model.commit import Commit
    from vfs.model.names import Target
    from vfs.store.refs import Ref


@click.command(
    cls=Command,
    examples=(
        ("All versions on the branch main, newest first", "vfs log data"),
        ("The last three up to v2, a line each", "vfs log data@v2 -n 3 --oneline"),
        ("The newest version's id, in a script", "vfs log data -n 1 --json | jq -r .commit"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION]",
    type=TargetType(),
    help="Where to start. [default revision: main]",
)
@click.option(
    "-n", "--number", "limit", metavar="N", type=click.IntRange(min=1), help="Show N versions."
)
@click.option("--oneline", is_flag=True, help="Show each version on one line.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one line for each version.")
@pass_settings
def log(
    settings: Settings, /, target: Target, limit: int | None, oneline: bool, as_json: bool
) -> None:
    """Show the versions of a data set.

    Starts at a revision and follows the versions it was made from, newest first. "Holds" counts the
    files of a version, in all its directories, and their bytes.

    JSON: commit, parents, refs, time (UTC), author, message, files, directories, bytes, and
    provenance, which is the command, the source and the machine that made the version.
    """
    with settings.repository(readonly=True) as repo:
        refs: defaultdict[ObjectId, list[Ref]] = defaultdict(list)
        for ref in repo.refs(target.data_set):
            refs[ref.commit].append(ref)
        for oid, commit in repo.log(target.data_set, target.revision, limit=limit):
            if as_json:
                output.write_json(_record(oid, commit, refs[oid]), indent=None)
            elif oneline:
                _write_line(oid, commit, refs[oid])
            else:
                _write(oid, commit, refs[oid])


def _record(oid: ObjectId, commit: Commit, refs: list[Ref]) -> dict[str, Any]:
    totals = directory_totals(commit.root)
    return {
        "commit": oid.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "refs": [{"name": ref.name, "kind": ref.kind} for ref in refs],
        "time": iso(commit.time_ns, precise=True),
        **output.text_fields("author", commit.author),
        **output.text_fields("message", commit.message),
        "files": totals.files,
        "directories": totals.dirs,
        "bytes": totals.bytes,
        "provenance": output.json_safe(dict(commit.provenance)),
    }


def _names(refs: list[Ref]) -> str:
    # Tags and branches are told apart by colour on a terminal, and by the word everywhere.
    return ", ".join(
        click.style(ref.name, fg="green", bold=True)
        if ref.kind == "branch"
        else click.style(f"tag: {ref.name}", fg="yellow", bold=True)
        for ref in refs
    )


def _write(oid: ObjectId, commit: Commit, refs: list[Ref]) -> None:
    totals = directory_totals(commit.root)
    names = f" ({_names(refs)})" if refs else ""
    click.echo(click.style(f"commit {oid.hex()}", fg="yellow") + names)
    if len(commit.parents) > 1:
        click.echo("Merge:  " + " ".join(p.hex()[: output.ID_DIGITS] for p in commit.parents))
    click.echo(f"Author: {output.printable(commit.author)}")
    click.echo(f"Date:   {output.local_time(commit.time_ns)}")
    click.echo(f"Holds:  {output.plural(totals.files, 'file')}, {output.size(totals.bytes)}\n")
    for line in commit.message.splitlines():
        click.echo(f"    {output.printable(line)}".rstrip())
    click.echo()


def _write_line(oid: ObjectId, commit: Commit, refs: list[Ref]) -> None:
    short = click.style(oid.hex()[: output.ID_DIGITS], fg="yellow")
    names = f" ({_names(refs)})" if refs else ""
    subject = output.printable(commit.message.partition("\n")[0])
    click.echo(f"{short} {output.local_time(commit.time_ns)}{names} {subject}")
