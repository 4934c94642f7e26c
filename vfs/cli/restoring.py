"""The command restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfs.cli import output
from vfs.cli.branches import store_what_is_served
from vfs.cli.command import Command, Settings, pass_settings
from vfs.cli.merging import order_of, source_of, version_options
from vfs.cli.outcomes import report
from vfs.cli.targets import TargetType
from vfs.model.names import DEFAULT_BRANCH, Target

if TYPE_CHECKING:
    from vfs.repo.treepaths import Path


@click.command(
    cls=Command,
    examples=(
        ("One file as it was in v1", "vfs restore data@v1:labels.csv --into data@main"),
        ("Two directories of v1", "vfs restore data@v1:labels data@v1:images"),
        ("All of v1, as a new version of main", "vfs restore data@v1 --into data -m 'Back to v1'"),
        ("A directory of another data set", "vfs restore raw@v2:img --into data:raw/img"),
    ),
)
@click.argument(
    "sources",
    metavar="DATASET@REVISION[:PATH]...",
    nargs=-1,
    required=True,
    type=TargetType(path=True),
    help="What to restore: paths of one version, or all of it.",
)
@click.option(
    "--into",
    "target",
    metavar="DATASET[@BRANCH][:PATH]",
    type=TargetType(path=True),
    help="Where to; to the same paths unless a PATH says otherwise. [default: main]",
)
@version_options
@click.pass_context
@pass_settings
def restore(
    settings: Settings,
    ctx: click.Context,
    /,
    sources: tuple[Target, ...],
    target: Target | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring paths of a version back into a branch.

    Each path becomes what it is in the version, with all below: what is not there goes. Contents
    are not copied. In a mounted branch these are changes to be committed, or discarded, as any
    others; where it is not mounted, or with -m, they are a new version at once, for which the
    branch may have no uncommitted changes.

    JSON: as vfs merge --json; the action is "changed" where nothing was committed.
    """
    first = sources[0]
    if any((one.data_set, one.revision) != (first.data_set, first.revision) for one in sources):
        raise click.UsageError("the paths have to be of one version", ctx)
    branch = target or Target(first.data_set)
    if branch.path and len(sources) > 1:
        raise click.UsageError("only one path can be restored to another", ctx)
    paths = {source.path: branch.path or source.path for source in sources}
    store_what_is_served(settings, branch)
    if (
        not options["message"]
        and not options["dry_run"]
        and _change(settings, branch, first, paths)
    ):
        _report_change(branch, as_json=as_json)
        return
    from vfs.repo.merge import restore as restore_paths

    with settings.repository(cached=True) as repo, repo.store.writers.announce():
        done = restore_paths(repo, order_of(branch, options), source_of(repo, first, branch), paths)
    report(ctx, branch, done, as_json=as_json)


def _change(settings: Settings, branch: Target, source: Target, paths: dict[Path, Path]) -> bool:
    """Restore in a mounted branch; False where it is not mounted."""
    from vfs.daemon import branches

    with settings.repository(readonly=True, cached=True) as repo:
        version = repo.resolve(source.data_set, source.revision)
        root = repo.commit(version.commit).root
        for path in paths:  # all of them are there, before anything is done
            repo.entry_at(root, path)
    name = branch.revision or DEFAULT_BRANCH
    return branches.restore(settings.store, branch.data_set, name, version.commit, paths)


def _report_change(branch: Target, *, as_json: bool) -> None:
    name = branch.revision or DEFAULT_BRANCH
    if as_json:
        record = {"data_set": branch.data_set, "branch": name, "action": "changed", "commit": None}
        output.write_json({**record, "changes": {}, "conflicts": []})
        return
    where = f"{branch.data_set}@{name}"
    click.echo(f"restored in {where}, to be committed: see 'vfs status {where}'")
