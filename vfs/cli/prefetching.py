"""The command prefetch: a remote's version into its cache, before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfs.cli import output
from vfs.cli.caches import cache_options, cache_path, filled, place_of
from vfs.cli.command import Command, Settings, json_option, pass_settings
from vfs.cli.progress import transfer_progress
from vfs.cli.secrets import secret_options, unlockable
from vfs.cli.targets import TargetType

if TYPE_CHECKING:
    from vfs.model.names import Target


@click.command(
    cls=Command,
    examples=(
        ("All of a version, from the remote origin", "vfs prefetch data@v3"),
        ("What a training run reads", "vfs prefetch data@v3:images/train"),
        ("From a bucket, to be mounted --offline", "vfs prefetch --remote s3://bucket data@v3"),
    ),
)
@click.argument(
    "target",
    metavar="DATASET[@REVISION][:PATH]",
    type=TargetType(path=True),
    help="The version, or the file or directory in it.",
)
@click.option("--remote", "where", metavar="REMOTE", help="Its name, or its URL. [default: origin]")
@cache_options()
@secret_options
@json_option
@pass_settings
def prefetch(
    settings: Settings,
    /,
    target: Target,
    where: str | None,
    cache: Path | None,
    cache_size: int | None,
    timeout: float,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Fetch a remote's version before it is read.

    All of it, or of a path in it, is put into the cache that 'vfs mount --remote' reads from. What
    is there is not fetched again, so an interrupted one goes on. It ends with an error where the
    cache's limit would make it drop what is there.

    JSON: objects and bytes that were fetched.
    """
    from vfs.sync.cache import open_cache
    from vfs.sync.ondemand import Patience
    from vfs.sync.prefetch import prefetch as fetch

    place = unlockable(place_of(settings, where), key_file, passphrase_file)
    path = cache_path(cache, place)
    patience = filled(path, place, cache_size, target, Patience(timeout))
    with open_cache(path, patience) as repo:
        root = repo.commit(repo.resolve(target.data_set, target.revision).commit).root
        entry = repo.entry_at(root, target.path)
        with transfer_progress() as shown:
            objects, size = fetch(repo, entry, shown)
    if as_json:
        output.write_json({"objects": objects, "bytes": size})
    else:
        click.echo(f"fetched {output.plural(objects, 'object')}, {output.size(size)}: {target}")
