"""The directory of a run, with its inputs and its output mounted in it, and what killed runs left.

A run holds the lock of its record, `<store>/run/runs/<id>.json`, as long as it lives. It is one of
fcntl(2), which the daemons of its mounts do not get with the fork: what they serve can so be told
from a run that lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vfs.daemon import branches, control, logs, mounts, owners, registry, unmount
from vfs.daemon.spec import MountSpec
from vfs.errors import AlreadyExists, MountProblem, NotFound
from vfs.fs.single import open_single
from vfs.model.names import Target, work_branch
from vfs.repo.branches import delete_branch
from vfs.store.shown import ShownSlots

if TYPE_CHECKING:
    from vfs.repo.repository import Repository
    from vfs.run.inputs import Input

OpenRepository = Callable[[], AbstractContextManager["Repository"]]

_FILE_MODE: Final = 0o600


def new_id() -> str:
    """Return a name for a run: its time (UTC), and what tells it from others of that second."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def default_directory(run_id: str) -> Path:
    """Return where a run has its files if nobody says otherwise."""
    return Path(tempfile.gettempdir()).resolve() / f"vfs-run-{run_id}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run has its files."""

    store: Path
    run_id: str
    directory: Path
    data_set: str  # of the output

    @property
    def output(self) -> Path:
        """Return the directory to write to."""
        return self.directory / "out"

    def input(self, name: str) -> Path:
        """Return the directory of an input."""
        return self.directory / "in" / name

    def reads_file(self, name: str) -> Path:
        """Return where it is noted which files of an input were opened."""
        return _records(self.store) / f"{self.run_id}.{name}.reads"


@contextmanager
def made(place: Place) -> Iterator[None]:
    """Make the directory of a run; it is gone afterwards, with the mounts and the work branch.

    Who is killed leaves all of it, for `clear_killed`. Raises AlreadyExists, MountProblem.
    """
    with ExitStack() as undo:
        _records(place.store).mkdir(mode=0o700, parents=True, exist_ok=True)
        record = _records(place.store) / f"{place.run_id}.json"
        fd = os.open(record, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        undo.callback(os.close, fd)
        undo.callback(record.unlink, missing_ok=True)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        facts = {"directory": str(place.directory), "data_set": place.data_set, "pid": os.getpid()}
        os.write(fd, json.dumps(facts).encode())
        try:
            place.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise AlreadyExists(
                f"there is a {place.directory} already", hint="name another one with --dir"
            ) from None
        undo.callback(_remove_directory, place.directory)
        place.output.mkdir()
        yield


def mount_input(place: Place, source: Input, *, ledger: bool) -> None:
    """Mount an input, read-only; it stays until `unmounted`. Raises MountProblem."""
    mountpoint = place.input(source.wanted.name)
    mountpoint.mkdir(parents=True)
    shown = ShownSlots(place.store, registry.mount_id(str(mountpoint)))
    target = source.wanted.target
    control.serve(
        MountSpec(
            store=place.store,
            mountpoint=mountpoint,
            target=Target(target.data_set, source.commit.hex(), target.path),
            workers=min(2, len(os.sched_getaffinity(0))),
            read_only=True,
        ),
        partial(
            open_single,
            place.store.resolve(),
            source.slot,
            shown,
            path=target.path,
            reads_file=place.reads_file(source.wanted.name) if ledger else None,
        ),
        shown=shown,
    )


def mount_output(place: Place) -> None:
    """Mount the work branch, to be written to. Raises MountProblem."""
    branch = Target(place.data_set, work_branch(place.run_id))
    control.mount(MountSpec(store=place.store, mountpoint=place.output, target=branch))


def unmount_output(place: Place) -> None:
    """End the mount of the work branch; on return the store has all that was written.

    Raises MountProblem, and what keeps it from being stored.
    """
    branch = work_branch(place.run_id)
    branches.checkpoint(place.store, place.data_set, branch)
    _end_mount(place.output)
    branches.stop(place.store, place.data_set, branch)


@contextmanager
def unmounted_at_the_end(place: Place, names: list[str]) -> Iterator[None]:
    """End all mounts of a run afterwards, whatever is open in them.

    Their logs go, too, if all went well: each run would add some.
    """
    mountpoints = [place.output, *(place.input(name) for name in names)]
    try:
        yield
    finally:
        for path in mountpoints:
            _end_mount(path)
    _forget_logs(place.store, mountpoints)


def _forget_logs(store: Path, mountpoints: Iterable[Path]) -> None:
    for path in mountpoints:
        name = registry.mount_id(str(path))
        (store / logs.LOG_DIR / f"{name}.log").unlink(missing_ok=True)


def _end_mount(path: Path) -> None:
    mount = mounts.mount_at(path)
    if mount is None or not mount.ours:
        return
    try:
        unmount(path)
    except MountProblem:  # something that left the process group has a file open
        with suppress(MountProblem):
            unmount(path, lazy=True)


def clear_killed(store: Path, open_repository: OpenRepository) -> list[str]:
    """Remove what runs left that were killed: mounts, branches, directories. Return their names."""
    cleared = []
    with suppress(FileNotFoundError):
        for record in sorted(_records(store).glob("*.json")):
            facts = _abandoned(record)
            if facts is not None:
                _clear(store, record, facts, open_repository)
                cleared.append(record.stem)
    return cleared


def _abandoned(record: Path) -> dict[str, Any] | None:
    """Return what a record says whose run does not live; None where it does."""
    try:
        with record.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            facts = json.loads(file.read() or b"{}")
    except (OSError, ValueError):
        return None
    # Empty: killed, or seen, before it was written, when there was nothing else.
    return facts if isinstance(facts, dict) and facts else None


def _clear(
    store: Path, record: Path, facts: dict[str, Any], open_repository: OpenRepository
) -> None:
    data_set, branch = str(facts.get("data_set")), work_branch(record.stem)
    directory = Path(str(facts.get("directory")))
    ours = (mount for mount in mounts.inside(directory) if mount.ours)
    for mount in sorted(ours, key=lambda mount: mount.mountpoint, reverse=True):
        _end_mount(Path(mount.mountpoint))
    # Whoever has served the branch has ended once it can be owned, and its lock goes with that.
    with suppress(MountProblem), owners.owned(store, data_set, branch, str(directory / "out")):
        pass
    with open_repository() as repo, suppress(NotFound):
        remove_branch(repo, data_set, branch)
    _forget_logs(store, [directory / "out", *(directory / "in").glob("*")])
    _remove_directory(directory)
    for reads in record.parent.glob(f"{record.stem}.*.reads"):
        reads.unlink(missing_ok=True)
    record.unlink(missing_ok=True)


def remove_branch(repo: Repository, data_set: str, branch: str) -> None:
    """Delete a work branch with all that is in it. Raises NotFound."""
    delete_branch(repo, data_set, branch, force=True)


def _remove_directory(directory: Path) -> None:
    """Remove a run's directory; never what is in a mount, or what others put there."""
    with suppress(OSError):
        for path in [*(directory / "in").glob("*"), directory / "in", directory / "out"]:
            with suppress(FileNotFoundError):
                path.rmdir()
        directory.rmdir()


def _records(store: Path) -> Path:
    return store / "run" / "runs"
