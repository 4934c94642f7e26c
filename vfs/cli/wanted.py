"""What push, fetch and pull are asked for on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vfs.cli.targets import RemoteType, TargetType

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.remote.remote import Remote
    from vfs.repo.repository import Repository
    from vfs.store.refrows import Ref
    from vfs.sync.fetch import Wanted
    from vfs.sync.remotes import RemotePlace

targets_argument = click.argument(
    "targets",
    metavar="[DATASET[@NAME]]...",
    nargs=-1,
    type=TargetType(),
    help="A branch or tag, or all of a data set. [default: what went to or came from there before]",
)
from_option = click.option(
    "--from",
    "where",
    metavar="REMOTE",
    type=RemoteType(),
    help="A remote's name, its URL, or FILE.vfsbundle. [default: origin, or the only one]",
)


def check_targets(
    ctx: click.Context, targets: Sequence[Target], *, everything: bool, needed: bool = False
) -> None:
    """Raise UsageError unless targets and options stand together. *needed*: names of references."""
    if everything and targets:
        raise click.UsageError("--all takes no data sets", ctx)
    if needed and not (targets and all(target.revision for target in targets)):
        raise click.UsageError("--delete takes branches or tags: DATASET@NAME", ctx)


def local_refs(
    repo: Repository,
    place: RemotePlace,
    targets: Sequence[Target],
    *,
    everything: bool,
    ctx: click.Context,
) -> list[Ref]:
    """Return what is to be pushed. Raises NotFound, UsageError where nothing was named."""
    from vfs.errors import NotFound

    if everything:
        return repo.all_refs()
    found: dict[tuple[str, str], Ref] = {}
    for one in _wanted(repo, place, targets, ctx):
        refs = [ref for ref in repo.refs(one.data_set) if one.name in (None, ref.name)]
        if not refs and one.name is not None:
            raise NotFound(f"there is no branch or tag '{one.data_set}@{one.name}'")
        found |= {(ref.data_set, ref.name): ref for ref in refs}
    return list(found.values())


def wanted_there(
    repo: Repository,
    remote: Remote,
    place: RemotePlace,
    targets: Sequence[Target],
    *,
    everything: bool,
    ctx: click.Context,
) -> list[Wanted]:
    """Return what is to be fetched. Raises UsageError where nothing was named, now or before."""
    from vfs.sync.fetch import Wanted, known_data_sets

    if everything:
        return [Wanted(data_set) for data_set in known_data_sets(repo, remote, place.name)]
    return _wanted(repo, place, targets, ctx)


def _wanted(
    repo: Repository, place: RemotePlace, targets: Sequence[Target], ctx: click.Context
) -> list[Wanted]:
    """Return what is named, or else all that was pushed to there, or came from there, before."""
    from vfs.sync.fetch import Wanted

    if targets:
        return [Wanted(target.data_set, target.revision or None) for target in targets]
    seen = repo.store.tracking.all(place.name) if place.name else []
    data_sets = dict.fromkeys(one.data_set for one in seen)
    if not data_sets:
        raise click.UsageError("name data sets, or give --all", ctx)
    return [Wanted(data_set) for data_set in data_sets]
