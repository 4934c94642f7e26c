from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from vfs import mountinfo
from vfs.daemon import mounts
from vfs.errors import MountProblem

MOUNTINFO = b"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
42 22 0:39 / /mnt/a\\040b ro,nosuid - fuse.vfs /store\\054x ro,user_id=0
43 42 0:40 / /mnt/a\\040b rw master:3 propagate_from:1 - fuse.sshfs host: rw
44 22 0:41 / /mnt/\xff rw - tmpfs tmpfs rw
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mountinfo"
    path.write_bytes(MOUNTINFO)
    monkeypatch.setattr(mountinfo, "MOUNTINFO", path)


def test_mountinfo(listed: None) -> None:
    ours = [mount for mount in mountinfo.mounts() if mount.ours]
    assert ours == [mountinfo.Mount(42, "/mnt/a b", "0:39", "fuse.vfs", "/store,x")]
    assert mountinfo.mounts()[3].mountpoint == os.fsdecode(b"/mnt/\xff")


def test_the_one_that_is_seen(listed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("/mnt/a b")
    for number, kind, hidden in ((42, "fuse.vfs", None), (43, "fuse.sshfs", 42), (22, None, 42)):
        monkeypatch.setattr(mounts, "_mount_number", lambda _, number=number: number)
        seen, below = mounts.mount_at(place), mounts.hidden_at(place)
        assert (seen and seen.kind) == kind
        assert (below and below.number) == hidden
    assert mounts.hidden_at(Path("/mnt")) is None


def test_what_is_mounted_here(tmp_path: Path) -> None:
    root = mounts.mount_at(Path("/proc"))
    assert root is not None
    assert root.kind == "proc"
    assert mounts.mount_at(tmp_path) is None
    assert mounts.mount_at(tmp_path / "missing") is None


def test_real_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert mounts.real_path(tmp_path / "link" / "x" / "..") == tmp_path.resolve()


def test_health_of_a_directory(tmp_path: Path) -> None:
    assert mounts.health(str(tmp_path)) == "ok"


def test_holders(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], cwd=tmp_path, stdin=subprocess.PIPE) as cat:
        assert mounts.holders(str(tmp_path)) == [f"cat ({cat.pid})"]
    assert mounts.holders(str(tmp_path)) == []


def test_detaching_what_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(MountProblem, match="can't unmount"):
        mounts.detach(str(tmp_path), lazy=False)
