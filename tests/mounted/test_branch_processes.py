"""The processes of branches: how they begin and end, and what a killed one leaves to others."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.branches import (
    happens_soon,
    is_served,
    keeper,
    left_in_run,
    opened,
    owner,
    processes,
)
from tests.support.hub import Hub, a_hub
from tests.support.mounting import children, process_name, wait_for_end, wait_until
from vfs.daemon import list_mounts, mounts, owners

pytestmark = [pytest.mark.mounted, pytest.mark.crash]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "file").write_text("one")
    return root


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    """`data` with the version v1 and the branches main and exp; not mounted yet."""
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        made.vfs("branch", "data", "exp")
        yield made


@pytest.fixture
def alone(hub: Hub) -> Hub:
    """`data@main` alone, mounted to be written to."""
    hub.mount("data@main")
    return hub


@pytest.fixture
def mounted(hub: Hub) -> Hub:
    hub.mount()
    return hub


@contextlib.contextmanager
def dirty_file(path: Path) -> Iterator[bytes]:
    """Hold a file open of which the kernel has pages that it has not written back; its content."""
    content = bytearray(b"written " * 4000)
    with opened(path) as fd:
        os.write(fd, content)
        with mmap.mmap(fd, len(content)) as memory:
            memory[:6] = content[:6] = b"mapped"
            yield bytes(content)


# ------------------------------------------------------------------------------- a branch alone


def test_a_branch_alone_is_written_to_and_keeps_it(alone: Hub) -> None:
    (alone.mountpoint / "file").write_text("two")
    (alone.mountpoint / "new").mkdir()
    (info,) = [info for info in list_mounts() if info.mountpoint == alone.mountpoint]
    assert (info.target, info.state, info.writable) == ("data@main", "ok", True)
    pids = processes(alone)
    assert {process_name(pid) for pid in pids[1:]} == {"vfs-branch", "vfs-watch"}
    alone.unmount()
    for pid in pids:
        wait_for_end(pid, seconds=0)
    assert left_in_run(alone.store) == []
    alone.mount("data@main")
    assert (alone.mountpoint / "file").read_text() == "two"
    assert (alone.mountpoint / "new").is_dir()


def test_the_branch_of_a_data_set_without_a_version(hub: Hub) -> None:
    hub.vfs("create", "empty")
    hub.mount("empty")
    (hub.mountpoint / "first").write_text("1")
    inode = (hub.mountpoint / "first").stat().st_ino
    hub.vfs("commit", "empty", "-m", "First")
    assert (hub.mountpoint / "first").stat().st_ino == inode
    hub.unmount()
    assert hub.vfs("cat", "empty:first").stdout == "1"


@pytest.mark.parametrize("option", [("--read-only",), ("-o", "ro"), ("-o", "rw,noexec,ro")])
def test_a_branch_can_be_looked_at_as_it_was_committed(
    hub: Hub, tmp_path: Path, option: tuple[str, ...]
) -> None:
    hub.mount("data@main")
    (hub.mountpoint / "file").write_text("two")
    shown = tmp_path / "shown"
    shown.mkdir()
    hub.vfs("mount", *option, "data@main", shown)
    try:
        assert (shown / "file").read_text() == "one"
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            (shown / "file").write_text("three")
    finally:
        hub.vfs("umount", shown)


def test_one_process_writes_a_branch(alone: Hub, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    refused = alone.vfs("mount", "data@main", other, check=False)
    assert refused.returncode == 1
    pid = owner(alone, "main")
    assert f"being written by process {pid}, mounted at {alone.mountpoint}" in refused.stderr
    assert mounts.mount_at(other) is None
    (alone.mountpoint / "file").write_text("two")
    alone.unmount()
    alone.vfs("mount", "data@main", other)
    try:
        assert (other / "file").read_text() == "two"
    finally:
        alone.vfs("umount", other)


def test_unmounted_from_outside_and_mounted_again_at_once(alone: Hub) -> None:
    """umount(8) returns before the process has stored what was written."""
    for count in range(5):
        (alone.mountpoint / "file").write_text(str(count))
        pid = alone.pid
        subprocess.run(["umount", alone.mountpoint], check=True)
        wait_for_end(pid)
        alone.mount("data@main")
        assert (alone.mountpoint / "file").read_text() == str(count)


def test_a_killed_process_is_replaced(alone: Hub) -> None:
    (alone.mountpoint / "stored").write_text("stored")
    with opened(alone.mountpoint / "stored") as held:
        os.fsync(held)
        for _ in range(5):
            pid = owner(alone, "main")
            os.kill(pid, signal.SIGKILL)
            happens_soon(lambda pid=pid: _serves(alone) not in (None, pid))
            assert (alone.mountpoint / "stored").read_text() == "stored"
            with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
                os.fsync(held)
    assert "was killed by SIGKILL; it is started anew" in alone.log


def _serves(hub: Hub) -> int | None:
    """The process that serves `data@main`, once it answers at the mount point."""
    # In this order: a moment after the dead mount has gone, the directory below answers.
    if mounts.health(str(hub.mountpoint)) != "ok" or mounts.mount_at(hub.mountpoint) is None:
        return None
    found = owners.find(hub.store, "data", "main")
    return found.pid if found else None


def test_sigterm_keeps_what_was_written_to_an_open_file(alone: Hub) -> None:
    with dirty_file(alone.mountpoint / "dirty") as content:
        pid = alone.pid
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid, seconds=10)
        assert mounts.mount_at(alone.mountpoint) is None
    assert left_in_run(alone.store) == []
    alone.mount("data@main")
    assert (alone.mountpoint / "dirty").read_bytes() == content


def test_the_process_outlives_its_parent_until_all_is_stored(alone: Hub) -> None:
    with dirty_file(alone.mountpoint / "dirty") as content:
        pid = owner(alone, "main")
        os.kill(alone.pid, signal.SIGKILL)
        wait_for_end(pid, seconds=10)
    assert mounts.mount_at(alone.mountpoint) is None
    alone.mount("data@main")
    assert (alone.mountpoint / "dirty").read_bytes() == content


def test_lazily_unmounted_it_serves_files_that_are_open(alone: Hub) -> None:
    pid = alone.pid
    with (alone.mountpoint / "file").open("r+") as file:
        alone.vfs("umount", "--lazy", alone.mountpoint)
        file.write("two")
        file.flush()
        os.fsync(file.fileno())
    wait_for_end(pid)
    alone.mount("data@main")
    assert (alone.mountpoint / "file").read_text() == "two"


def test_the_mount_of_a_branch_that_is_deleted_ends(hub: Hub) -> None:
    hub.vfs("branch", "data", "gone")
    hub.mount("data@gone")
    hub.vfs("branch", "data", "gone", "--delete")
    happens_soon(lambda: mounts.mount_at(hub.mountpoint) is None)
    wait_until(lambda: left_in_run(hub.store) == [])


# ------------------------------------------------------------------------------- in the hub


def test_the_hub_mounts_every_branch(mounted: Hub) -> None:
    for name in ("main", "exp"):
        assert is_served(mounted, name)
        (mounted[name] / "file").write_text(name)
    assert (mounted["main"] / "file").read_text() == "main"
    assert (mounted["v1"] / "file").read_text() == "one"
    assert sorted(os.listdir(mounted.mountpoint)) == ["data@exp", "data@main", "data@v1"]
    listed = {str(info.mountpoint): info for info in list_mounts()}
    assert listed[str(mounted["exp"])].pid == owner(mounted, "exp")
    pids = processes(mounted)
    mounted.unmount()
    for pid in pids:
        wait_for_end(pid, seconds=0)
    assert left_in_run(mounted.store) == []
    assert not [mount for mount in list_mounts() if mount.store == mounted.store]
    mounted.mount()
    assert (mounted["exp"] / "file").read_text() == "exp"


def test_branches_come_and_go(mounted: Hub) -> None:
    mounted.vfs("branch", "data", "later")
    happens_soon(lambda: is_served(mounted, "later"))
    pid = owner(mounted, "later")
    mounted.vfs("branch", "data", "later", "--delete")
    happens_soon(lambda: not mounted["later"].exists())
    wait_for_end(pid)
    mounted.vfs("branch", "data", "later")
    happens_soon(lambda: is_served(mounted, "later"))
    (mounted["later"] / "file").write_text("two")


def test_mkdir_makes_branches_and_data_sets(mounted: Hub) -> None:
    mounted["made"].mkdir()
    (mounted["made"] / "file").write_text("two")  # nobody has to wait for it to be mounted
    assert is_served(mounted, "made")
    top = mounted.mountpoint
    (top / "fresh").mkdir()
    happens_soon(lambda: os.path.ismount(top / "fresh@main"))
    (top / "fresh/first").write_text("1")  # through the link
    assert (top / "fresh").readlink() == Path("fresh@main")
    with (top / "fresh@main/first").open() as held:
        mounted.vfs("commit", "fresh", "-m", "First")
        assert held.read() == "1"
        wait_until(lambda: "fresh@main" in os.listdir(top))
        assert os.path.ismount(top / "fresh@main")
    (top / "fresh@more").mkdir()
    happens_soon((top / "fresh@more/first").exists)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("data@v1", errno.EEXIST),
        ("data@main", errno.EEXIST),
        (".Trash-0", errno.EPERM),
        ("data@", errno.EPERM),
        ("@", errno.EPERM),
        ("data@latest", errno.EEXIST),
        ("none@exp", errno.ENOENT),
        ("d\xe9", errno.EROFS),
        ("data@v1/below", errno.EROFS),
    ],
)
def test_what_mkdir_does_not_make(mounted: Hub, name: str, number: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
        (mounted.mountpoint / name).mkdir()
    assert caught.value.errno == number


def test_a_branch_that_is_moved_is_shown_anew_if_nothing_was_changed(
    mounted: Hub, source: Path
) -> None:
    pid = owner(mounted, "main")
    (source / "file").write_text("imported")
    mounted.vfs("import", source, "data", "-m", "second")
    happens_soon(lambda: _text(mounted["main"] / "file") == "imported")
    assert owner(mounted, "main") != pid
    (mounted["main"] / "file").write_text("mine")
    (source / "file").write_text("imported again")
    refused = mounted.vfs("import", source, "data", "-m", "third", check=False)
    assert refused.returncode == 1
    assert (mounted["main"] / "file").read_text() == "mine"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_the_mount_stays_through_commits(mounted: Hub) -> None:
    here = mounted["main"]
    work = f"""
import os, sys
os.chdir({str(here)!r})
count = 0
print("begun", flush=True)
while not os.path.exists("stop"):
    with open(f"f{{count % 20}}", "w") as file:
        file.write(str(count))
    assert open(f"{here}/f{{count % 20}}").read() == str(count)
    assert os.getcwd() == {str(here)!r}
    os.listdir({str(mounted.mountpoint)!r})
    count += 1
"""
    command = [sys.executable, "-c", work]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        pid = owner(mounted, "main")
        for count in range(10):
            mounted.vfs("commit", "data", "-m", str(count))
        (here / "stop").touch()
        assert worker.wait(timeout=20) == 0
    assert owner(mounted, "main") == pid
    assert (mounted["main~3"] / "f0").exists()


def test_one_killed_branch_is_noticed_by_nobody_else(mounted: Hub) -> None:
    others = {owner(mounted, "exp"), keeper(mounted), *mounted.workers()}
    with (mounted["exp"] / "file").open("r+") as held:
        os.kill(owner(mounted, "main"), signal.SIGKILL)
        happens_soon(lambda: is_served(mounted, "main"))
        held.write("two")
        held.flush()
        os.fsync(held.fileno())
    assert others == {owner(mounted, "exp"), keeper(mounted), *mounted.workers()}
    assert (mounted["main"] / "file").read_text() == "one"


def test_sigterm_keeps_what_was_written_in_the_hub(mounted: Hub) -> None:
    with dirty_file(mounted["main"] / "dirty") as content, opened(mounted["exp"] / "file"):
        pids = processes(mounted)
        os.kill(pids[0], signal.SIGTERM)
        for pid in pids:
            wait_for_end(pid, seconds=10)
        assert not [mount for mount in list_mounts() if mount.store == mounted.store]
    assert left_in_run(mounted.store) == []
    mounted.mount()
    assert (mounted["main"] / "dirty").read_bytes() == content


def test_branches_outlive_a_killed_hub_until_all_is_stored(mounted: Hub) -> None:
    with dirty_file(mounted["main"] / "dirty") as content:
        pids = processes(mounted)
        os.kill(pids[0], signal.SIGKILL)
        for pid in pids:
            wait_for_end(pid, seconds=10)
    assert mounts.health(str(mounted.mountpoint)) == "stale"
    assert "cleared a dead mount" in mounted.vfs("mount", mounted.mountpoint).stderr
    assert (mounted["main"] / "dirty").read_bytes() == content
    assert is_served(mounted, "exp")


@pytest.mark.parametrize("command", ["mount", "umount"])
def test_dead_mounts_inside_of_a_dead_hub_are_cleared(mounted: Hub, command: str) -> None:
    pids = processes(mounted)
    for number in (signal.SIGSTOP, signal.SIGKILL):  # or some end in order, as their parent died
        for pid in pids:
            os.kill(pid, number)
    for pid in pids:
        wait_for_end(pid)
    stale = {info.mountpoint for info in list_mounts() if info.store == mounted.store}
    assert {mounted.mountpoint, mounted["main"], mounted["exp"]} == stale
    mounted.vfs(command, mounted.mountpoint)
    if command == "mount":
        assert (mounted["main"] / "file").read_text() == "one"
        mounted.unmount()
    assert not [info for info in list_mounts() if info.store == mounted.store]
    assert left_in_run(mounted.store) == [] or command == "umount"


def test_a_killed_keeper_is_replaced_and_nothing_lost(mounted: Hub) -> None:
    before = keeper(mounted)
    with dirty_file(mounted["main"] / "dirty") as content:
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: is_served(mounted, "exp") and keeper(mounted) not in (0, before))
        wait_until(lambda: is_served(mounted, "main") and (mounted["main"] / "dirty").exists())
    assert (mounted["main"] / "dirty").read_bytes() == content


def test_a_hub_in_use_is_left_alone_unless_lazily(mounted: Hub) -> None:
    with (mounted["exp"] / "file").open("r+") as file:
        refused = mounted.vfs("umount", mounted.mountpoint, check=False)
        assert (refused.returncode, "is in use" in refused.stderr) == (1, True)
        assert is_served(mounted, "exp")
        pids = processes(mounted)
        mounted.vfs("umount", "--lazy", mounted.mountpoint)
        assert mounts.mount_at(mounted.mountpoint) is None
        file.write("two")
        file.flush()
        os.fsync(file.fileno())
    for pid in pids:
        wait_for_end(pid)
    mounted.mount()
    assert (mounted["exp"] / "file").read_text() == "two"


def test_a_branch_of_a_hub_is_not_unmounted_alone(mounted: Hub) -> None:
    refused = mounted.vfs("umount", mounted["exp"], check=False)
    assert "belongs to the mount at" in refused.stderr
    subprocess.run(["umount", mounted["exp"]], check=True)
    assert not os.path.ismount(mounted["exp"])
    wait_until(lambda: is_served(mounted, "exp"))  # it would be missed otherwise


def test_a_branch_that_is_mounted_elsewhere(hub: Hub, tmp_path: Path) -> None:
    """What it was committed as is seen in the hub, unless it is something else by now."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    hub.vfs("mount", "data@exp", elsewhere)
    hub.mount()
    assert is_served(hub, "main")
    assert not is_served(hub, "exp")
    assert (hub["exp"] / "file").read_text() == "one"
    assert os.listdir(hub["exp"]) == ["file"]
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (hub["exp"] / "file").write_text("no")
    (elsewhere / "file").write_text("two")
    for look in (os.listdir, lambda path: (path / "file").read_text()):
        with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
            look(hub["exp"])
    hub.vfs("umount", elsewhere)
    happens_soon(lambda: is_served(hub, "exp"))
    assert (hub["exp"] / "file").read_text() == "two"
    assert f"data@exp is mounted at {elsewhere} and not here" in hub.log


def test_a_branch_that_cannot_be_served_takes_nothing_else_down(mounted: Hub) -> None:
    (mounted.store / "run" / "branch-data@bad.lock").mkdir()
    mounted.vfs("branch", "data", "bad")
    wait_until(lambda: "data@bad can't be served" in mounted.log)
    assert is_served(mounted, "main")
    assert (mounted["bad"] / "file").read_text() == "one"
    mounted.vfs("branch", "data", "fine")
    happens_soon(lambda: is_served(mounted, "fine"))
    (mounted.store / "run" / "branch-data@bad.lock").rmdir()
    wait_until(lambda: is_served(mounted, "bad"))


def test_workers_are_replaced_beside_branches(mounted: Hub) -> None:
    before = mounted.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(mounted.workers()) == len(before))
    assert is_served(mounted, "main")
    assert (mounted["v1"] / "file").read_text() == "one"
    names = [process_name(pid) for pid in children(mounted.pid)]
    assert names.count("vfs-branches") == 1
