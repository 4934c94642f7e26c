"""Workers and daemons that are killed, crash or hang: what readers and operators see."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tarfile
from contextlib import suppress

import pytest

from tests.support.memory_view import file_bytes
from tests.support.mounting import MemoryMount, wait_for_end, wait_until
from vfs.daemon import list_mounts, mounts, unmount

pytestmark = [pytest.mark.mounted, pytest.mark.crash]


def ask_for_attribute(mnt: MemoryMount) -> subprocess.Popen[bytes]:
    """Start a reader whose request the kernel does not repeat, as it does a failed read-ahead."""
    ask = "import os, sys; print(os.getxattr(sys.argv[1], 'user.gate'))"
    return subprocess.Popen(
        [sys.executable, "-c", ask, mnt.mountpoint / "gate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_worker_killed_in_the_middle_of_a_read(mounted: MemoryMount) -> None:
    reader = subprocess.Popen(["cat", mounted.mountpoint / "gate"], stdout=subprocess.PIPE)
    first = mounted.arrival()
    os.kill(first, signal.SIGKILL)
    assert mounted.arrival() != first
    mounted.let_go()
    out, _ = reader.communicate(timeout=20)
    assert reader.returncode == 0
    assert out.startswith(b"gone through")
    wait_until(lambda: len(mounted.workers()) == 2)
    assert "fuse_reply" not in mounted.log


def test_all_workers_killed_again_and_again_during_tar(mnt: MemoryMount) -> None:
    assert mnt.mount(directories=100, workers=2).returncode == 0
    archive = mnt.store / "all.tar"
    names = [f"d{i}" for i in range(100)]
    tar = subprocess.Popen(
        ["tar", "-C", str(mnt.mountpoint), "-cf", str(archive), *names], stderr=subprocess.PIPE
    )
    killed = 0
    while tar.poll() is None:
        for pid in mnt.workers():
            with suppress(ProcessLookupError):  # one that ended since it was listed
                os.kill(pid, signal.SIGKILL)
                killed += 1
        wait_until(mnt.workers)
        try:
            tar.wait(0.03)
        except subprocess.TimeoutExpired:
            continue
    _, said = tar.communicate()
    assert (tar.returncode, said) == (0, b"")
    assert killed
    with tarfile.open(archive) as made:
        for member in made:
            if member.isfile():
                directory, file = (int(part[1:]) for part in member.name.split("/"))
                content = made.extractfile(member)
                assert content is not None
                assert content.read() == file_bytes(directory, file)
    unmount(mnt.mountpoint)


def test_an_attribute_asked_of_a_killed_worker(mounted: MemoryMount) -> None:
    reader = ask_for_attribute(mounted)
    for _ in range(3):
        os.kill(mounted.arrival(), signal.SIGKILL)
    mounted.arrival()
    mounted.let_go()
    out, _ = reader.communicate(timeout=20)
    assert out == b"b'gone throu'\n"


def test_workers_of_a_shared_descriptor(mnt: MemoryMount) -> None:
    assert mnt.mount(clone=False).returncode == 0
    reader = ask_for_attribute(mnt)
    os.kill(mnt.arrival(), signal.SIGKILL)
    mnt.arrival()
    mnt.let_go()
    out, _ = reader.communicate(timeout=20)
    assert out == b"b'gone throu'\n"


def test_where_nothing_can_be_done_the_mount_ends(mnt: MemoryMount) -> None:
    assert mnt.mount(clone=False, resend=False).returncode == 0
    pid = mnt.pid
    reader = ask_for_attribute(mnt)
    os.kill(mnt.arrival(), signal.SIGKILL)
    _, said = reader.communicate(timeout=20)
    assert b"abort" in said or b"not connected" in said
    wait_for_end(pid)
    assert not mnt.is_mounted
    assert "use Linux 6.9 or later" in mnt.log


def test_workers_leave_ending_to_the_parent(mounted: MemoryMount) -> None:
    before = mounted.workers()
    for pid in before:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
    assert (mounted.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)
    assert mounted.workers() == before


def test_workers_that_crash_later_at_their_start_end_the_mount(mounted: MemoryMount) -> None:
    pid = mounted.pid
    (mounted.store / "crashing").touch()
    for worker in mounted.workers():
        os.kill(worker, signal.SIGKILL)
    wait_for_end(pid)
    assert not mounted.is_mounted
    assert "die again and again" in mounted.log


def test_a_kernel_that_cannot_resend(mnt: MemoryMount) -> None:
    assert mnt.mount(resend=False).returncode == 0
    reader = ask_for_attribute(mnt)
    os.kill(mnt.arrival(), signal.SIGKILL)
    _, said = reader.communicate(timeout=20)
    assert reader.returncode == 1
    assert b"Software caused connection abort" in said
    assert (mnt.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)
    assert "the request it held fails" in mnt.log


def test_a_request_that_kills_every_worker_fails_alone(mounted: MemoryMount) -> None:
    with pytest.raises(OSError, match="abort") as caught:
        (mounted.mountpoint / "crash").read_bytes()
    assert caught.value.errno == errno.ECONNABORTED
    assert "SIGSEGV" in mounted.log
    assert (mounted.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)
    wait_until(lambda: len(mounted.workers()) == 2)


def test_workers_die_with_the_parent_and_the_dead_mount_is_cleared(mounted: MemoryMount) -> None:
    workers = mounted.workers()
    os.kill(mounted.pid, signal.SIGKILL)
    for pid in workers:
        wait_for_end(pid)
    wait_until(lambda: mounts.health(str(mounted.mountpoint)) == "stale")
    info = next(info for info in list_mounts() if info.mountpoint == mounted.mountpoint)
    assert info.state == "stale"
    again = mounted.mount()
    assert again.returncode == 0
    assert f"cleared a dead mount at {mounted.mountpoint}" in again.stderr
    assert (mounted.mountpoint / "d0/f0").read_bytes() == file_bytes(0, 0)


def test_a_killed_reader_does_not_disturb_the_others(mounted: MemoryMount) -> None:
    reader = subprocess.Popen(["cat", mounted.mountpoint / "gate"])
    mounted.arrival()
    reader.kill()
    for file in range(20):
        data = (mounted.mountpoint / f"d1/f{file}").read_bytes()
        assert data == file_bytes(1, file)
    mounted.let_go()
    assert reader.wait(timeout=20) == -signal.SIGKILL
    assert "ERROR" not in mounted.log


def test_a_dead_mount_is_cleared_by_unmounting(
    mounted: MemoryMount, caplog: pytest.LogCaptureFixture
) -> None:
    pid = mounted.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: mounts.health(str(mounted.mountpoint)) == "stale")
    unmount(mounted.mountpoint)
    assert "cleared a dead mount" in caplog.text
    assert not mounted.is_mounted
    assert list((mounted.store / "run").iterdir()) == []
