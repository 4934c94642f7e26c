"""What is to be mounted where, and how, as it was asked for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfs.daemon import mounts
from vfs.fuse.options import libfuse_options, split, wants_read_only

if TYPE_CHECKING:
    from vfs.model.names import Target
    from vfs.sync.ondemand import Patience

DIRTY_LIMIT_BYTES: Final = 128 << 20

_DESCRIPTOR: Final = re.compile(r"/dev/fd/([0-9]{1,6})")


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
    read_only: bool = False  # a branch, too, is shown as it was committed last
    dirty_limit: int = DIRTY_LIMIT_BYTES  # of what each branch holds in memory
    descriptor: int | None = None  # of a FUSE device that somebody else has mounted
    patience: Patience | None = None  # *store* is the cache of a remote, which is waited for

    def settled(self) -> MountSpec:
        """Return the same with absolute paths, and `ro` among the options taken at its word.

        A mount point /dev/fd/N is a descriptor of this process.
        """
        descriptor, mountpoint = self.descriptor, self.mountpoint
        if match := _DESCRIPTOR.fullmatch(str(mountpoint)):
            descriptor = int(match[1])
            mountpoint = Path(f"/proc/{os.getpid()}/fd/{descriptor}")  # a name of its own
        elif descriptor is None:
            mountpoint = mounts.real_path(mountpoint)
        return replace(
            self,
            store=self.store.resolve(),
            mountpoint=mountpoint,
            descriptor=descriptor,
            workers=max(1, self.workers),
            read_only=self.read_only or wants_read_only(self.options),
        )

    @property
    def libfuse_mountpoint(self) -> str:
        """What libfuse takes for the mount point: it does not mount what is a descriptor."""
        return str(self.mountpoint) if self.descriptor is None else f"/dev/fd/{self.descriptor}"

    @property
    def may_nest(self) -> bool:
        """Say whether something can be mounted inside of the mount.

        As an ordinary user's it is mounted by fusermount3, which runs with root's rights, and the
        kernel keeps such processes out of mounts that are for one user alone.
        """
        others = {"allow_other", "allow_root"}.intersection(split(self.options))
        return os.geteuid() == 0 or self.allow_other or bool(others)

    def libfuse_options(self, *, writable: bool) -> set[str]:
        """Return the options for pyfuse3. Raises MountProblem for what can't be had."""
        return libfuse_options(
            self.options, store=self.store, allow_other=self.allow_other, writable=writable
        )
