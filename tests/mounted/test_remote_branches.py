"""Branches of a remote, mounted and written to: fetched as they are read, pushed when committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.branch import serving
from tests.support.caches import PATIENT, evict_all
from tests.support.mounting import lazy_unmount, process_name, wait_for_end, wait_until
from tests.support.remote_mounts import (
    Mount,
    assert_same,
    hanging,
    is_fetching,
    mounts,
    pushed_source,
    vfs,
)
from vfs.daemon import registry
from vfs.sync.cache import open_cache

pytestmark = pytest.mark.mounted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pushed_source(tmp_path, f"file://{tmp_path}/remote")


@pytest.fixture
def mount(tmp_path: Path, source: Path) -> Iterator[Mount]:
    with mounts(tmp_path, f"file://{tmp_path}/remote") as new:
        yield new


@pytest.fixture
def other(tmp_path: Path, source: Path) -> Iterator[Mount]:
    """What mounts the remote on another machine, which has a cache of its own."""
    (tmp_path / "other").mkdir()
    with mounts(tmp_path / "other", f"file://{tmp_path}/remote") as new:
        yield new


def _unmount(cache: Path, mountpoint: Path) -> None:
    record = registry.find(cache, str(mountpoint))
    assert record is not None
    vfs("umount", mountpoint)
    wait_for_end(record.pid)


def _change(tree: Path) -> None:
    with (tree / "large").open("r+b") as file:
        file.seek(3_000_001)
        file.write(b"in the middle")
    (tree / "new").mkdir()
    (tree / "new" / "file").write_bytes(os.urandom(3 << 20))
    (tree / "large").rename(tree / "new" / "moved")


def test_what_was_changed_is_pushed_and_pulled(source: Path, mount: Mount, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shown = mount("data@main")
    assert_same(source, shown)
    _change(shown)
    (shown / ".vfs" / "commit").write_text("changed\n")
    assert (shown / ".vfs" / "status").read_bytes() == b""
    _unmount(cache, shown)
    with open_cache(cache, PATIENT) as repo:
        evict_all(repo)
    again = mount("data@main")
    assert (again / "new" / "moved").read_bytes()[3_000_001:][:13] == b"in the middle"
    done = subprocess.run(
        [sys.executable, "-m", "vfs", "push"],
        cwd=again,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "moved on" in done.stdout, done
    vfs("--store", tmp_path / "origin", "pull")
    vfs("--store", tmp_path / "origin", "export", "data@main", tmp_path / "exported")
    os.removexattr(tmp_path / "exported", "trusted.vfs.export")
    assert_same(tmp_path / "exported", again)


def is_there(path: Path) -> bool:
    """Say whether a path is there; where the branch was moved, its server is another soon."""
    with suppress(OSError):
        return path.exists()
    return False


def test_of_two_machines_one_wins_and_the_other_goes_on(
    source: Path, mount: Mount, other: Mount, tmp_path: Path
) -> None:
    ours, theirs = mount("data@main"), other("data@main")
    for shown, name in ((ours, "ours"), (theirs, "theirs")):
        (shown / name).write_text(name)
        (shown / ".vfs" / "commit").write_text(name)
    vfs("--store", tmp_path / "other" / "cache", "push")
    head = (theirs / ".vfs" / "head").read_text().strip()
    vfs("--store", tmp_path / "cache", "push", code=1)
    vfs("--store", tmp_path / "cache", "pull", code=1)
    vfs("--store", tmp_path / "cache", "merge", f"data@{head[:12]}", "into", "data@main")
    wait_until(lambda: is_there(ours / "theirs"))
    vfs("--store", tmp_path / "cache", "push")
    vfs("--store", tmp_path / "other" / "cache", "pull")
    wait_until(lambda: is_there(theirs / "ours"))
    assert_same(ours, theirs)


@pytest.mark.crash
def test_what_was_synced_outlives_a_kill(source: Path, mount: Mount, tmp_path: Path) -> None:
    shown = mount("data@main")
    data = os.urandom(2 << 20)
    fd = os.open(shown / "synced", os.O_WRONLY | os.O_CREAT)
    os.write(fd, data)
    os.fsync(fd)
    record = registry.find(tmp_path / "cache", str(shown))
    assert record is not None
    with subprocess.Popen(["dd", "if=/dev/urandom", f"of={shown}/more", "bs=1M", "count=100"]):
        wait_until((shown / "more").exists)
        pids = serving(record.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_for_end(pid)
        lazy_unmount(shown)
    with suppress(OSError):  # the server is gone
        os.close(fd)
    with open_cache(tmp_path / "cache", PATIENT) as repo:
        evict_all(repo)
    again = mount("data@main")
    assert (again / "synced").read_bytes() == data
    (again / ".vfs" / "commit").write_text("what is left")
    vfs("--store", tmp_path / "cache", "push")


def test_a_remote_that_hangs_keeps_only_those_waiting_who_need_it(
    source: Path, mount: Mount, tmp_path: Path
) -> None:
    shown = mount("data@main")
    names = sorted(os.listdir(shown))
    (shown / "here").write_bytes(b"here")
    with hanging(tmp_path / "remote"):
        reader = subprocess.Popen(["cat", shown / "large"], stdout=subprocess.DEVNULL)
        wait_until(lambda: is_fetching(tmp_path / "cache"))
        with (shown / "made").open("wb") as file:
            file.write(b"other")
            file.flush()
            os.fsync(file.fileno())
        (shown / "made").rename(shown / "moved")
        assert (shown / "moved").read_bytes() == b"other"
        assert sorted(os.listdir(shown)) == sorted([*names, "here", "moved"])
        (shown / ".vfs" / "commit").write_text("made meanwhile")
        assert reader.poll() is None
    reader.wait(60)
    assert (shown / "large").read_bytes() == (source / "large").read_bytes()


@pytest.mark.crash
@pytest.mark.parametrize("what", [("data@main",), ()], ids=["alone", "hub"])
def test_what_fetches_ahead_is_started_again(
    what: tuple[str, ...], source: Path, mount: Mount, tmp_path: Path
) -> None:
    shown = mount(*what)
    record = registry.find(tmp_path / "cache", str(shown))
    assert record is not None
    for _ in range(2):
        wait_until(lambda: len(_fetching_ahead(record.pid)) == 1)
        (killed,) = _fetching_ahead(record.pid)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in serving(record.pid))  # noqa: B023 - called here
    wait_until(lambda: len(_fetching_ahead(record.pid)) == 1)
    (last,) = _fetching_ahead(record.pid)
    assert_same(source, shown if what else shown / "data@main")
    _unmount(tmp_path / "cache", shown)
    wait_for_end(last)


def _fetching_ahead(daemon: int) -> list[int]:
    return [pid for pid in serving(daemon) if process_name(pid) == "vfs-ahead"]


def test_in_the_hub_branches_are_made_and_written_to(
    source: Path, mount: Mount, tmp_path: Path
) -> None:
    hub = mount()
    assert_same(source, hub / "data@v1")
    (hub / "data@mine").mkdir()
    for name in ("main", "mine"):
        wait_until((hub / f"data@{name}" / ".vfs").exists)
        (hub / f"data@{name}" / name).write_text(name)
        (hub / f"data@{name}" / ".vfs" / "commit").write_text(name)
    vfs("--store", tmp_path / "cache", "push")
    vfs("--store", tmp_path / "origin", "pull", "data")
    for name in ("main", "mine"):
        exported = tmp_path / name
        vfs("--store", tmp_path / "origin", "export", f"data@{name}", exported)
        os.removexattr(exported, "trusted.vfs.export")
        assert_same(exported, hub / f"data@{name}")
        assert (exported / name).read_text() == name


def test_offline_it_is_written_and_committed(source: Path, mount: Mount, tmp_path: Path) -> None:
    vfs("prefetch", *_at(tmp_path), "data@main:large")
    first = mount("data@main")
    os.listdir(first)
    _unmount(tmp_path / "cache", first)
    (tmp_path / "remote").rename(tmp_path / "away")
    shown = mount("--offline", "data@main")
    _change(shown)
    (shown / ".vfs" / "commit").write_text("offline")
    (tmp_path / "away").rename(tmp_path / "remote")
    vfs("--store", tmp_path / "cache", "push")


def _at(directory: Path) -> tuple[str | Path, ...]:
    return ("--remote", f"file://{directory}/remote", "--cache", directory / "cache")
