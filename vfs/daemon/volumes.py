"""Volumes of a container runtime: versions by a name, mounted as long as somebody uses them.

Knows neither HTTP nor how a version is mounted. What there is stands in `<store>/run/volumes.json`,
which is replaced as a whole before anything else is done; so a process that is started again knows
who uses what. What is mounted is asked of the kernel each time.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from vfs.daemon import lockfile, mounts, private
from vfs.daemon.registry import RUN_DIR
from vfs.daemon.unmounting import unmount
from vfs.errors import AlreadyExists, Conflict, InvalidInput, MountProblem, NotFound, StoreError

log = logging.getLogger(__name__)

STATE: Final = "volumes.json"
VOLUMES_MAX: Final = 10_000
USERS_MAX: Final = 10_000  # of one volume

_LOCK: Final = "volumes.lock"
_PAUSE_SECONDS: Final = 0.02
_BYTES_MAX: Final = 64 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Volume:
    """A version and who uses it."""

    name: str
    rev: str  # data@v3
    read_only: bool = False
    users: frozenset[str] = field(default_factory=frozenset)  # as the runtime calls them


class Volumes:
    """All volumes of a store; for one thread of one process."""

    def __init__(self, directory: int, places: Path, mount: Callable[[Volume, Path], None]) -> None:
        """*directory* is a descriptor of the store's `run`; volumes are mounted below *places*.

        *mount* returns when the mount answers. Raises StoreError where the state is damaged.
        """
        self._directory = directory
        self._places = places
        self._mount = mount
        self._boot = _BOOT_ID.read_text("ascii").strip()
        self._volumes = self._load()

    def create(self, name: str, rev: str, *, read_only: bool) -> None:
        """Make a volume; nothing is mounted yet. Raises AlreadyExists for another of the name."""
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name[:200]!r} can't name a volume")
        volume = Volume(name, rev, read_only)
        known = self._volumes.get(name)
        if known is not None:
            if replace(known, users=frozenset()) != volume:
                raise AlreadyExists(f"the volume '{name}' is there, and shows {known.rev}")
            return
        if len(self._volumes) >= VOLUMES_MAX:
            raise Conflict(f"there are {VOLUMES_MAX} volumes", hint="remove some")
        self._save({**self._volumes, name: volume})

    def remove(self, name: str) -> None:
        """Forget a volume; what it shows stays stored. Raises NotFound, and Conflict in use."""
        volume = self.get(name)
        if volume.users:
            raise Conflict(f"the volume '{name}' is in use")
        self._release(volume)
        self._save({key: other for key, other in self._volumes.items() if key != name})

    def mount(self, name: str, user: str) -> Path:
        """Return where the volume is mounted for *user*, now at the latest.

        Raises NotFound, and MountProblem; then *user* does not use it.
        """
        before = self.get(name)
        if len(before.users) >= USERS_MAX:
            raise Conflict(f"the volume '{name}' has {USERS_MAX} users")
        volume = self._put(replace(before, users=before.users | {user}))
        place = self._places / name
        if self.mountpoint(name) is None:
            try:
                self._places.mkdir(mode=0o700, parents=True, exist_ok=True)
                with suppress(FileExistsError):  # a dead mount answers no stat, so no exist_ok
                    place.mkdir()
                self._mount(volume, place)
            except BaseException:
                self._put(before)
                raise
        return place

    def unmount(self, name: str, user: str) -> None:
        """Note that *user* is done; after the last one the mount is ended.

        Raises NotFound, and MountProblem where what was written can't be stored.
        """
        volume = self.get(name)
        volume = self._put(replace(volume, users=volume.users - {user}))
        if not volume.users:
            self._release(volume)

    def mountpoint(self, name: str) -> Path | None:
        """Return where the volume is mounted, or None. Raises NotFound."""
        place = self._places / self.get(name).name
        found = mounts.mount_at(place)
        if found is None or not found.ours or mounts.health(str(place)) == "stale":
            return None
        return place

    def get(self, name: str) -> Volume:
        """Return a volume. Raises NotFound."""
        if name not in self._volumes:
            raise NotFound(f"there is no volume '{name[:200]}'")
        return self._volumes[name]

    def names(self) -> list[str]:
        """Return the names of all volumes, sorted."""
        return sorted(self._volumes)

    def _release(self, volume: Volume) -> None:
        place = self._places / volume.name
        if mounts.mount_at(place) is not None:
            try:
                unmount(place)
            except MountProblem as exc:
                if mounts.mount_at(place) is not None:
                    raise
                log.warning("%s", exc)  # a namespace has a copy: it ends with that
        with suppress(OSError):
            place.rmdir()

    # ------------------------------------------------------------------ what is kept

    def _put(self, volume: Volume) -> Volume:
        if self._volumes.get(volume.name) != volume:
            self._save({**self._volumes, volume.name: volume})
        return volume

    def _save(self, volumes: Mapping[str, Volume]) -> None:
        rows = [{**asdict(each), "users": sorted(each.users)} for each in volumes.values()]
        state = json.dumps({"boot": self._boot, "volumes": rows}, indent=1).encode() + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        new = f"{STATE}.new"
        fd = os.open(new, flags, private.FILE_MODE, dir_fd=self._directory)
        with os.fdopen(fd, "wb") as file:
            file.write(state)
            file.flush()
            os.fsync(fd)
        os.rename(new, STATE, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)
        self._volumes = dict(volumes)

    def _load(self) -> dict[str, Volume]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(STATE, flags, dir_fd=self._directory), "rb") as file:
                state = json.loads(file.read(_BYTES_MAX))
            same_boot = state["boot"] == self._boot  # else all containers are gone
            volumes = [_volume(row, keep_users=same_boot) for row in state["volumes"]]
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, RecursionError) as exc:
            raise StoreError(
                f"{RUN_DIR}/{STATE} in the store is damaged",
                hint="remove it, and make the volumes again",
            ) from exc
        return {volume.name: volume for volume in volumes}


def _volume(row: dict[str, Any], *, keep_users: bool) -> Volume:
    users = frozenset(row.pop("users") if keep_users else ())
    volume = Volume(**{**row, "users": users})
    if not _NAME.fullmatch(volume.name):
        raise ValueError("a volume's name")
    return volume


@contextmanager
def opened(store: Path, places: Path, mount: Callable[[Volume, Path], None]) -> Iterator[Volumes]:
    """Give the volumes of *store*, for this process alone. Raises Conflict, StoreError, OSError."""
    with private.opened(store / RUN_DIR, make=True) as directory:
        fd, holder = lockfile.hold(directory, _LOCK, _PAUSE_SECONDS)
        if fd < 0:
            raise Conflict(f"process {holder.get('pid', '?')} serves the volumes of this store")
        try:
            lockfile.write(fd, {"pid": os.getpid()})
            yield Volumes(directory, places, mount)
        finally:
            lockfile.unlink(directory, _LOCK)
            os.close(fd)
