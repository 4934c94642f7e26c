"""Versions of a remote, mounted: fetched as they are read, by several mounts and processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import wait_until
from tests.support.remote_mounts import Mount, assert_same, mounts, pushed_source, vfs
from vfs.daemon import registry

pytestmark = pytest.mark.mounted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pushed_source(tmp_path, f"file://{tmp_path}/remote")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    with mounts(tmp_path, f"file://{tmp_path}/remote") as new:
        yield new


def test_one_version_is_what_was_pushed(source: Path, mount: Mount) -> None:
    assert_same(source, mount("data@v1"))


def test_two_mounts_and_the_hub_read_at_once(source: Path, mount: Mount) -> None:
    shown = [mount("data@v1"), mount("data@v1"), mount() / "data@v1"]
    readers = [
        subprocess.Popen(["cmp", source / "large", one / "large"], stdout=subprocess.PIPE)
        for one in shown
    ]
    assert [reader.communicate(timeout=60)[0] for reader in readers] == [b""] * 3
    for one in shown:
        assert_same(source, one)


def test_a_remote_that_goes_is_an_error_and_found_again(
    source: Path, mount: Mount, tmp_path: Path
) -> None:
    shown = mount("data@v1")
    (tmp_path / "remote").rename(tmp_path / "away")
    with pytest.raises(OSError, match="Input/output error"):
        (shown / "large").read_bytes()
    (tmp_path / "away").rename(tmp_path / "remote")
    assert_same(source, shown)


def test_offline_shows_what_was_fetched(source: Path, mount: Mount, tmp_path: Path) -> None:
    assert_same(source, mount("data@v1"))
    (tmp_path / "remote").rename(tmp_path / "away")
    assert_same(source, mount("--offline", "data@v1"))


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
    assert_same(source, shown)


def test_an_encrypted_remote(source: Path, mount: Mount, tmp_path: Path) -> None:
    origin, key = tmp_path / "origin", tmp_path / "key"
    where = f"file://{tmp_path}/sealed"
    vfs("remote", "key", key)
    vfs("--store", origin, "remote", "add", "sealed", where)
    vfs("--store", origin, "push", "--all", "--to", "sealed", "--encrypt", "--key-file", key)
    options = ("--remote", where, "--cache", tmp_path / "sealed-cache")
    vfs("mount", *options, "data@v1", tmp_path, code=1)
    shown = mount("--remote", where, "--key-file", str(key), "data@v1")
    assert_same(source, shown)
    record = registry.find(tmp_path / "cache", str(shown))
    assert record is not None
    secret = key.read_bytes().split(b":")[1][:16]
    for what in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{record.pid}/{what}").read_bytes()
    for command in (("fsck", "--remote", "sealed", "--data"), ("gc", "--remote", "sealed")):
        vfs("--store", origin, *command)


def test_what_was_prefetched_needs_no_remote(source: Path, mount: Mount, tmp_path: Path) -> None:
    place = ("--remote", f"file://{tmp_path}/remote", "--cache", tmp_path / "cache")
    vfs("prefetch", *place, "--cache-size", "1M", "data@v1", code=1)  # which is not enough
    vfs("prefetch", *place, "--cache-size", "1G", "data@v1:large")
    vfs("prefetch", *place, "data@v1:none", code=1)
    vfs("prefetch", *place, "data@v1")
    (tmp_path / "remote").rename(tmp_path / "away")
    assert_same(source, mount("--offline", "data@v1"))
