"""The process that serves one mounted branch, from its start to its exit code.

It owns the branch (`vfs.daemon.owners`), so no other process writes to it. Whoever forked it holds
no store and no FUSE session.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs import counts
from vfs.daemon import counting, mounts, owners, registry
from vfs.errors import MountProblem
from vfs.fs.branch.branch import Branch
from vfs.fuse.branch_session import BranchSession, Ending, Hooks
from vfs.fuse.controlled import ControlledOperations
from vfs.store.store import Store

if TYPE_CHECKING:
    from vfs.sync.ondemand import Patience

log = logging.getLogger(__name__)

EXIT_CODES: Final = {
    Ending.TOLD: 0,
    Ending.UNMOUNTED: 5,
    Ending.OUTDATED: 6,
    Ending.DISCARDED: 6,
    Ending.LOST: 7,
}
ENDED: Final = EXIT_CODES[Ending.TOLD]
UNMOUNTED: Final = EXIT_CODES[Ending.UNMOUNTED]
LOST: Final = EXIT_CODES[Ending.LOST]
AGAIN: Final = EXIT_CODES[Ending.OUTDATED]
"""Serve the branch again, as it is now."""

NO_DEVICE: Final = "0:0"
"""What is served through a descriptor may be mounted where this process does not see it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A branch, and where it is to be mounted."""

    data_set: str
    branch: str
    mountpoint: str

    def __str__(self) -> str:
        return f"{self.data_set}@{self.branch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSpec:
    """What all branches of one mount have in common."""

    store: Path
    options: frozenset[str]  # as libfuse takes them
    dirty_limit: int  # bytes
    nested: bool  # in a hub; else it is the only one, and its parent is what is registered
    descriptor: int | None = None  # of a FUSE device that somebody else has mounted, and unmounts
    patience: Patience | None = None  # *store* is the cache of a remote, which is waited for


def serve_branch(spec: BranchSpec, place: Place, ready: Callable[[str], None]) -> int:
    """Mount a branch and serve it to its end; return the exit code. Raises VfsError.

    *ready* is called with the device of the mount once it answers.
    """
    with ExitStack() as undo:
        listener = undo.enter_context(
            owners.owned(spec.store, place.data_set, place.branch, place.mountpoint)
        )
        if spec.nested:
            undo.enter_context(registry.registered(_record(spec, place)))
        pages = undo.enter_context(counting.shared(spec.store, place.mountpoint, 1, keep=True))
        counts.use(pages.words(0))
        store = undo.enter_context(_open_store(spec))
        branch = Branch(store, place.data_set, place.branch)
        undo.callback(branch.close)
        operations = ControlledOperations(
            branch, dirty_limit=spec.dirty_limit, mountpoint=place.mountpoint
        )
        clear_dead(place.mountpoint)
        session = BranchSession(
            operations, place.mountpoint, set(spec.options), descriptor=spec.descriptor
        )
        undo.callback(session.close)
        device = _device(place.mountpoint) if spec.descriptor is None else NO_DEVICE
        gc.collect()
        gc.freeze()
        faulthandler.enable()

        def is_ready() -> None:
            mounts.set_read_ahead(device)
            ready(device)

        hooks = Hooks(
            ready=is_ready,
            unmount=lambda: detach_own(place.mountpoint, device),
            outdated=branch.is_outdated,
            keeps_place=not spec.nested and spec.descriptor is None,
            discard=partial(store.overlays.discard, place.data_set, place.branch),
            facts={"pid": os.getpid(), "mountpoint": place.mountpoint},
        )
        return EXIT_CODES[session.run(listener, mounts.device_number(device), hooks)]


def _open_store(spec: BranchSpec) -> Store:
    if spec.patience is None:
        return Store.open(spec.store)
    from vfs.sync.cache import open_cache  # noqa: PLC0415 - most mounts know no remote

    return open_cache(spec.store, spec.patience).store


def _record(spec: BranchSpec, place: Place) -> registry.Record:
    return registry.Record(
        pid=os.getpid(),
        mountpoint=place.mountpoint,
        store=str(spec.store),
        target=str(place),
        workers=1,
        started_ns=time.time_ns(),
        writable=True,
    )


def _device(mountpoint: str) -> str:
    mount = mounts.mount_at(Path(mountpoint))
    if mount is None:
        raise MountProblem(f"{mountpoint} was unmounted at once")
    return mount.device


def clear_dead(mountpoint: str) -> None:
    """Take away what an earlier process, which was killed, left mounted there."""
    while (mount := mounts.mount_at(Path(mountpoint))) is not None and mount.ours:
        if mounts.health(mountpoint) != "stale":
            break
        mounts.detach(mountpoint, lazy=True)


def detach_own(mountpoint: str, device: str) -> None:
    """Unmount the file system *device*, in use or not, if it is still mounted there."""
    mount = mounts.mount_at(Path(mountpoint))
    if mount is not None and mount.device == device:
        try:
            mounts.detach(mountpoint, lazy=True)
        except MountProblem as exc:
            log.error("%s", exc)  # noqa: TRY400 - no traceback
