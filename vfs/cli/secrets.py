"""How commands come to the secret of an encrypted remote. It is never on the command line."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from vfs.remote.secrets import Kind, Secret
    from vfs.sync.remotes import RemotePlace

VARIABLE: Final = "VFS_PASSPHRASE"

FILE_TYPE = click.Path(dir_okay=False, path_type=Path)


def secret_options(command: Any) -> Any:
    """Add the options that name where a secret is; `unlockable` takes them."""
    command = click.option(
        "--passphrase-file",
        metavar="FILE",
        type=FILE_TYPE,
        help=f"Of an encrypted remote: its passphrase, else ${VARIABLE}, or it is asked for.",
    )(command)
    return click.option(
        "--key-file", metavar="FILE", type=FILE_TYPE, help="Of an encrypted remote: its key."
    )(command)


def unlockable(
    place: RemotePlace,
    key_file: Path | None = None,
    passphrase_file: Path | None = None,
    *,
    encrypt: bool = False,
) -> RemotePlace:
    """Return a remote with what opens it. Who names a secret, takes no plain remote.

    A file that is named is read at once: whatever the remote is, it has to be one. Raises
    InvalidInput.
    """
    from vfs.remote.secrets import passphrase, read_key_file, read_passphrase_file

    given: Secret | None = None
    if passphrase_file is not None:
        given = read_passphrase_file(passphrase_file)
    elif key_file is not None:
        given = read_key_file(key_file)

    def ask(kind: Kind | None) -> Secret:
        if given is not None:
            return given
        # Where somebody changed what opens it, the key file of before is of no use.
        if place.key_file and kind != "passphrase":
            return read_key_file(Path(place.key_file))
        if text := os.environ.get(VARIABLE):
            return passphrase(text)
        if kind == "key file" or not sys.stdin.isatty():
            from vfs.errors import RemoteProblem

            raise RemoteProblem(
                f"the remote is encrypted, and its {kind or 'secret'} was not given",
                hint=f"--key-file FILE, --passphrase-file FILE, or {VARIABLE}",
            )
        again = kind is None
        typed = click.prompt("Passphrase", hide_input=True, confirmation_prompt=again, err=True)
        return passphrase(typed)

    return replace(
        place,
        ask=ask,
        encrypted=place.encrypted or encrypt or bool(key_file or passphrase_file),
        key_file=str(key_file.absolute()) if key_file else place.key_file,
    )


def new_passphrase(_kind: Kind | None) -> Secret:
    """Ask twice for a passphrase that a remote is to have; without a terminal, read one line."""
    from vfs.remote.secrets import passphrase

    if not sys.stdin.isatty():
        return passphrase(sys.stdin.readline().rstrip("\r\n"))
    return passphrase(
        click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    )
