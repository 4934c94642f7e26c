"""The command volume-plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vfs.cli.command import Command, Settings, note, pass_settings

if TYPE_CHECKING:
    from vfs.daemon.volumes import Volume

MOUNT_SECONDS: Final = 60


def _run_directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path("/run") if os.geteuid() == 0 or not runtime else Path(runtime)


def _default_socket() -> Path:
    return _run_directory() / "docker" / "plugins" / "vfs.sock"


def _default_places() -> Path:
    return _run_directory() / "vfs" / "volumes"


@click.command(
    cls=Command,
    examples=(
        ("Serve Docker", "vfs volume-plugin --store /srv/store"),
        ("A version as a volume", "docker volume create --driver=vfs -o rev=data@v3 data-v3"),
        (
            "A branch as a volume, to be written to",
            "docker volume create --driver=vfs -o rev=data@exp x",
        ),
        ("Use it", "docker run --rm -v data-v3:/data IMAGE ls /data"),
        ("Serve Podman, whose containers.conf names the socket", "vfs volume-plugin --socket SOCK"),
    ),
)
@click.option(
    "--socket",
    "path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=_default_socket,
    show_default="/run/docker/plugins/vfs.sock",
    help="Where to listen.",
)
@click.option(
    "--mounts",
    "places",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_places,
    show_default="/run/vfs/volumes",
    help="The directory in which volumes are mounted.",
)
@click.option(
    "--allow-other/--no-allow-other",
    default=None,
    help="Let users in containers in that are not who serves. [default: as root]",
)
@pass_settings
def volume_plugin(
    settings: Settings, /, path: Path, places: Path, allow_other: bool | None
) -> None:
    """Give Docker and Podman versions as volumes.

    Stays, and answers the volume plugin protocol until Ctrl-C or SIGTERM. A volume of a version
    is read-only; that of a branch is written to ('-o ro=true': as it was committed last), and
    'vfs commit' makes a version of it. A volume is mounted while containers use it, once for all
    of them. Mounts go on when this process ends, and it knows them when it is started again.
    """
    from vfs.daemon import notify, volumes
    from vfs.daemon.volume_server import serve

    store = settings.store.absolute()
    with settings.repository(readonly=True):
        pass  # a store that can't be opened is said now
    others = os.geteuid() == 0 if allow_other is None else allow_other

    def mount(volume: Volume, place: Path) -> None:
        _mount(store, volume, place, allow_other=others)

    def check(text: str) -> str:
        return _check(settings, text)

    def ready() -> None:
        note(f"volumes of {store} for {path}, until Ctrl-C")
        notify.tell(notify.READY)

    path.parent.mkdir(parents=True, exist_ok=True)
    with volumes.opened(store, places.absolute(), mount) as opened:
        serve(path, opened, check, ready)


def _mount(store: Path, volume: Volume, place: Path, *, allow_other: bool) -> None:
    """Mount in a program of its own: what forks a daemon must not hold this one's sockets."""
    from vfs.errors import MountProblem

    flags = [
        *(["--read-only"] if volume.read_only else []),
        *(["--allow-other"] if allow_other else []),
    ]
    command = [sys.executable, "-m", "vfs", "--store", str(store), "mount", *flags, volume.rev]
    try:
        done = subprocess.run(
            [*command, str(place)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MOUNT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise MountProblem(f"{volume.rev} was not mounted in {MOUNT_SECONDS} s") from exc
    if done.returncode != 0:
        said = " ".join(done.stderr.removeprefix("vfs: ").split())
        raise MountProblem(f"can't mount {volume.rev}: {said}")


def _check(settings: Settings, text: str) -> str:
    """Return the version as it is written. Raises InvalidName, NotFound."""
    from vfs.errors import InvalidInput
    from vfs.model.names import parse_target

    target = parse_target(text)
    if target.path:
        raise InvalidInput("only a whole version can be a volume, not a directory of it")
    with settings.repository(readonly=True) as repository:
        if repository.refs(target.data_set):  # else it is new, and main is yet to be written
            repository.resolve(target.data_set, target.revision)
    return str(target)
