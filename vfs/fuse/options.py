"""Mount options as mount(8) has them, put into what libfuse takes. Mounts nothing."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from vfs.errors import MountProblem

SUBTYPE: Final = "vfs"

FLAGS: Final = frozenset("suid nosuid dev nodev exec noexec atime noatime".split())
"""On or off; the last one of a pair counts."""

FUSE_FLAGS: Final = frozenset(("allow_other", "allow_root", "auto_unmount"))
FUSE_VALUES: Final = frozenset(("context", "fscontext", "defcontext", "rootcontext"))

NOT_TO_BE_HAD: Final = {
    "fsname": "it shows the store",
    "subtype": f"it is '{SUBTYPE}'",
    "max_read": "pyfuse3 does not agree on it with the kernel",
}
WITHOUT_EFFECT: Final = frozenset(
    "ro rw default_permissions defaults diratime nodiratime relatime norelatime strictatime"
    " nostrictatime lazytime nolazytime sync async dirsync".split()
)
"""On anyway, or not a matter of options (access times, too); libfuse 3.14 knows but some."""
FOR_MOUNT_ITSELF: Final = frozenset(
    "auto noauto user nouser users owner group nofail _netdev nonempty".split()
)
"""What fstab(5) may hold and mount(8), systemd or this project's own checks act upon."""

_PLAIN: Final = frozenset((string.ascii_letters + string.digits + "/._-+=@:~").encode())


def split(options: Iterable[str]) -> list[str]:
    """Return the single options of several `-o` arguments, each of them a list with commas."""
    return [option for text in options for option in text.split(",") if option]


def wants_read_only(options: Iterable[str]) -> bool:
    """Say whether the last one of `ro` and `rw` is `ro`."""
    return [option for option in split(options) if option in ("ro", "rw")][-1:] == ["ro"]


def libfuse_options(
    options: Iterable[str], *, store: Path, allow_other: bool, writable: bool = False
) -> set[str]:
    """Return what to give to pyfuse3 for *options*. Raises MountProblem for what can't be had."""
    chosen: dict[str, str] = {}
    options = split(options)
    read_only = wants_read_only(options)
    for option in options:
        name = option.partition("=")[0]
        if option == "rw" and not writable and not read_only:
            raise MountProblem("'rw' can't be set: versions are read-only", hint="leave 'rw' out")
        if name in NOT_TO_BE_HAD:
            raise MountProblem(
                f"'{name}' can't be set: {NOT_TO_BE_HAD[name]}", hint=f"leave '{name}' out"
            )
        if option in FLAGS:
            chosen[option.removeprefix("no")] = option
        elif option in FUSE_FLAGS or (name in FUSE_VALUES and option != name):
            chosen[name] = option
        elif not _ignored(option):
            raise _unknown(option)
    if allow_other:
        chosen["allow_other"] = "allow_other"
    if not writable:
        chosen["ro"] = "ro"
    return set(chosen.values()) | {
        "default_permissions",
        f"subtype={SUBTYPE}",
        f"fsname={_escape(store)}",
    }


def _ignored(option: str) -> bool:
    return option in WITHOUT_EFFECT | FOR_MOUNT_ITSELF or option.startswith(("x-", "comment="))


def _unknown(option: str) -> MountProblem:
    name = option.partition("=")[0]
    known = FLAGS | FUSE_FLAGS | FUSE_VALUES | WITHOUT_EFFECT
    near = get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else "known are: " + ", ".join(sorted(known))
    if name in FUSE_VALUES:
        hint = f"it takes a value: {name}=..."
    return MountProblem(f"unknown mount option '{option}'", hint=hint)


def _escape(path: Path) -> str:
    """Return *path* in ASCII and without commas; libfuse reads a back-slash and 3 octal digits."""
    encoded = os.fsencode(path)
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in encoded)
