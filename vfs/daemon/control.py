"""Mounting and listing, as the command line and scripts ask for it."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from vfs import mountinfo
from vfs.daemon import ahead, collecting, counting, logs, making, mounts, notify, registry, sockets
from vfs.daemon.arrivals import Arrivals
from vfs.daemon.checks import check
from vfs.daemon.linux import set_process_name
from vfs.daemon.registry import Record
from vfs.daemon.spec import MountSpec
from vfs.errors import MountProblem, VfsError
from vfs.model.names import DEFAULT_BRANCH, Target, is_work_branch
from vfs.store.shown import ShownSlots

if TYPE_CHECKING:
    from vfs.daemon.branch import BranchSpec, Place
    from vfs.daemon.companion import Task
    from vfs.daemon.watch import Row
    from vfs.fs.view import View
    from vfs.repo.repository import Repository

log = logging.getLogger(__name__)


class BranchName(NamedTuple):
    """A branch of a data set."""

    data_set: str
    name: str


@dataclass(frozen=True, kw_only=True)
class MountInfo:
    """A mount of this project; "stale": its daemon was killed."""

    mountpoint: Path
    store: Path
    target: str | None
    pid: int | None
    workers: int
    writable: bool  # a branch that is not only looked at
    state: Literal["ok", "stale"]


def mount(spec: MountSpec) -> None:
    """Mount a version, or all: return when it answers, or at its end with *foreground*.

    A branch is mounted to be written to, unless *read_only*. A dead mount in the way is cleared
    with a warning in the log. Raises MountProblem; NotFound and StoreError where there is nothing
    to mount.
    """
    spec = spec.settled()
    check(spec)
    if spec.target is None and not spec.read_only and (hindrance := _no_branches(spec)):
        log.warning("branches are shown read-only: %s", hindrance)
        spec = replace(spec, read_only=True)
    shown = ShownSlots(spec.store, registry.mount_id(str(spec.mountpoint)))
    with _with_hints(spec) as spec:
        _mount(spec, shown)


def _mount(spec: MountSpec, shown: ShownSlots) -> None:
    what = _find_out(spec, shown)
    if isinstance(what, BranchName):
        spec = replace(spec, target=Target(what.data_set, what.name), workers=1)
        _start(spec, functools.partial(_run_branch, spec, what), writable=True)
        return
    clean = functools.partial(_keep_house, spec)
    serve(spec, what, housekeeping=clean, companion=_companion(spec), shown=shown)


def _companion(spec: MountSpec) -> Task | None:
    """Return what runs beside the workers, if anything does."""
    if spec.target is None and not spec.read_only:
        return functools.partial(_keep_branches, spec)
    return functools.partial(ahead.fetch_ahead, spec) if _has_hints(spec) else None


def _beside_branches(spec: MountSpec) -> Callable[[], None] | None:
    """Return what runs beside the processes of branches, if anything does."""
    return functools.partial(ahead.fetch_ahead, spec, lambda: None) if _has_hints(spec) else None


def _has_hints(spec: MountSpec) -> bool:
    return spec.patience is not None and spec.patience.hints is not None


def serve(
    spec: MountSpec,
    open_view: Callable[[], View],
    *,
    housekeeping: Callable[[], None] | None = None,
    companion: Task | None = None,
    shown: ShownSlots | None = None,
) -> None:
    """Mount what *open_view*, called in each worker, gives. As `mount`, without its checks."""
    spec = spec.settled()
    _start(spec, functools.partial(_run_view, spec, open_view, housekeeping, companion, shown))


def _start(
    spec: MountSpec, run: Callable[[Callable[[], None]], None], *, writable: bool = False
) -> None:
    """Run the daemon, here or in the background."""
    record = Record(
        pid=0,  # until the daemon has one
        mountpoint=str(spec.mountpoint),
        store=str(spec.store),
        target=None if spec.target is None else str(spec.target),
        workers=spec.workers,
        started_ns=time.time_ns(),
        writable=writable,
    )

    def registered(ready: Callable[[], None]) -> None:
        logs.configure()
        what = spec.target or "all versions"
        log.info("mounting %s of %s at %s", what, spec.store, spec.mountpoint)
        with registry.registered(replace(record, pid=os.getpid())):
            run(ready)

    def answers() -> None:
        log.info("%s answers", spec.mountpoint)
        notify.tell(notify.READY)

    if spec.foreground:
        registered(answers)
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
    in_background(registered, log_path, log_fd)


def _run_view(
    spec: MountSpec,
    open_view: Callable[[], View],
    housekeeping: Callable[[], None] | None,
    companion: Task | None,
    shown: ShownSlots | None,
    ready: Callable[[], None],
) -> None:
    # pyfuse3 takes 0.2 s to import, and only a daemon needs it.
    from vfs.daemon.supervisor import Supervisor, watched_signals  # noqa: PLC0415
    from vfs.fuse.session import Session  # noqa: PLC0415

    mountpoint = str(spec.mountpoint)
    has_branches = companion is not None and spec.target is None and not spec.read_only
    pages = counting.shared(spec.store, mountpoint, spec.workers)
    with watched_signals(), shown or nullcontext(), pages as counted:
        supervisor = Supervisor(
            Session(spec.libfuse_mountpoint, spec.libfuse_options(writable=has_branches)),
            mountpoint,
            open_view,
            workers=spec.workers,
            ready=ready,
            housekeeping=housekeeping,
            companion=companion,
            pages=counted,
        )
        supervisor.run()


def _run_branch(spec: MountSpec, branch: BranchName, ready: Callable[[], None]) -> None:
    from vfs.daemon.branch import Place  # noqa: PLC0415 - as above
    from vfs.daemon.keeper import Keeper  # noqa: PLC0415

    place = Place(branch.data_set, branch.name, str(spec.mountpoint))

    def wanted(rows: list[Row]) -> list[tuple[Place, str]]:
        return [(place, row.head) for row in rows if (row.data_set, row.branch) == branch]

    branches = _branch_spec(spec, nested=False)
    Keeper(branches, wanted, alone=place, ready=ready, beside=_beside_branches(spec)).run()


def _keep_branches(spec: MountSpec, ready: Callable[[], None]) -> None:
    """Serve all branches, each mounted at its name in the hub."""
    from vfs.daemon.branch import Place  # noqa: PLC0415 - as above
    from vfs.daemon.keeper import Keeper  # noqa: PLC0415

    set_process_name("vfs-branches")

    def wanted(rows: list[Row]) -> list[tuple[Place, str]]:
        return [
            (
                Place(row.data_set, row.branch, f"{spec.mountpoint}/{row.data_set}@{row.branch}"),
                row.head,
            )
            for row in rows
            if not is_work_branch(row.branch)
        ]

    branches, beside = _branch_spec(spec, nested=True), _beside_branches(spec)
    with sockets.listening(spec.store, _requests_name(spec)) as requests:
        Keeper(branches, wanted, ready=ready, requests=requests, beside=beside).run()


@contextmanager
def _with_hints(spec: MountSpec) -> Iterator[MountSpec]:
    """Give *spec* with a way from workers to the process that fetches ahead, where there is one."""
    if spec.patience is None or spec.patience.offline:
        yield spec
        return
    from vfs.sync.hints import Hints  # noqa: PLC0415 - most mounts know no remote

    with Hints() as hints:
        yield replace(spec, patience=replace(spec.patience, hints=hints))


def _branch_spec(spec: MountSpec, *, nested: bool) -> BranchSpec:
    from vfs.daemon.branch import BranchSpec  # noqa: PLC0415 - as above

    return BranchSpec(
        store=spec.store,
        options=frozenset(spec.libfuse_options(writable=True) - {"auto_unmount"}),
        dirty_limit=spec.dirty_limit,
        nested=nested,
        descriptor=spec.descriptor,
        patience=spec.patience,
    )


def _find_out(spec: MountSpec, shown: ShownSlots) -> BranchName | Callable[[], View]:
    """Return the branch to serve, or what opens the view of what never changes.

    The store is closed again, as LMDB must not be held over a fork.
    """
    from vfs.fs.snapshot import open_shown  # noqa: PLC0415 - `umount` needs it not
    from vfs.store.guard import guarded  # noqa: PLC0415

    with guarded(spec.store), open_shown(spec.store, spec.patience) as repository:
        if spec.target is None:
            return _hub_opener(spec, shown)
        if spec.target.path:
            raise MountProblem(
                "only a whole version can be mounted, not a directory of it",
                hint=f"mount {spec.target.data_set} and use the directory below the mount point",
            )
        if not spec.read_only and (branch := _branch(repository, spec.target)) is not None:
            return branch
        from vfs.fs.single import open_single  # noqa: PLC0415

        resolved = repository.resolve(spec.target.data_set, spec.target.revision)
        return functools.partial(open_single, spec.store, resolved.slot, shown, spec.patience)


def _no_branches(spec: MountSpec) -> str:
    """Say what keeps branches from being mounted in the hub; empty where nothing does."""
    if spec.descriptor is not None:
        return "they can't be mounted inside of what a descriptor serves"
    data = spec.store / "data.mdb"
    if data.exists() and not os.access(data, os.W_OK):
        return f"the store {spec.store} can't be written"
    if not spec.may_nest:
        return "an ordinary user mounts them in here with --allow-other, or else one by one"
    return ""


def _hub_opener(spec: MountSpec, shown: ShownSlots) -> Callable[[], View]:
    from vfs.fs.hub import open_hub  # noqa: PLC0415 - as above
    from vfs.fs.places import open_hub_with_branches  # noqa: PLC0415

    if spec.read_only:
        return functools.partial(open_hub, spec.store, shown, spec.patience)
    make = functools.partial(making.ask, spec.store, _requests_name(spec))
    arrivals = Arrivals(spec.store, spec.mountpoint, workers=spec.workers)
    return functools.partial(
        open_hub_with_branches, spec.store, make, arrivals, shown, spec.patience
    )


def _requests_name(spec: MountSpec) -> str:
    return f"{registry.mount_id(str(spec.mountpoint))}.sock"


def _branch(repository: Repository, target: Target) -> BranchName | None:
    """Return the branch that *target* names; of a data set without a version it is main."""
    refs = {ref.name: ref for ref in repository.refs(target.data_set)}
    name = target.revision or DEFAULT_BRANCH
    if name in refs:
        return BranchName(target.data_set, name) if refs[name].kind == "branch" else None
    return BranchName(target.data_set, name) if not refs and name == DEFAULT_BRANCH else None


def _keep_house(spec: MountSpec) -> None:
    """Free what readers that were killed still hold in the store; collect garbage if it is time.

    A cache never collects any: it follows its remote's branches and tags instead.

    Run in a process of its own.
    """
    from vfs.repo.gc.schedule import collect_if_due, is_due  # noqa: PLC0415 - as above
    from vfs.store.store import Store  # noqa: PLC0415

    try:
        with Store.open(spec.store, readonly=True, partial=spec.patience is not None) as store:
            store.check_readers()
            due = (
                spec.patience is None
                and is_due(store)
                and os.access(spec.store / "data.mdb", os.W_OK)
            )
        if spec.patience is not None and not spec.patience.offline:
            from vfs.sync.cache import refresh_cache  # noqa: PLC0415 - as above

            refresh_cache(spec.store, spec.patience, spec.target.data_set if spec.target else None)
        if due:
            collecting.yield_to_others()
            collect_if_due(spec.store)
    except VfsError as exc:
        log.error("the store can't be looked after: %s", exc)  # noqa: TRY400 - no traceback


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
        writable=record is not None and record.writable,
        state="ok" if alive else "stale",
    )
