"""What is said before a mount is tried."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from vfs.daemon import MountSpec, checks
from vfs.daemon.checks import check
from vfs.errors import MountProblem


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountSpec:
    device = tmp_path / "fuse"
    device.touch()
    monkeypatch.setattr(checks, "FUSE_DEVICE", device)
    monkeypatch.setattr(checks, "FUSE_CONF", tmp_path / "fuse.conf")
    (tmp_path / "mnt").mkdir()
    return MountSpec(store=tmp_path, mountpoint=tmp_path / "mnt")


def problem(spec: MountSpec) -> str:
    with pytest.raises(MountProblem) as caught:
        check(spec)
    assert caught.value.hint
    return f"{caught.value}; {caught.value.hint}"


def test_nothing_to_say(spec: MountSpec) -> None:
    check(spec)


def test_no_device(spec: MountSpec) -> None:
    checks.FUSE_DEVICE.unlink()
    assert "modprobe fuse" in problem(spec)


def test_no_fusermount3(spec: MountSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "apt install fuse3" in problem(spec)


def test_allow_other_is_not_for_everybody(spec: MountSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/fusermount3")
    wanted = MountSpec(store=spec.store, mountpoint=spec.mountpoint, options=("allow_other",))
    assert "user_allow_other" in problem(wanted)
    checks.FUSE_CONF.write_text("#user_allow_other\n")
    assert "user_allow_other" in problem(wanted)
    checks.FUSE_CONF.write_text("mount_max = 7\nuser_allow_other # yes\n")
    check(wanted)


def test_mount_points(spec: MountSpec) -> None:
    (spec.mountpoint / "x").touch()
    assert "is not empty" in problem(spec)
    check(MountSpec(store=spec.store, mountpoint=spec.mountpoint, options=("nonempty",)))
    missing = spec.mountpoint / "none"
    assert f"mkdir -p {missing}" in problem(MountSpec(store=spec.store, mountpoint=missing))
    file = spec.mountpoint / "x"
    assert "not a directory" in problem(MountSpec(store=spec.store, mountpoint=file))
