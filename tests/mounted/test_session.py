"""A mount as programs and operators meet it: answers, options, and how it begins and ends."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.memory_view import FILES, file_bytes
from tests.support.mounting import (
    ROOT,
    MemoryMount,
    lazy_unmount,
    memory_mount,
    run,
    wait_for_end,
    wait_until,
)
from vfs.daemon import list_mounts, mounts, unmount
from vfs.daemon.mounts import READ_AHEAD_KB
from vfs.errors import MountProblem

pytestmark = pytest.mark.mounted

KERNEL_HELPER_TRIES = 5


# ------------------------------------------------------------------------------- answers


def test_reads_what_the_view_gives(mounted: MemoryMount) -> None:
    root = mounted.mountpoint
    assert {path.name for path in (root / "d3").iterdir()} == {f"f{i}" for i in range(50)}
    for directory in range(20):
        for file in range(50):
            data = (root / f"d{directory}/f{file}").read_bytes()
            assert data == file_bytes(directory, file)
    assert (root / "link").read_bytes() == file_bytes(0, 0)


def test_attributes(mounted: MemoryMount) -> None:
    facts = (mounted.mountpoint / "d2/f7").stat()
    assert facts.st_ino == FILES + (2 << 16) + 7
    assert stat.filemode(facts.st_mode) == "-rw-r--r--"
    assert facts.st_mtime_ns == facts.st_ctime_ns == facts.st_atime_ns == 1_700_000_000_123_456_789
    assert facts.st_size == len(file_bytes(2, 7))
    assert {(mounted.mountpoint / name).stat().st_ino for name in ("d0", "d1")} == {77}
    assert mounted.mountpoint.stat().st_ino == 1


def test_two_directories_of_one_number_stay_two(mounted: MemoryMount) -> None:
    first, second = mounted.mountpoint / "d0", mounted.mountpoint / "d1"
    for _ in range(3):
        assert (first / "f0").read_bytes() == file_bytes(0, 0)
        assert (second / "f0").read_bytes() == file_bytes(1, 0)
        run(["sh", "-c", f"cd {first} && test $(/bin/pwd) = {first}"])


def test_xattrs_and_statfs(mounted: MemoryMount) -> None:
    file = mounted.mountpoint / "d0/f0"
    assert os.listxattr(file) == ["user.kind"]
    assert os.getxattr(file, "user.kind") == b"made up"
    with pytest.raises(OSError, match="No data") as caught:
        os.getxattr(file, "user.none")
    assert caught.value.errno == errno.ENODATA
    facts = os.statvfs(mounted.mountpoint)
    assert (facts.f_blocks, facts.f_bfree, facts.f_bavail) == (1000, 400, 300)
    assert facts.f_namemax == 255


def test_absent_names(mounted: MemoryMount) -> None:
    assert not (mounted.mountpoint / "d0/none").exists()
    with pytest.raises(OSError, match="too long") as caught:
        (mounted.mountpoint / "d0" / ("x" * 256)).stat()
    assert caught.value.errno == errno.ENAMETOOLONG


def test_writing_is_refused(mounted: MemoryMount) -> None:
    root = mounted.mountpoint
    attempts = [
        lambda: (root / "new").write_text("x"),
        lambda: (root / "d0/f0").open("r+b"),
        (root / "dir").mkdir,
        (root / "d0/f0").unlink,
        (root / "d0").rmdir,
        lambda: (root / "d0/f0").rename(root / "d0/f1"),
        lambda: (root / "d0/f0").chmod(0o600),
        lambda: os.link(root / "d0/f0", root / "hard"),
        lambda: os.setxattr(root / "d0/f0", "user.x", b"1"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="Read-only") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS


def test_damage_and_bugs_are_eio_and_in_the_log(mounted: MemoryMount) -> None:
    for name in ("broken", "bug"):
        with pytest.raises(OSError, match="Input/output") as caught:
            (mounted.mountpoint / name).read_bytes()
        assert caught.value.errno == errno.EIO
    assert "chunk 00ff is damaged" in mounted.log
    assert "RuntimeError: nobody expected this" in mounted.log
    assert (mounted.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)


# ------------------------------------------------------------------------------- begin and end


def test_listed_while_it_lives(mounted: MemoryMount) -> None:
    ours = [info for info in list_mounts() if info.mountpoint == mounted.mountpoint]
    assert [(info.store, info.pid, info.workers, info.state) for info in ours] == [
        (mounted.store, mounted.pid, 2, "ok")
    ]
    pids = [mounted.pid, *mounted.workers()]
    assert len(pids) == 3
    unmount(mounted.mountpoint)
    for pid in pids:
        wait_for_end(pid, seconds=0)
    assert list((mounted.store / "run").iterdir()) == []
    assert not [info for info in list_mounts() if info.mountpoint == mounted.mountpoint]


def test_mounted_twice(mounted: MemoryMount) -> None:
    again = mounted.mount()
    assert again.returncode == 1
    assert f"is mounted already (process {mounted.pid})" in again.stderr
    assert f"vfs umount {mounted.mountpoint}" in again.stderr
    assert len([m for m in mounts.mounts() if m.mountpoint == str(mounted.mountpoint)]) == 1


def test_mounted_again_at_once_after_unmounting(mounted: MemoryMount) -> None:
    for _ in range(5):
        unmount(mounted.mountpoint)
        assert mounted.mount().returncode == 0
        assert (mounted.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)
    assert len(list((mounted.store / "log").iterdir())) == 2


def test_options(mnt: MemoryMount) -> None:
    done = mnt.mount(options=["noexec,noatime", "suid", "allow_other,relatime"])
    assert done.returncode == 0, done.stderr
    line = next(
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if f" {mnt.mountpoint} " in line
    )
    assert f"- fuse.vfs {mnt.store} " in line
    for option in ("ro", "noexec", "noatime", "nodev", "allow_other", "default_permissions"):
        assert option in line.replace(" ", ",").split(",")
    assert "nosuid" not in line


def test_a_store_with_an_odd_name(tmp_path: Path) -> None:
    odd = tmp_path / "a, b\\c\tü"
    odd.mkdir()
    with memory_mount(odd) as mnt:
        done = mnt.mount()
        assert done.returncode == 0, done.stderr
        found = mounts.mount_at(mnt.mountpoint)
        assert found is not None
        assert found.source == str(mnt.store)
        assert found.ours
        unmount(mnt.mountpoint)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("rw", "versions are read-only"),
        ("noexce", "did you mean 'noexec'?"),
        ("fsname=x", "'fsname' can't be set"),
        ("max_read=65536", "'max_read' can't be set"),
        ("context", "it takes a value"),
    ],
)
def test_refused_options(mnt: MemoryMount, options: str, said: str) -> None:
    done = mnt.mount(options=[options])
    assert done.returncode == 1
    assert said in done.stderr
    assert not mnt.is_mounted


def test_bad_mount_points(mnt: MemoryMount) -> None:
    (mnt.mountpoint / "something").touch()
    assert "is not empty" in mnt.mount().stderr
    assert mnt.mount(options=["nonempty"]).returncode == 0
    unmount(mnt.mountpoint)
    (mnt.mountpoint / "something").unlink()
    mnt.mountpoint.rmdir()
    assert "mkdir -p" in mnt.mount().stderr
    mnt.mountpoint.touch()
    assert "is not a directory" in mnt.mount().stderr
    mnt.mountpoint.unlink()
    mnt.mountpoint.mkdir()


def test_a_store_that_workers_cannot_open(mnt: MemoryMount) -> None:
    (mnt.store / "broken").touch()
    done = mnt.mount()
    assert done.returncode == 1
    assert "the store is broken\nmend it" in done.stderr
    assert not mnt.is_mounted
    assert mnt.record is None


def test_workers_that_crash_at_their_start(mnt: MemoryMount) -> None:
    (mnt.store / "crashing").touch()
    done = mnt.mount()
    assert done.returncode == 1
    assert "die again and again" in done.stderr
    assert not mnt.is_mounted


def test_workers_that_hang_at_their_start(mnt: MemoryMount) -> None:
    (mnt.store / "hanging").touch()
    done = mnt.mount(ready_seconds=0.3)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert not mnt.is_mounted
    assert mnt.record is None


def test_two_at_once_for_one_mount_point(mnt: MemoryMount) -> None:
    both = [subprocess.Popen(mnt.command(), cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert len([m for m in mounts.mounts() if m.mountpoint == str(mnt.mountpoint)]) == 1
    assert (mnt.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)


def test_interrupted_before_it_is_ready(mnt: MemoryMount) -> None:
    (mnt.store / "hanging").touch()
    with subprocess.Popen(mnt.command(), cwd=ROOT, stderr=subprocess.PIPE) as starting:
        wait_until(lambda: mnt.is_mounted)
        pid = mnt.pid
        starting.send_signal(signal.SIGINT)
        assert starting.stderr is not None
        assert b"interrupted" in starting.stderr.read()
    mnt.let_go()
    wait_for_end(pid)
    assert "is gone" in mnt.log
    assert not mnt.is_mounted


def test_unmounted_by_the_kernel_helper_when_the_daemon_dies(mnt: MemoryMount) -> None:
    # The helper is fusermount3's and has a race of its own: it may look while a worker still ends.
    for _ in range(KERNEL_HELPER_TRIES):
        assert mnt.mount(options=["auto_unmount"]).returncode == 0
        os.kill(mnt.pid, signal.SIGKILL)
        with suppress(AssertionError):
            wait_until(lambda: not mnt.is_mounted, seconds=3)
            return
        lazy_unmount(mnt.mountpoint)
    pytest.fail("it was never unmounted")


def test_housekeeping(mnt: MemoryMount) -> None:
    assert mnt.mount(housekeeping_seconds=1).returncode == 0
    wait_until((mnt.store / "cleaned").exists)
    (mnt.store / "cleaned").unlink()
    wait_until((mnt.store / "cleaned").exists)
    assert len(mnt.workers()) == 2


def test_read_ahead(mounted: MemoryMount) -> None:
    mount = mounts.mount_at(mounted.mountpoint)
    assert mount is not None
    setting = Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb")
    if not os.access(setting, os.W_OK):
        pytest.skip("only root can set it")
    assert int(setting.read_text()) == READ_AHEAD_KB


def test_unmount_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(MountProblem, match="no version is mounted"):
        unmount(tmp_path)


def test_unmount_while_in_use(mounted: MemoryMount) -> None:
    with (mounted.mountpoint / "d0/f0").open("rb") as file:
        with pytest.raises(MountProblem, match=rf"in use by .*\({os.getpid()}\)") as caught:
            unmount(mounted.mountpoint)
        assert "lazy" in caught.value.hint
        pid = mounted.pid
        unmount(mounted.mountpoint, lazy=True)
        assert not mounted.is_mounted
        assert file.read() == file_bytes(0, 0)  # served until it is closed
    wait_for_end(pid)


def test_unmounted_from_outside(mounted: MemoryMount) -> None:
    pid = mounted.pid
    run(["fusermount3", "-u", str(mounted.mountpoint)])
    wait_for_end(pid)
    assert mounted.record is None
    assert "was unmounted" in mounted.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_by_a_signal_with_open_files(mnt: MemoryMount, number: signal.Signals) -> None:
    with mnt.mount_in_foreground() as daemon:
        fd = os.open(mnt.mountpoint / "d0/f0", os.O_RDONLY)
        os.read(fd, 1)
        began = time.monotonic()
        daemon.send_signal(number)
        assert daemon.wait(timeout=20) == 0
        assert time.monotonic() - began < 2  # it is promised to users
    with pytest.raises(OSError, match="not connected"):
        os.close(fd)
    assert not mnt.is_mounted
    assert list((mnt.store / "run").iterdir()) == []


def test_ended_by_a_signal_while_a_reader_waits(mounted: MemoryMount) -> None:
    reader = subprocess.Popen(["cat", mounted.mountpoint / "gate"], stderr=subprocess.PIPE)
    mounted.arrival()
    pid = mounted.pid
    os.kill(pid, signal.SIGTERM)
    wait_for_end(pid)
    _, said = reader.communicate(timeout=20)
    assert reader.returncode == 1
    assert b"abort" in said or b"not connected" in said
    assert not mounted.is_mounted


def test_unmounted_lazily_from_outside_while_a_reader_reads(mounted: MemoryMount) -> None:
    reader = subprocess.Popen(["cat", mounted.mountpoint / "gate"], stdout=subprocess.PIPE)
    mounted.arrival()
    pid = mounted.pid
    run(["fusermount3", "-u", "-z", str(mounted.mountpoint)])
    mounted.let_go()
    out, _ = reader.communicate(timeout=20)
    assert out.startswith(b"gone through")
    wait_for_end(pid)
