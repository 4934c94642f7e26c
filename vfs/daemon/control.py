"""Mounting, unmounting and listing, as the command line and scripts ask for it."""

from __future__ import annotations

import errno
import functools
import logging
import os
import select
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from vfs import mountinfo
from vfs.daemon import logs, mounts, registry
from vfs.daemon.registry import Record
from vfs.errors import MountProblem

if TYPE_CHECKING:
    from vfs.fs.view import View
    from vfs.model.names import Target

log = logging.getLogger(__name__)

FUSE_DEVICE: Final = Path("/dev/fuse")
FUSE_CONF: Final = Path("/etc/fuse.conf")
_LAZY_WAIT_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class MountSpec:
    """What to mount where. *target* None is the hub: all versions of all data sets."""

    store: Path
    mountpoint: Path
    target: Target | None = None
    workers: int = 2
    allow_other: bool = False
    options: tuple[str, ...] = ()
    foreground: bool = False


@dataclass(frozen=True, kw_only=True)
class MountInfo:
    """A mount of this project; "stale": its daemon was killed."""

    mountpoint: Path
    store: Path
    target: str | None
    pid: int | None
    workers: int
    state: Literal["ok", "stale"]


def mount(spec: MountSpec) -> None:
    """Mount a version, or all: return when it answers, or at its end with *foreground*.

    A dead mount in the way is cleared with a warning in the log. Raises MountProblem; NotFound and
    StoreError where there is nothing to mount.
    """
    check(spec)
    serve(spec, _view_opener(spec), housekeeping=functools.partial(_clean_up_after_readers, spec))


def serve(
    spec: MountSpec,
    open_view: Callable[[], View],
    *,
    housekeeping: Callable[[], None] | None = None,
) -> None:
    """Mount what *open_view*, called in each worker, gives. As `mount`, without its checks."""
    spec = _absolute(spec)
    daemon = functools.partial(_run_daemon, spec, open_view, housekeeping)
    if spec.foreground:
        logs.configure()
        daemon(lambda: log.info("%s answers", spec.mountpoint))
        return
    from vfs.daemon.background import in_background  # noqa: PLC0415 - `umount` needs it not

    try:
        log_path, log_fd = logs.begin_file(spec.store, registry.mount_id(str(spec.mountpoint)))
    except OSError as exc:
        raise MountProblem(
            f"can't write a log in {spec.store}: {exc.strerror}",
            hint="the store has to be writable, or the user's runtime or temporary directory",
        ) from exc
    if not log_path.is_relative_to(spec.store):
        log.warning("the store %s can't be written: the log is %s", spec.store, log_path)

    def daemon_with_log(ready: Callable[[], None]) -> None:
        logs.configure()
        daemon(ready)

    in_background(daemon_with_log, log_path, log_fd)


def _run_daemon(
    spec: MountSpec,
    open_view: Callable[[], View],
    housekeeping: Callable[[], None] | None,
    ready: Callable[[], None],
) -> None:
    # pyfuse3 takes 0.2 s to import, and only a daemon needs it.
    from vfs.daemon.supervisor import Supervisor, watched_signals  # noqa: PLC0415
    from vfs.fuse.options import libfuse_options  # noqa: PLC0415
    from vfs.fuse.session import Session  # noqa: PLC0415

    mountpoint = str(spec.mountpoint)
    what = spec.target or "all versions"
    log.info("mounting %s of %s at %s", what, spec.store, mountpoint)
    options = libfuse_options(spec.options, store=spec.store, allow_other=spec.allow_other)
    record = Record(
        pid=os.getpid(),
        mountpoint=mountpoint,
        store=str(spec.store),
        target=None if spec.target is None else str(spec.target),
        workers=spec.workers,
        started_ns=time.time_ns(),
    )
    with registry.registered(record), watched_signals():
        supervisor = Supervisor(
            Session(mountpoint, options),
            mountpoint,
            open_view,
            workers=spec.workers,
            ready=ready,
            housekeeping=housekeeping,
        )
        supervisor.run()


def _absolute(spec: MountSpec) -> MountSpec:
    return MountSpec(
        store=spec.store.resolve(),
        mountpoint=mounts.real_path(spec.mountpoint),
        target=spec.target,
        workers=max(1, spec.workers),
        allow_other=spec.allow_other,
        options=spec.options,
        foreground=spec.foreground,
    )


def _view_opener(spec: MountSpec) -> Callable[[], View]:
    """Resolve what to mount; the store is closed again, as LMDB must not be held over a fork."""
    from vfs.repo.repository import Repository  # noqa: PLC0415

    store = spec.store.resolve()
    with Repository.open(store, readonly=True) as repository:
        if spec.target is None:
            from vfs.fs.hub import open_hub  # noqa: PLC0415

            return functools.partial(open_hub, store)
        if spec.target.path:
            raise MountProblem(
                "only a whole version can be mounted, not a directory of it",
                hint=f"mount {spec.target.data_set} and use the directory below the mount point",
            )
        from vfs.fs.single import open_single  # noqa: PLC0415

        resolved = repository.resolve(spec.target.data_set, spec.target.revision)
        return functools.partial(open_single, store, resolved.slot)


def _clean_up_after_readers(spec: MountSpec) -> None:
    """Free what readers that were killed still hold in the store; run in a process of its own."""
    from vfs.store.store import Store  # noqa: PLC0415

    with Store.open(spec.store.resolve(), readonly=True) as store:
        store.check_readers()


# ---------------------------------------------------------------------- checks before mounting


def check(spec: MountSpec) -> None:
    """Raise MountProblem for all that can be known beforehand, with a hint; clear a dead mount."""
    from vfs.fuse.options import libfuse_options, split  # noqa: PLC0415

    libfuse_options(spec.options, store=spec.store, allow_other=spec.allow_other)
    options = split(spec.options)
    _check_fuse(allow_other=spec.allow_other or bool({"allow_other", "allow_root"} & {*options}))
    mountpoint = mounts.real_path(spec.mountpoint)
    _check_mounted(mountpoint)
    _check_directory(mountpoint, may_be_full="nonempty" in options)


def _check_fuse(*, allow_other: bool) -> None:
    if not FUSE_DEVICE.exists():
        raise MountProblem(
            f"there is no {FUSE_DEVICE}",
            hint="load the module (modprobe fuse); in a container: --device /dev/fuse",
        )
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountProblem(
            f"{FUSE_DEVICE} can't be opened by this user",
            hint=f"chmod 666 {FUSE_DEVICE}, or mount as root",
        )
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MountProblem(
            "there is no fusermount3, which users other than root need to mount",
            hint="install it: apt install fuse3",
        )
    if allow_other and not _users_may_allow_others():
        raise MountProblem(
            f"{FUSE_CONF} does not let users give others access to their mounts",
            hint=f"put the line 'user_allow_other' into {FUSE_CONF}, or leave allow_other out",
        )


def _users_may_allow_others() -> bool:
    try:
        lines = FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return "user_allow_other" in (line.partition("#")[0].strip() for line in lines)


def _check_mounted(mountpoint: Path) -> None:
    while (found := mounts.mount_at(mountpoint)) is not None:
        state = mounts.health(found.mountpoint)
        if found.ours and state == "stale":
            _clear(found)
        elif found.ours:
            record = registry.find(Path(found.source), found.mountpoint)
            by = f" (process {record.pid})" if record else ""
            raise MountProblem(
                f"{mountpoint} is mounted already{by}, from {found.source}",
                hint=f"unmount it first: vfs umount {mountpoint}",
            )
        elif state != "ok":
            raise MountProblem(
                f"a dead mount ({found.kind}, not ours) is at {mountpoint}",
                hint=f"unmount it first: umount -l {mountpoint}",
            )
        else:
            break
    hidden = mounts.hidden_at(mountpoint)
    if hidden is not None and registry.find(Path(hidden.source), hidden.mountpoint) is not None:
        raise _is_hidden(hidden, found)


def _is_hidden(ours: mountinfo.Mount, seen: mountinfo.Mount | None) -> MountProblem:
    if seen is None:
        return MountProblem(
            f"the mount at {ours.mountpoint} is hidden by what is mounted on a directory above it",
            hint="unmount that first",
        )
    return MountProblem(
        f"the mount at {ours.mountpoint} is hidden by another one there ({seen.kind})",
        hint=f"unmount that first: umount {ours.mountpoint}",
    )


def _check_directory(mountpoint: Path, *, may_be_full: bool) -> None:
    try:
        with os.scandir(mountpoint) as entries:
            full = next(entries, None) is not None
    except FileNotFoundError:
        raise MountProblem(
            f"there is no {mountpoint}", hint=f"make it: mkdir -p {mountpoint}"
        ) from None
    except NotADirectoryError:
        raise MountProblem(
            f"{mountpoint} is not a directory", hint="mount on an empty directory"
        ) from None
    except OSError as exc:
        hint = "something dead is mounted above it" if exc.errno == errno.ENOTCONN else ""
        raise MountProblem(f"can't read {mountpoint}: {exc.strerror}", hint=hint) from exc
    if full and not may_be_full:
        raise MountProblem(
            f"{mountpoint} is not empty",
            hint="mount on an empty directory, or hide what is there with -o nonempty",
        )


def _clear(dead: mountinfo.Mount) -> None:
    mounts.detach(dead.mountpoint, lazy=True)
    registry.find(Path(dead.source), dead.mountpoint)  # removes its record
    log.warning("cleared a dead mount at %s: its daemon had been killed", dead.mountpoint)


# ---------------------------------------------------------------------- unmounting and listing


def unmount(mountpoint: Path, *, lazy: bool = False, timeout: float = 10) -> None:
    """Unmount, and wait until the daemon has ended. A dead mount is cleared with a warning.

    *lazy*: take it out of the tree at once; its daemon serves files that are open until they are
    closed. Raises MountProblem where nothing of ours is mounted, or it is in use.
    """
    path = mounts.real_path(mountpoint)
    found = mounts.mount_at(path)
    if found is None or not found.ours:
        if (hidden := mounts.hidden_at(path)) is not None:
            raise _is_hidden(hidden, found)
        raise MountProblem(f"no version is mounted at {path}", hint=_where_instead())
    record = registry.find(Path(found.source), found.mountpoint)
    if mounts.health(found.mountpoint) == "stale":
        _clear(found)
    else:
        mounts.detach(found.mountpoint, lazy=lazy)
    if record is not None and not _wait_for_end(
        record.pid, min(timeout, _LAZY_WAIT_SECONDS) if lazy else timeout
    ):
        if lazy:
            return
        raise MountProblem(
            f"{path} is unmounted, but its daemon (process {record.pid}) has not ended",
            hint="something may hold a copy of the mount, such as a container",
        )


def _where_instead() -> str:
    ours = sorted({mount.mountpoint for mount in mountinfo.mounts() if mount.ours})
    return f"mounted are: {', '.join(ours)}" if ours else "nothing is mounted"


def _wait_for_end(pid: int, timeout: float) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout)[0])
    finally:
        os.close(fd)


def list_mounts() -> list[MountInfo]:
    """Return this project's mounts that this process can see, by mount point."""
    top = {mount.mountpoint: mount for mount in mountinfo.mounts() if mount.ours}
    return [_info(top[mountpoint]) for mountpoint in sorted(top)]


def _info(mount: mountinfo.Mount) -> MountInfo:
    record = registry.find(Path(mount.source), mount.mountpoint)
    alive = record is not None or mounts.health(mount.mountpoint) != "stale"
    return MountInfo(
        mountpoint=Path(mount.mountpoint),
        store=Path(mount.source),
        target=record.target if record else None,
        pid=record.pid if record else None,
        workers=record.workers if record else 0,
        state="ok" if alive else "stale",
    )
