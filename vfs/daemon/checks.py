"""What can be known before mounting, and said with a hint. Clears a dead mount in the way."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.daemon import counting, mounts, registry
from vfs.errors import MountProblem
from vfs.fuse.options import split

if TYPE_CHECKING:
    from vfs import mountinfo
    from vfs.daemon.spec import MountSpec

log = logging.getLogger(__name__)

FUSE_DEVICE: Final = Path("/dev/fuse")
FUSE_DEVICE_NUMBER: Final = os.makedev(10, 229)  # linux/miscdevice.h
FUSE_CONF: Final = Path("/etc/fuse.conf")


def check(spec: MountSpec) -> None:
    """Raise MountProblem for all that can be known beforehand, with a hint; clear a dead mount."""
    spec.libfuse_options(writable=not spec.read_only)
    if spec.descriptor is not None:
        _check_descriptor(spec.descriptor, foreground=spec.foreground)
        return
    options = split(spec.options)
    _check_fuse(allow_other=spec.allow_other or bool({"allow_other", "allow_root"} & {*options}))
    mountpoint = mounts.real_path(spec.mountpoint)
    _check_mounted(mountpoint)
    _check_directory(mountpoint, may_be_full="nonempty" in options)


def _check_descriptor(descriptor: int, *, foreground: bool) -> None:
    try:
        facts = os.fstat(descriptor)
    except OSError:
        raise MountProblem(
            f"there is no descriptor {descriptor}", hint="whoever starts vfs passes it on, open"
        ) from None
    if not stat.S_ISCHR(facts.st_mode) or facts.st_rdev != FUSE_DEVICE_NUMBER:
        raise MountProblem(
            f"descriptor {descriptor} is not of {FUSE_DEVICE}", hint="open that, and mount it"
        )
    if not foreground:
        raise MountProblem(
            "what a descriptor serves has to stay with who passed it", hint="add --foreground"
        )


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
            clear(found)
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
        raise is_hidden(hidden, found)


def is_hidden(ours: mountinfo.Mount, seen: mountinfo.Mount | None) -> MountProblem:
    """Return what to raise where the mount at a place is not *ours*, but what is *seen* there."""
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


def clear(dead: mountinfo.Mount) -> None:
    """Take away a mount whose server was killed, what is mounted inside, and their records."""
    gone = [dead, *(mount for mount in mounts.inside(Path(dead.mountpoint)) if mount.ours)]
    mounts.detach(dead.mountpoint, lazy=True)
    for mount in gone:
        registry.find(Path(mount.source), mount.mountpoint)  # removes its record
        counting.forget(Path(mount.source), mount.mountpoint)
    log.warning("cleared a dead mount at %s: its daemon had been killed", dead.mountpoint)
