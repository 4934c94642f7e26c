"""What mount(8) and umount(8) call for lines of fstab(5): mount.fuse.vfs and umount.fuse.vfs.

Both have the arguments and exit codes of mount(8), not those of `vfs`. mount(8) looks for them in
/sbin, where links to them belong.
"""

from __future__ import annotations

import getopt
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli.caches import SizeType
from vfs.cli.command import fail, log_lines, note
from vfs.cli.mounting import default_workers
from vfs.cli.targets import TargetType
from vfs.defaults import default_store
from vfs.errors import MountProblem, VfsError

if TYPE_CHECKING:
    from vfs.daemon import MountSpec
    from vfs.model.names import Target

EXIT_USAGE: Final = 1  # mount(8), "EXIT STATUS"
EXIT_SYSTEM: Final = 2
EXIT_MOUNT: Final = 32

MOUNT_USAGE: Final = "mount.fuse.vfs SOURCE DIRECTORY [-o OPTION,...]"
UMOUNT_USAGE: Final = "umount.fuse.vfs DIRECTORY [-l]"
WHOLE: Final = ("hub", "none", "all")
"""Sources that stand for all versions of all data sets."""

_MOUNT_FLAGS: Final = "sfnvrwo:t:N:"
_UMOUNT_FLAGS: Final = "nlfvrt:N:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line of fstab asks for."""

    spec: MountSpec
    only_checks: bool  # -f: mount nothing
    verbose: bool


def parse(arguments: Sequence[str]) -> Line:
    """Return what mount(8) asks for. Raises UsageError for arguments, MountProblem for options."""
    from vfs.daemon import MountSpec

    try:
        flags, names = getopt.gnu_getopt(list(arguments), _MOUNT_FLAGS)
    except getopt.GetoptError as error:
        raise click.UsageError(str(error)) from error
    if len(names) != 2:
        raise click.UsageError(f"usage: {MOUNT_USAGE}")
    given = dict(flags)
    own, options = _own_options(",".join(value for flag, value in flags if flag == "-o"))
    source, mountpoint = names
    store = Path(own.get("store", default_store()))
    revision = own.get("rev", source)
    if source.startswith("/"):
        store, revision = Path(source), own.get("rev", WHOLE[0])
    size = own.get("dirty_limit", "128M")
    return Line(
        spec=MountSpec(
            store=store,
            mountpoint=Path(mountpoint).absolute(),
            target=_target(revision),
            workers=_workers(own["workers"]) if "workers" in own else default_workers(),
            options=options,
            read_only="-r" in given,
            dirty_limit=SizeType().convert(size, None, None),
        ),
        only_checks="-f" in given,
        verbose="-v" in given,
    )


def _own_options(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the options that choose what is shown, and those that say how it is mounted."""
    own: dict[str, str] = {}
    others: list[str] = []
    for option in filter(None, text.split(",")):
        name, _, value = option.partition("=")
        if name in ("store", "rev", "workers", "dirty_limit"):
            if not value:
                raise MountProblem(f"the option '{name}' has no value", hint=f"write {name}=...")
            own[name] = value
        elif name == "remount":
            raise MountProblem(
                "what is mounted keeps its options", hint="unmount it and mount it again"
            )
        elif option != "rw" or "ro" in others:  # mount(8) puts it there if nobody says 'ro'
            others.append(option)
    return own, tuple(others)


def _target(revision: str) -> Target | None:
    return None if revision in WHOLE else TargetType().convert(revision, None, None)


def _workers(text: str) -> int:
    workers: Any = click.IntRange(1, 64)(text)
    return int(workers)


def is_mounted(spec: MountSpec) -> bool:
    """Say whether just that is mounted there, as where `mount -a` is called twice."""
    from vfs.daemon import list_mounts

    wanted = spec.settled()
    return any(
        (info.mountpoint, info.store, info.state) == (wanted.mountpoint, wanted.store, "ok")
        and info.pid is not None
        and _same(info.target, wanted.target)
        for info in list_mounts()
    )


def _same(text: str | None, target: Target | None) -> bool:
    from vfs.model.names import DEFAULT_BRANCH, parse_target

    if text is None or target is None:
        return text is None and target is None
    other = parse_target(text)
    names = [(each.data_set, each.revision or DEFAULT_BRANCH) for each in (other, target)]
    return names[0] == names[1]


def mount() -> None:
    """Mount in the background what a line of fstab(5) asks for, and exit."""
    _exit(_mount)


def _mount() -> None:
    from vfs.daemon import mount as start

    line = parse(sys.argv[1:])
    if line.only_checks:
        return
    if is_mounted(line.spec):
        if line.verbose:
            note(f"{line.spec.mountpoint} is mounted already")
        return
    start(line.spec)


def umount() -> None:
    """End a mount, with the branches that are mounted inside, and exit."""
    _exit(_umount)


def _umount() -> None:
    from vfs.daemon import unmount

    try:
        flags, names = getopt.gnu_getopt(sys.argv[1:], _UMOUNT_FLAGS)
    except getopt.GetoptError as error:
        raise click.UsageError(str(error)) from error
    if len(names) != 1:
        raise click.UsageError(f"usage: {UMOUNT_USAGE}")
    unmount(Path(names[0]).absolute(), lazy="-l" in dict(flags))


def _exit(run: Callable[[], None]) -> None:
    log_lines()
    try:
        run()
    except click.ClickException as error:
        fail(error.format_message())
        sys.exit(EXIT_USAGE)
    except VfsError as error:
        fail(str(error), hint=error.hint)
        sys.exit(EXIT_MOUNT)
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror))
        sys.exit(EXIT_SYSTEM)
