"""The command remote: names for remotes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, json_option, note, pass_settings
from vfs.cli.secrets import FILE_TYPE, new_passphrase, secret_options, unlockable
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

_OPTIONS: Final = {
    "endpoint": ("add",),
    "encrypt": ("add",),
    "key_file": ("add", "passphrase"),
    "passphrase_file": ("passphrase",),
    "new_key_file": ("passphrase",),
}
"""With what each option stands."""


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
        (
            "A remote that is encrypted with it",
            "vfs remote add origin s3://bucket/data --key-file data.key",
        ),
        ("Another passphrase for one; it is asked for", "vfs remote passphrase origin"),
        (
            "A key file in the place of a passphrase",
            "vfs remote passphrase origin --new-key-file data.key",
        ),
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
@click.option("--encrypt", is_flag=True, help="The first push is to make it an encrypted one.")
@secret_options
@click.option(
    "--new-key-file",
    metavar="FILE",
    type=FILE_TYPE,
    help="Of passphrase: a key file that is to open it, in the place of a passphrase.",
)
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
    encrypt: bool,
    key_file: Path | None,
    passphrase_file: Path | None,
    new_key_file: Path | None,
    as_json: bool,
) -> None:
    """List, add or remove remotes.

    A remote is a bucket of an object store, or a directory, through which stores share versions.
    The first push makes it. Credentials are taken from where the cloud's own tools look for them
    (environment, profiles, the machine's role); they are never kept, and never part of a URL.

    With --encrypt or --key-file the remote is an encrypted one, and a plain one in its place is
    refused. What opens it, a passphrase or a key file, can be changed: nothing is encrypted again,
    so who kept a copy of what the bucket held, and has the old one, can read it.
    """
    from vfs.sync import remotes

    _check_usage(ctx, action, name, url)
    if action == "key":
        assert name is not None
        _make_key(Path(name))
    elif action == "passphrase":
        assert name is not None
        _change_secret(settings, name, key_file, passphrase_file, new_key_file)
    elif action == "add":
        assert name is not None
        assert url is not None
        # What it is opened with is looked at now, not at the first push.
        place = unlockable(remotes.RemotePlace(name, url), key_file, encrypt=encrypt)
        with settings.repository(cached=True) as repo:
            remotes.add_remote(
                repo.store,
                name,
                url,
                endpoint,
                encrypted=place.encrypted,
                key_file=place.key_file,
            )
        click.echo(f"added the remote {name}: {url}")
    elif action == "remove":
        assert name is not None
        with settings.repository(cached=True) as repo:
            remotes.remove_remote(repo.store, name)
        click.echo(f"removed the remote {name}")
    else:
        with settings.repository(readonly=True, cached=True) as repo:
            _list(remotes.remote_places(repo.store), as_json=as_json)


def _check_usage(ctx: click.Context, action: str, name: str | None, url: str | None) -> None:
    """Raise UsageError where arguments or options don't stand with the action."""
    wanted = _ARGUMENTS[action]
    if (name is not None) + (url is not None) != (len(wanted.split(" and ")) if wanted else 0):
        raise click.UsageError(f"'{action}' takes {wanted or 'nothing'}", ctx)
    for option, actions in _OPTIONS.items():
        given = ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
        if given and action not in actions:
            raise click.UsageError(
                f"--{option.replace('_', '-')} stands with {' and '.join(actions)}", ctx
            )


def _make_key(path: Path) -> None:
    from vfs.remote.secrets import make_key_file

    make_key_file(path)
    click.echo(f"made the key file {path}; keep a copy of it: without it, nothing opens")


def _change_secret(
    settings: Settings,
    name: str,
    key_file: Path | None,
    passphrase_file: Path | None,
    new_key_file: Path | None,
) -> None:
    """Have a remote opened with a new passphrase, or with a key file."""
    from vfs.remote.secrets import read_key_file
    from vfs.sync.remotes import change_secret, find_remote, note_key_file

    new = None if new_key_file is None else read_key_file(new_key_file)
    with settings.repository(readonly=True, cached=True) as repo:
        place = unlockable(find_remote(repo.store, name), key_file, passphrase_file)
    change_secret(place, new_passphrase if new is None else lambda _: new)
    with settings.repository(cached=True) as repo:
        note_key_file(repo.store, name, str(new_key_file.absolute()) if new_key_file else None)
    what = "another passphrase" if new_key_file is None else f"the key file {new_key_file}"
    click.echo(f"the remote {name} is opened with {what} from now on")


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
