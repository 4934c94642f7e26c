"""The command backup."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from vfs.cli import output
from vfs.cli.command import Command, Settings, note, pass_settings
from vfs.cli.progress import byte_progress
from vfs.errors import InvalidInput

if TYPE_CHECKING:
    from vfs.store.backup import BackupInfo

STDIO = "-"


@click.command(
    cls=Command,
    examples=(
        ("Tonight's backup, in place of last night's", "vfs backup /backups/store.vfsbackup"),
        ("To another machine", "vfs backup - | ssh host 'cat > store.vfsbackup'"),
        ("Whether a backup is what it was", "vfs backup --verify /backups/store.vfsbackup"),
        (
            "A store from a backup",
            "vfs backup --restore /backups/store.vfsbackup --store /data/store",
        ),
    ),
)
@click.argument(
    "file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="The backup; - is standard output, or with --verify and --restore standard input.",
)
@click.option("--verify", is_flag=True, help="Read a backup, and compare its bytes with its hash.")
@click.option("--restore", is_flag=True, help="Make the store that --store names of a backup.")
@pass_settings
def backup(settings: Settings, /, file: str, verify: bool, restore: bool) -> None:
    """Write the whole store into one file.

    The backup holds every version, branch and tag, and what was written to branches and not
    committed, as of one moment; the store may be in use meanwhile, and nothing waits. A FILE that
    is a backup is replaced when the new one is on the disk, anything else is left alone.

    --restore makes a new store. It verifies the backup, and the store is there when it is whole, or
    not at all. A store that is there is never restored over: move it away first.

    The store's logs, and what makes the next import of the same directory quick, are in no backup.
    """
    if verify and restore:
        raise click.UsageError("--restore verifies anyway: give one of --verify and --restore")
    begun = time.monotonic()
    if restore:
        info, done = _restore(settings.store, file), f"made the store {settings.store} of"
    elif verify:
        info, done = _verify(file), "sound:"
    else:
        info, done = _save(settings, file), "wrote"
    took = output.seconds(time.monotonic() - begun)
    note(
        f"{done} a backup of {output.local_time(info.time_ns)}, {output.size(info.size)}, "
        f"store {info.uuid}; {took}"
    )


def _save(settings: Settings, file: str) -> BackupInfo:
    from vfs.store.backup import save_backup, write_backup

    if file == STDIO and sys.stdout.isatty():
        raise click.UsageError("- is standard output, which is a terminal")
    with settings.repository(readonly=True) as repo:
        store = repo.store
        with byte_progress(store.used_bytes()) as on_bytes:
            if file == STDIO:
                return write_backup(store, sys.stdout.buffer, on_bytes)
            return save_backup(store, Path(file), on_bytes)


def _verify(file: str) -> BackupInfo:
    from vfs.store.backup import read_backup

    with _opened(file) as (source, name, total), byte_progress(total) as on_bytes:
        return read_backup(source, name, None, on_bytes)


def _restore(store: Path, file: str) -> BackupInfo:
    from vfs.store.backup import restore_backup

    with _opened(file) as (source, name, total), byte_progress(total) as on_bytes:
        return restore_backup(source, name, store, on_bytes)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, str, int | None]]:
    """Yield a backup to be read, what to call it, and its size, where that is known."""
    with ExitStack() as stack:
        if file != STDIO:
            try:
                source = stack.enter_context(Path(file).open("rb"))
            except OSError as error:
                raise InvalidInput(f"{file} can't be read: {error.strerror}") from error
            yield source, file, Path(file).stat().st_size
        elif sys.stdin.isatty():
            raise click.UsageError("- is standard input, which is a terminal")
        else:
            yield sys.stdin.buffer, "the backup", None
