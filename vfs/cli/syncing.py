"""The commands push, fetch, pull and clone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfs.cli import output
from vfs.cli.command import (
    Command,
    DirectoryType,
    Settings,
    json_option,
    note,
    pass_settings,
)
from vfs.cli.progress import transfer_progress
from vfs.cli.secrets import secret_options, unlockable
from vfs.cli.targets import RemoteType, TargetType
from vfs.cli.transfers import fetched, note_fetched, short_id, write_pull, write_push
from vfs.cli.wanted import (
    check_targets,
    from_option,
    local_refs,
    targets_argument,
    wanted_there,
)

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.repo.repository import Repository
    from vfs.sync.remotes import RemotePlace


@click.command(
    cls=Command,
    examples=(
        ("Everything, to the remote 'origin'", "vfs push --all"),
        ("One branch", "vfs push data@main"),
        ("All branches and tags of a data set, elsewhere", "vfs push data --to backup"),
        ("Into a file, for a machine without a network", "vfs push data --to data.vfsbundle"),
        ("To a remote whose owner reads nothing", "vfs push --all --encrypt --key-file KEY"),
        ("Delete a branch there", "vfs push data@trial --delete"),
    ),
)
@targets_argument
@click.option(
    "--to",
    "where",
    metavar="REMOTE",
    type=RemoteType(),
    help="A remote's name, its URL, or FILE.vfsbundle. [default: origin, or the only one]",
)
@click.option("--all", "everything", is_flag=True, help="All data sets of the store.")
@click.option("-f", "--force", is_flag=True, help="Give up what is on the remote and not here.")
@click.option("-d", "--delete", is_flag=True, help="Delete the branches or tags there; logs stay.")
@click.option("--encrypt", is_flag=True, help="Make the remote or bundle an encrypted one.")
@secret_options
@json_option
@click.pass_context
@pass_settings
def push(
    settings: Settings,
    /,
    ctx: click.Context,
    targets: tuple[Target, ...],
    where: str | None,
    everything: bool,
    force: bool,
    delete: bool,
    encrypt: bool,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Send versions to a remote.

    Only what it lacks travels. A branch there moves on when all is there, at once or not at all;
    one that has versions which are not in it here is refused, and of two who push at once one is.
    Ctrl-C is safe at any time: the next push goes on where this one was.

    What is not committed stays here. JSON: moved, a list of data_set, name, kind, old, new, how
    (new, forward, forced, same, deleted); objects, bytes (sent), withheld (chunks that were erased
    from the remote, and so not sent), seconds.
    """
    from vfs.sync import push as pushing
    from vfs.sync.remotes import connected, find_remote

    check_targets(ctx, targets, everything=everything, needed=delete)
    began = time.monotonic()
    with settings.repository(cached=True) as repo:
        place = unlockable(
            find_remote(repo.store, where), key_file, passphrase_file, encrypt=encrypt
        )
        if delete:
            with connected(repo.store, place) as remote:
                deleted = [
                    pushing.delete_remote_ref(repo, remote, place.name, t.data_set, t.revision)
                    for t in targets
                ]
            result = pushing.PushResult(deleted, 0, 0)
        else:
            refs = local_refs(repo, place, targets, everything=everything, ctx=ctx)
            with (
                _interruptible("push"),
                connected(repo.store, place, write=True) as remote,
                transfer_progress() as shown,
            ):
                result = pushing.push(repo, remote, place.name, refs, force=force, progress=shown)
    write_push(result, time.monotonic() - began, as_json=as_json)


@click.command(
    cls=Command,
    examples=(
        ("What is new of the data sets that came from there", "vfs fetch"),
        ("One branch", "vfs fetch data@main"),
        ("Everything that is in a bundle", "vfs fetch --all --from data.vfsbundle"),
    ),
)
@targets_argument
@from_option
@click.option("--all", "everything", is_flag=True, help="All data sets of the remote.")
@secret_options
@json_option
@click.pass_context
@pass_settings
def fetch(
    settings: Settings,
    /,
    ctx: click.Context,
    targets: tuple[Target, ...],
    where: str | None,
    everything: bool,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Bring versions from a remote.

    No branch or tag here changes. The new versions can be named by their commit ids, which are
    shown: vfs diff data@main 3fa92b1c. Everything that comes is verified.

    JSON: refs, a list of data_set, name, kind, commit (null: deleted there), who, why; commits,
    objects, bytes (that came), erased (chunk and reason: what is here, and was erased there),
    erased_contents (the ids of such contents), seconds.
    """
    from vfs.sync import fetch as fetching
    from vfs.sync.remotes import connected, find_remote

    check_targets(ctx, targets, everything=everything)
    began = time.monotonic()
    with settings.repository(cached=True) as repo:
        place = unlockable(find_remote(repo.store, where), key_file, passphrase_file)
        with (
            _interruptible("fetch"),
            connected(repo.store, place) as remote,
            transfer_progress() as shown,
        ):
            wanted = wanted_there(repo, remote, place, targets, everything=everything, ctx=ctx)
            result = fetching.fetch(repo, remote, place.name, wanted, progress=shown)
    if as_json:
        refs = [
            {
                "data_set": ref.data_set,
                "name": ref.name,
                "kind": ref.kind,
                "commit": None if ref.commit is None else ref.commit.hex(),
                "who": ref.who,
                "why": ref.why,
            }
            for ref in result.refs
        ]
        output.write_json({"refs": refs, **fetched(result, time.monotonic() - began)})
        return
    output.write_table(
        ("REFERENCE", "COMMIT"),
        [(f"{ref.data_set}@{ref.name}", short_id(ref.commit)) for ref in result.refs],
    )
    note_fetched(result, time.monotonic() - began)


@click.command(
    cls=Command,
    examples=(
        ("Follow the remote", "vfs pull"),
        ("One branch", "vfs pull data@main"),
        ("A data set that is not here yet", "vfs pull images"),
        ("From a bundle", "vfs pull --all --from data.vfsbundle"),
    ),
)
@targets_argument
@from_option
@click.option("--all", "everything", is_flag=True, help="All data sets of the remote.")
@click.option("-f", "--force", is_flag=True, help="Give up what is here and not on the remote.")
@secret_options
@json_option
@click.pass_context
@pass_settings
def pull(
    settings: Settings,
    /,
    ctx: click.Context,
    targets: tuple[Target, ...],
    where: str | None,
    everything: bool,
    force: bool,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Fetch, and move branches on.

    Branches and tags that are not here are made. A branch moves on to the remote's version where
    that comes after its own; where both have versions of their own it stays, and is told. So does
    one with changes that are not committed. What was deleted on the remote stays here.

    JSON: moved, a list of data_set, name, kind, old, new, how (new, forward, forced, same);
    problems, a list of texts; commits, objects, bytes (that came), seconds.
    """
    from vfs.sync.remotes import find_remote

    check_targets(ctx, targets, everything=everything)
    with settings.repository(cached=True) as repo:
        place = unlockable(find_remote(repo.store, where), key_file, passphrase_file)
        _pull(repo, place, targets, everything=everything, force=force, as_json=as_json, ctx=ctx)


@click.command(
    cls=Command,
    examples=(
        ("A store with all that a remote has", "vfs clone s3://bucket/data ./store"),
        ("One data set, in the default store", "vfs clone file:///mnt/nas/data --only images"),
        ("From a bundle", "vfs clone data.vfsbundle ./store"),
    ),
)
@click.argument("url", metavar="URL", help="The remote, or a bundle (FILE.vfsbundle).")
@click.argument(
    "path",
    required=False,
    type=DirectoryType(),
    help="Where to make the store: a new or empty directory. Without it, where --store says.",
)
@click.option(
    "--only",
    "targets",
    metavar="DATASET[@NAME]",
    multiple=True,
    type=TargetType(),
    help="Only this; may be given several times.",
)
@click.option("--endpoint", metavar="URL", help="The service to ask, where it is not the cloud's.")
@secret_options
@json_option
@click.pass_context
@pass_settings
def clone(
    settings: Settings,
    /,
    ctx: click.Context,
    url: str,
    path: Path | None,
    targets: tuple[Target, ...],
    endpoint: str | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a store from a remote.

    The store gets all branches and tags, with all their versions, and calls the remote 'origin'. If
    it is interrupted, 'vfs pull --all' in the new store goes on. JSON: as of 'vfs pull'.
    """
    from vfs.remote.urls import check_url, is_bundle
    from vfs.repo.repository import Repository
    from vfs.sync.remotes import DEFAULT, RemotePlace, add_remote

    where = path or settings.store
    if not is_bundle(url):
        check_url(url)
    place = unlockable(RemotePlace("", url, endpoint), key_file, passphrase_file)
    with Repository.create(where) as repo:
        note(f"made a store in {where}")
        if not is_bundle(url):
            add_remote(
                repo.store,
                DEFAULT,
                url,
                endpoint,
                encrypted=place.encrypted,
                key_file=place.key_file,
            )
            place = replace(place, name=DEFAULT)
        _pull(repo, place, targets, everything=not targets, force=False, as_json=as_json, ctx=ctx)


def _pull(
    repo: Repository,
    place: RemotePlace,
    targets: Sequence[Target],
    *,
    everything: bool,
    force: bool,
    as_json: bool,
    ctx: click.Context,
) -> None:
    from vfs.sync import pull as pulling
    from vfs.sync.remotes import connected

    began = time.monotonic()
    with (
        _interruptible("pull"),
        connected(repo.store, place) as remote,
        transfer_progress() as shown,
    ):
        wanted = wanted_there(repo, remote, place, targets, everything=everything, ctx=ctx)
        result = pulling.pull(repo, remote, place.name, wanted, force=force, progress=shown)
    write_pull(result, time.monotonic() - began, as_json=as_json)


@contextmanager
def _interruptible(what: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort(f"the next {what} uses what was transferred") from None
