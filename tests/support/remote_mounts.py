"""Remotes to be mounted: a tree that was pushed, mounts of it, and what these must show."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from tests.support.hub import make_odd_tree
from tests.support.mounting import lazy_unmount, wait_for_end
from vfs.daemon import registry

Mount: TypeAlias = Callable[..., Path]


def vfs(*args: object, code: int = 0, program: str = "vfs") -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done


def pushed_source(directory: Path, *place: str) -> Path:
    """Make a tree, data@v1 of the store `origin`, and push it to its remote, also `origin`.

    *place*: the remote's URL, and what else `vfs remote add` takes. Much of the tree is alike for
    no compressor.
    """
    source, store = directory / "source", directory / "origin"
    source.mkdir(exist_ok=True)
    make_odd_tree(source)
    (source / "large").write_bytes(os.urandom(6 << 20))
    vfs("--store", store, "init")
    vfs("--store", store, "import", "--create", source, "data", "-m", "x", "--tag", "v1")
    vfs("--store", store, "remote", "add", "origin", *place)
    vfs("--store", store, "push", "--all")
    return source


@contextmanager
def mounts(directory: Path, remote: str, *, program: str = "vfs") -> Iterator[Mount]:
    """Give what mounts something of a remote at a new place, with one cache for all.

    *remote*: its URL, or its name in the store `origin`. *program*: the module that mounts.
    """
    made: list[Path] = []

    def new(*what: str) -> Path:
        mountpoint = directory / f"mnt{len(made)}"
        mountpoint.mkdir()
        made.append(mountpoint)
        options = ("--remote", remote, "--cache", directory / "cache")
        store = ("--store", directory / "origin")
        vfs(*store, "mount", *options, *what, mountpoint, program=program)
        return mountpoint

    try:
        yield new
    finally:
        for mountpoint in made:
            record = registry.find(directory / "cache", str(mountpoint))
            lazy_unmount(mountpoint)
            if record is not None:
                wait_for_end(record.pid)


@contextmanager
def hanging(remote: Path) -> Iterator[None]:
    """Have whoever reads a pack of the remote in a directory wait meanwhile, for a pipe."""
    packs = list((remote / "packs").iterdir())
    away = remote.with_name("away")
    away.mkdir()
    for pack in packs:
        pack.rename(away / pack.name)
        os.mkfifo(away / f"held-{pack.name}")  # who opens it waits
        pack.hardlink_to(away / f"held-{pack.name}")
    try:
        yield
    finally:
        for pack in packs:
            (away / pack.name).rename(pack)
        for pipe in away.iterdir():
            with suppress(OSError):  # nobody waits any more
                while True:  # they go on, with an error
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            pipe.unlink()
        away.rmdir()


_FLOCK = struct.Struct("@hhqqi4x")


def is_fetching(cache: Path) -> bool:
    """Say whether somebody holds the lock of a window."""
    if not (cache / "fetching").exists():
        return False
    with (cache / "fetching").open("r+b") as file:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all attributes, links and xattrs below a directory."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in (".", *directories, *files):
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            is_dir = os.path.isdir(path) and not os.path.islink(path)
            size = 0 if is_dir else facts.st_size
            xattrs = {x: os.getxattr(path, x, follow_symlinks=False) for x in _xattrs(path)}
            target = os.readlink(path) if os.path.islink(path) else None
            found[os.path.relpath(path, root)] = (
                *(facts.st_mode, facts.st_nlink, facts.st_uid, facts.st_gid, facts.st_rdev),
                *(facts.st_mtime_ns, size, target, xattrs),
            )
    return found


def _xattrs(path: str) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def assert_same(source: Path, shown: Path) -> None:
    assert _listing(shown) == _listing(source)
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", source, shown], capture_output=True, check=False
    )
    differences = [line for line in done.stdout.splitlines() if b"fifo" not in line]
    assert not [line for line in differences if b"differ" in line or b"Only" in line], done
