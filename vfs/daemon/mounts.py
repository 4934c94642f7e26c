"""What is mounted where, dead or alive, and how to take it away. Knows no daemon and no store."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from vfs.daemon.linux import MNT_DETACH, umount2
from vfs.errors import MountProblem
from vfs.mountinfo import Mount, mount_number, mounts

PROBE_SECONDS: Final = 5.0
READ_AHEAD_KB: Final = 2048
"""Two requests of 1 MiB at once, one for each of two cores: 1.3 GB/s, not 0.8."""

DEAD: Final = frozenset((errno.ENOTCONN, errno.ECONNABORTED))

Health = Literal["ok", "stale", "hung"]


def mount_at(mountpoint: Path) -> Mount | None:
    """Return what is mounted at *mountpoint* (absolute, no symlinks): the one that is seen there.

    None where it is no mount point, also when what is mounted on a directory above hides it.
    """
    number = _mount_number(mountpoint)
    found = (mount for mount in mounts() if mount.number == number)
    return next((mount for mount in found if mount.mountpoint == str(mountpoint)), None)


def _mount_number(path: Path) -> int | None:
    # O_PATH asks the file system nothing, so a dead or hung one is found like any other.
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return mount_number(fd)
    finally:
        os.close(fd)


def inside(mountpoint: Path) -> list[Mount]:
    """Return what is mounted on directories below *mountpoint*."""
    below = f"{str(mountpoint).rstrip('/')}/"
    return [mount for mount in mounts() if mount.mountpoint.startswith(below)]


def hidden_at(mountpoint: Path) -> Mount | None:
    """Return a mount of this project at *mountpoint* that another one hides, or None."""
    seen = mount_at(mountpoint)
    ours = [m for m in mounts() if m.ours and m.mountpoint == str(mountpoint) and m != seen]
    return ours[-1] if ours else None


def real_path(path: Path) -> Path:
    """Return *path* absolute and without symlinks, even where a dead mount is at its end."""
    try:
        return path.resolve()
    except OSError:
        return path.parent.resolve() / path.name


def health(mountpoint: str) -> Health:
    """Ask a mount for an answer; "hung" where none comes in 5 s.

    Not by stat: the kernel keeps the attributes of the root and answers for a dead daemon, too.
    """
    failure: list[int] = []

    def ask() -> None:
        try:
            os.statvfs(mountpoint)
        except OSError as exc:
            failure.append(exc.errno or 0)

    # A thread, as the call can hang for as long as the mount does.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if thread.is_alive():
        return "hung"
    return "stale" if DEAD.intersection(failure) else "ok"


def device_number(device: str) -> int:
    """Return st_dev of what is mounted from a device that mountinfo calls *device*."""
    major, minor = device.split(":")
    return os.makedev(int(major), int(minor))


def set_read_ahead(device: str) -> None:
    """Have the kernel read far ahead; needs root, and /sys to be writable."""
    with suppress(OSError):
        Path(f"/sys/class/bdi/{device}/read_ahead_kb").write_text(str(READ_AHEAD_KB))


def detach(mountpoint: str, *, lazy: bool) -> None:
    """Unmount: as root by umount2, else by fusermount3. Raises MountProblem."""
    if os.geteuid() == 0:
        try:
            umount2(mountpoint, MNT_DETACH if lazy else 0)
        except OSError as exc:
            if exc.errno == errno.EBUSY:
                raise busy(mountpoint) from exc
            raise MountProblem(f"can't unmount {mountpoint}: {exc.strerror}") from exc
        return
    if shutil.which("fusermount3") is None:
        raise MountProblem("there is no fusermount3", hint="install fuse3 (apt install fuse3)")
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", mountpoint]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        if "busy" in done.stderr:
            raise busy(mountpoint)
        raise MountProblem(f"can't unmount {mountpoint}: {done.stderr.strip()}")


def busy(mountpoint: str) -> MountProblem:
    """Return the error that says who uses a mount."""
    users = ", ".join(holders(mountpoint))
    return MountProblem(
        f"{mountpoint} is in use" + (f" by {users}" if users else ""),
        hint="end what uses it, or unmount it lazily (--lazy)",
    )


def holders(mountpoint: str, limit: int = 5) -> list[str]:
    """Name processes with an open file or their directory below *mountpoint*, as far as visible."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, mountpoint):
            try:
                name = (process / "comm").read_text(errors="replace").strip()
            except OSError:
                continue
            found.append(f"{name} ({process.name})")
            if len(found) == limit:
                break
    return found


def _holds(process: Path, mountpoint: str) -> bool:
    try:
        links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
    except OSError:
        return False
    for link in links:
        try:
            target = os.readlink(link)  # noqa: PTH115 - never follows, never touches the mount
        except OSError:
            continue
        if target == mountpoint or target.startswith(mountpoint.rstrip("/") + "/"):
            return True
    return False
