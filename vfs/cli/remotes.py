"""The command remote: names for remotes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.secrets import new_passphrase, unlockable
from vfs.cli.targets import RemoteType

if TYPE_CHECKING:
    from vfs.sync.remotes import RemotePlace

_ARGUMENTS: Final = {
    "list": "",
    "add": "NAME and URL",
    "remove": "NAME",
    "key": "FILE",
    "passphrase": "NAME",
}
"""What can be done, and to what."""


@click.command(
    cls=Command,
    examples=(
        (
            "A bucket of S3; credentials are found as 'aws' finds them",
            "vfs remote add origin s3://bucket/data",
        ),
        (
            "A service of one's own that speaks S3",
            "vfs remote add lab s3://bucket --endpoint http://10.0.0.7:9000",
        ),
        (
            "A directory, on a disk or a network file system",
            "vfs remote add backup file:///mnt/nas/data",
        ),
        ("A new key for an encrypted remote, in a file", "vfs remote key data.key"),
        ("Another passphrase for one; it is asked for", "vfs remote passphrase origin"),
        ("List them", "vfs remote"),
        ("Forget one; nothing changes there", "vfs remote remove lab"),
    ),
)
@click.argument(
    "action",
    required=False,
    default="list",
    type=click.Choice(list(_ARGUMENTS)),
    help="What to do. [default: list]",
)
@click.argument(
    "name",
    required=False,
    type=RemoteType(),
    help="The remote; 'origin' is used by default. Of key: the file.",
)
@click.argument(
    "url", required=False, help="Where it is: s3://, gs:// or az://BUCKET/PREFIX, file:///DIR."
)
@click.option("--endpoint", metavar="URL", help="The service to ask, where it is not the cloud's.")
@json_option
@click.pass_context
@pass_settings
def remote(
    settings: Settings,
    /,
    ctx: click.Context,
    action: str,
    name: str | None,
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """List, add or remove remotes.

    A remote is a bucket of an object store, or a directory, through which stores share versions.
    The first push makes it. Credentials are taken from where the cloud's own tools look for them
    (environment, profiles, the machine's role); they are never kept, and never part of a URL.

    An encrypted remote is made by 'vfs push --encrypt'. Its passphrase can be changed: nothing is
    encrypted again, so who kept a copy of what the bucket held, and knows the old one, can read it.
    """
    from vfs.sync import remotes

    wanted = _ARGUMENTS[action]
    if (name is not None) + (url is not None) != (len(wanted.split(" and ")) if wanted else 0):
        raise click.UsageError(f"'{action}' takes {wanted or 'nothing'}", ctx)
    if endpoint is not None and action != "add":
        raise click.UsageError("--endpoint stands with add", ctx)
    if action == "key":
        from pathlib import Path

        from vfs.remote.secrets import make_key_file

        assert name is not None
        make_key_file(Path(name))
        click.echo(f"made the key file {name}; keep a copy of it: without it, nothing opens")
        return
    if action == "passphrase":
        assert name is not None
        _change_passphrase(settings, name)
        click.echo(f"the remote {name} is opened with another passphrase from now on")
        return
    with settings.repository(readonly=action == "list") as repo:
        if action == "add":
            assert name is not None
            assert url is not None
            remotes.add_remote(repo.store, name, url, endpoint)
            click.echo(f"added the remote {name}: {url}")
        elif action == "remove":
            assert name is not None
            remotes.remove_remote(repo.store, name)
            click.echo(f"removed the remote {name}")
        else:
            _list(remotes.remote_places(repo.store), as_json=as_json)


def _change_passphrase(settings: Settings, name: str) -> None:
    from vfs.sync.remotes import change_passphrase, find_remote, forget_key_file

    with settings.repository(readonly=True) as repo:
        place = unlockable(find_remote(repo.store, name))
    change_passphrase(place, new_passphrase)
    with settings.repository() as repo:
        forget_key_file(repo.store, name)


def _list(places: list[RemotePlace], *, as_json: bool) -> None:
    if as_json:
        output.write_json(
            [
                {
                    "name": one.name,
                    "url": one.url,
                    "endpoint": one.endpoint,
                    "encrypted": one.encrypted,
                    "key_file": one.key_file,
                }
                for one in places
            ]
        )
    elif places:
        rows = [
            (one.name, one.url, one.endpoint or "", _opened_by(one) if one.encrypted else "")
            for one in places
        ]
        output.write_table(("REMOTE", "URL", "ENDPOINT", "ENCRYPTED"), rows, cut=False)
    else:
        note("there is no remote; add one with: vfs remote add origin URL")


def _opened_by(place: RemotePlace) -> str:
    return f"key {place.key_file}" if place.key_file else "passphrase"
