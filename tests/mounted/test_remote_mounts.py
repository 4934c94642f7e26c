"""Versions of a remote, mounted: fetched as they are read, by several mounts and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hub import make_odd_tree
from tests.support.mounting import lazy_unmount, wait_for_end, wait_until
from vfs.daemon import registry

pytestmark = pytest.mark.mounted

Mount = Callable[..., Path]


def _vfs(*args: object, code: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vfs", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What data@v1 on the remote was made of: much of it alike for no compressor."""
    source = tmp_path / "source"
    source.mkdir()
    make_odd_tree(source)
    (source / "large").write_bytes(os.urandom(6 << 20))
    store = tmp_path / "origin"
    _vfs("--store", store, "init")
    _vfs("--store", store, "import", "--create", source, "data", "-m", "x", "--tag", "v1")
    _vfs("--store", store, "remote", "add", "origin", f"file://{tmp_path}/remote")
    _vfs("--store", store, "push", "--all")
    return source


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something of the remote at a new place, with one cache for all."""
    made: list[Path] = []

    def new(*what: str) -> Path:
        mountpoint = tmp_path / f"mnt{len(made)}"
        mountpoint.mkdir()
        made.append(mountpoint)
        options = ("--remote", f"file://{tmp_path}/remote", "--cache", tmp_path / "cache")
        _vfs("mount", *options, *what, mountpoint)
        return mountpoint

    yield new
    for mountpoint in made:
        record = registry.find(tmp_path / "cache", str(mountpoint))
        lazy_unmount(mountpoint)
        if record is not None:
            wait_for_end(record.pid)


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


def _assert_same(source: Path, shown: Path) -> None:
    assert _listing(shown) == _listing(source)
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", source, shown], capture_output=True, check=False
    )
    differences = [line for line in done.stdout.splitlines() if b"fifo" not in line]
    assert not [line for line in differences if b"differ" in line or b"Only" in line], done


def test_one_version_is_what_was_pushed(source: Path, mount: Mount) -> None:
    _assert_same(source, mount("data@v1"))


def test_two_mounts_and_the_hub_read_at_once(source: Path, mount: Mount) -> None:
    shown = [mount("data@v1"), mount("data@v1"), mount() / "data@v1"]
    readers = [
        subprocess.Popen(["cmp", source / "large", one / "large"], stdout=subprocess.PIPE)
        for one in shown
    ]
    assert [reader.communicate(timeout=60)[0] for reader in readers] == [b""] * 3
    for one in shown:
        _assert_same(source, one)


def test_a_remote_that_goes_is_an_error_and_found_again(
    source: Path, mount: Mount, tmp_path: Path
) -> None:
    shown = mount("data@v1")
    (tmp_path / "remote").rename(tmp_path / "away")
    with pytest.raises(OSError, match="Input/output error"):
        (shown / "large").read_bytes()
    (tmp_path / "away").rename(tmp_path / "remote")
    _assert_same(source, shown)


def test_offline_shows_what_was_fetched(source: Path, mount: Mount, tmp_path: Path) -> None:
    _assert_same(source, mount("data@v1"))
    (tmp_path / "remote").rename(tmp_path / "away")
    _assert_same(source, mount("--offline", "data@v1"))


@pytest.mark.crash
def test_workers_that_are_killed_while_they_fetch(
    source: Path, mount: Mount, tmp_path: Path
) -> None:
    shown = mount("data@v1")
    record = registry.find(tmp_path / "cache", str(shown))
    assert record is not None
    workers = Path(f"/proc/{record.pid}/task/{record.pid}/children")
    first = workers.read_text().split()
    with subprocess.Popen(["cat", shown / "large"], stdout=subprocess.DEVNULL) as reader:
        for pid in first[::2]:
            os.kill(int(pid), signal.SIGKILL)
        reader.wait(60)
    wait_until(lambda: len(workers.read_text().split()) >= len(first) // 2)
    _assert_same(source, shown)


def test_an_encrypted_remote(source: Path, mount: Mount, tmp_path: Path) -> None:
    origin, key = tmp_path / "origin", tmp_path / "key"
    where = f"file://{tmp_path}/sealed"
    _vfs("remote", "key", key)
    _vfs("--store", origin, "remote", "add", "sealed", where)
    _vfs("--store", origin, "push", "--all", "--to", "sealed", "--encrypt", "--key-file", key)
    options = ("--remote", where, "--cache", tmp_path / "sealed-cache")
    _vfs("mount", *options, "data@v1", tmp_path, code=1)
    shown = mount("--remote", where, "--key-file", str(key), "data@v1")
    _assert_same(source, shown)
    record = registry.find(tmp_path / "cache", str(shown))
    assert record is not None
    secret = key.read_bytes().split(b":")[1][:16]
    for what in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{record.pid}/{what}").read_bytes()
    for command in (("fsck", "--remote", "sealed", "--data"), ("gc", "--remote", "sealed")):
        _vfs("--store", origin, *command)
