"""Commands about mounts: mount, umount, mounts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.caches import SizeType, absolute, cache_options, cache_path, filled, place_of
from vfs.cli.command import Command, DirectoryType, Settings, json_option, note, pass_settings
from vfs.cli.secrets import secret_options, unlockable
from vfs.cli.targets import TargetType

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vfs.model.names import Target

WORKERS_MAX: Final = 8  # by default; more cores than that wait for the kernel's queue


class MountArgument(TargetType):
    """A version or a mount point, before it is known which."""

    name = "mount_argument"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Leave *value* as it is; an empty one is neither."""
        if not value:
            self.fail("the name of a directory is missing", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer versions for the first of them, and directories for both."""
        from click.shell_completion import CompletionItem

        directories = CompletionItem(incomplete, type="dir")
        if ctx.params.get(str(param.name)):
            return [directories]
        return [directories, *super().shell_complete(ctx, param, incomplete)]


def default_workers() -> int:
    """Return the number of cores this process may use, at most WORKERS_MAX."""
    return min(len(os.sched_getaffinity(0)), WORKERS_MAX)


@click.command(
    cls=Command,
    examples=(
        ("Show all versions of all data sets", "vfs mount /mnt && ls /mnt"),
        ("What changed between two versions", "diff -r /mnt/data@v2 /mnt/data@v3"),
        ("Copy only what is new or changed", "rsync -a /mnt/data@v2..v3/{added,modified}/ DIR"),
        ("Work in a branch: made from main in no time", "mkdir /mnt/data@exp && cd /mnt/data@exp"),
        ("Show one version alone", "vfs mount data@v3 /srv/data"),
        ("Mount one branch alone, to write to it", "vfs mount data@exp /srv/exp"),
        ("For all users, executables not to be run", "vfs mount /mnt --allow-other -o noexec"),
        ("In a container or a service: do not return", "vfs mount --foreground /mnt"),
        ("Serve a FUSE device that a helper has mounted", "vfs mount -f data@v3 /dev/fd/5"),
        ("A remote's version, fetched as it is read", "vfs mount --remote origin data@v3 /mnt"),
        (
            "Work on a remote's branch without a clone",
            "vfs mount --remote URL data@main /mnt && cd /mnt",
        ),
        ("End it", "vfs umount /mnt"),
    ),
)
@click.argument(
    "arguments",
    metavar="[DATASET[@REVISION]] MOUNTPOINT",
    nargs=-1,
    required=True,
    type=MountArgument(),
    help="The version to show alone (without it, all are shown) and the empty directory to show it "
    "in.",
)
@click.option(
    "-f", "--foreground", is_flag=True, help="Stay, and end the mount on Ctrl-C or SIGTERM."
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    help=f"Processes that answer requests. [default: one per core, at most {WORKERS_MAX}]",
)
@click.option("--allow-other", is_flag=True, help="Let other users in, not only you.")
@click.option(
    "-o",
    "options",
    metavar="OPT[,OPT...]",
    multiple=True,
    help="Mount options, as mount(8) has them: noexec, nosuid, nodev, ...  May be repeated.",
)
@click.option(
    "-r",
    "--read-only",
    "--no-branches",
    is_flag=True,
    help="Show branches as they were committed last, and let nothing be written.",
)
@click.option(
    "--dirty-limit",
    metavar="SIZE",
    type=SizeType(),
    default="128M",
    show_default=True,
    help="How much a branch may hold in memory of what was written and is not stored yet: 64M, 1G.",
)
@click.option(
    "--remote",
    "where",
    metavar="REMOTE",
    help="Show a remote's versions, fetched as they are read: its name, or its URL.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="With --remote and a URL: the service to ask, where it is not the cloud's.",
)
@cache_options("With --remote")
@click.option("--offline", is_flag=True, help="With --remote: show what was fetched, ask for none.")
@secret_options
@pass_settings
def mount(
    settings: Settings,
    /,
    arguments: tuple[str, ...],
    foreground: bool,
    workers: int | None,
    allow_other: bool,
    options: tuple[str, ...],
    read_only: bool,
    dirty_limit: int,
    where: str | None,
    endpoint: str | None,
    cache: Path | None,
    cache_size: int | None,
    offline: bool,
    timeout: float,
    key_file: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Show versions as files.

    Without a version, MOUNTPOINT shows all versions of all data sets as directories
    data@REVISION: branches and tags are listed, and any other revision, such as data@main~2 or
    data@{2026-11-23}, is there when it is asked for. data@latest and dates are symbolic links to
    the exact version. New versions and branches appear within a second.

    Branches are written to, each in a mount of its own at its name, as any other directory. What
    is written there belongs to the next 'vfs commit'. mkdir MOUNTPOINT/data@NAME makes a branch
    from main, mkdir MOUNTPOINT/NAME a data set. Of a branch, one process writes at a time: what is
    mounted elsewhere already is written to there.

    All else is read-only. Files and directories that two versions share have the same inode
    number, so diff -r skips them and du counts them once.

    With --remote, versions that are on a remote are shown at once, and fetched as they are read.
    What was fetched is kept, and shared by all mounts of the cache. A reader gets an error when the
    remote does not answer in time; who reads later asks again. Branches are written to as any
    other. 'vfs commit' makes versions in the cache, which stay there until 'vfs push' has sent
    them; commands in a directory of the mount use the cache by themselves.

    The mount is served in the background until 'vfs umount MOUNTPOINT'. A mount whose server was
    killed is cleared first.
    """
    target, mountpoint = _split(arguments)
    store, patience = absolute(settings.store), None
    if where is not None:
        from vfs.sync.ondemand import Patience
        from vfs.sync.remotes import check_endpoint

        place = unlockable(place_of(settings, where), key_file, passphrase_file)
        if endpoint is not None:
            place = replace(place, endpoint=check_endpoint(endpoint))
        store = cache_path(cache, place)
        patience = filled(store, place, cache_size, target, Patience(timeout, offline))
    elif cache is not None or cache_size is not None or offline or endpoint is not None:
        raise click.UsageError("--endpoint, --cache, --cache-size and --offline go with --remote")
    from vfs.daemon import MountSpec
    from vfs.daemon import mount as start

    spec = MountSpec(
        store=store,
        mountpoint=mountpoint,
        target=target,
        workers=workers or (default_workers() if patience is None else WORKERS_MAX),
        allow_other=allow_other,
        options=tuple(part for option in options for part in option.split(",") if part),
        foreground=foreground,
        read_only=read_only,
        dirty_limit=dirty_limit,
        patience=patience,
    )
    what = "all versions" if target is None else str(target)
    if foreground:
        note(f"{what} on {mountpoint}, until Ctrl-C or 'vfs umount {mountpoint}'")
        start(spec)
        return
    start(spec)
    click.echo(
        output.printable(f"mounted {what} on {mountpoint}; 'vfs umount {mountpoint}' ends it")
    )


def _split(arguments: tuple[str, ...]) -> tuple[Target | None, Path]:
    ctx = click.get_current_context()
    if len(arguments) > 2:
        raise click.UsageError(f"one version and one mount point, not {len(arguments)}", ctx)
    mountpoint = absolute(Path(arguments[-1]))
    if len(arguments) == 1:
        return None, mountpoint
    return TargetType().convert(arguments[0], None, ctx), mountpoint


@click.command(
    cls=Command,
    examples=(
        ("End a mount", "vfs umount /mnt"),
        ("End it although files are still open in it", "vfs umount --lazy /mnt"),
    ),
)
@click.argument(
    "mountpoints",
    metavar="MOUNTPOINT...",
    nargs=-1,
    required=True,
    type=DirectoryType(),
    help="The directory that was named to 'vfs mount'.",
)
@click.option(
    "--lazy", is_flag=True, help="Take it away now, and let programs finish with what is open."
)
def umount(mountpoints: tuple[Path, ...], lazy: bool) -> None:
    """End a mount.

    Returns when the mount's servers have ended, and all that was written to branches is stored. A
    mount in use is left alone, unless --lazy is given. A mount whose server was killed is cleared.
    """
    from vfs.daemon import unmount

    for mountpoint in mountpoints:
        unmount(absolute(mountpoint), lazy=lazy)
        click.echo(output.printable(f"unmounted {mountpoint}"))


@click.command(
    cls=Command,
    examples=(
        ("What is mounted where", "vfs mounts"),
        ("End all mounts", "vfs mounts --json | jq -r '.[].mountpoint' | xargs -rn1 vfs umount"),
    ),
)
@json_option
def mounts(as_json: bool) -> None:
    """List the mounts.

    Lists the mounts of all stores on this machine. STATE is ok, or stale where the server was
    killed: 'vfs umount', or the next 'vfs mount' there, clears a stale one. SHOWS is ? where that
    is not known: of a stale mount, and of another user's.

    JSON: a list of mountpoint, store, target (null where all versions are shown), pid (null where
    SHOWS is ?), workers, writable (a branch that is written to), state.
    """
    from vfs.daemon import list_mounts

    found = list_mounts()
    if as_json:
        output.write_json(
            [
                {
                    **output.text_fields("mountpoint", os.fsencode(info.mountpoint)),
                    **output.text_fields("store", os.fsencode(info.store)),
                    "target": info.target,
                    "pid": info.pid,
                    "workers": info.workers,
                    "writable": info.writable,
                    "state": info.state,
                }
                for info in found
            ]
        )
    elif not found:
        note("nothing is mounted")
    else:
        output.write_table(
            ("MOUNTPOINT", "SHOWS", "STATE", ">PID", ">WORKERS", "STORE"),
            [
                (
                    str(info.mountpoint),
                    "?" if info.pid is None else info.target or "all versions",
                    info.state,
                    "" if info.pid is None else str(info.pid),
                    str(info.workers),
                    str(info.store),
                )
                for info in found
            ],
            cut=False,
        )
