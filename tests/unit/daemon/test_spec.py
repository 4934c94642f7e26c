"""What is asked for, settled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vfs.daemon import MountSpec


def spec(*options: str, read_only: bool = False, allow_other: bool = False) -> MountSpec:
    return MountSpec(
        store=Path("/s"),
        mountpoint=Path("/m"),
        options=options,
        read_only=read_only,
        allow_other=allow_other,
    )


def test_paths_become_absolute_and_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    monkeypatch.chdir(tmp_path)
    settled = MountSpec(store=Path("link"), mountpoint=Path("mnt"), workers=0).settled()
    assert settled.store == tmp_path / "store"
    assert settled.mountpoint == tmp_path / "mnt"
    assert settled.workers == 1


@pytest.mark.parametrize(
    ("options", "read_only"),
    [
        ((), False),
        (("ro",), True),
        (("rw",), False),
        (("noexec,ro",), True),
        (("ro,rw",), False),
        (("rw", "ro"), True),
        (("ro", "noexec,rw,nodev"), False),
    ],
)
def test_the_last_one_of_ro_and_rw_counts(options: tuple[str, ...], read_only: bool) -> None:
    settled = spec(*options).settled()
    assert settled.read_only == read_only
    assert ("ro" in settled.libfuse_options(writable=not read_only)) == read_only


def test_an_option_of_its_own_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spec("rw", read_only=True).settled().read_only


def test_who_can_mount_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert spec().may_nest
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not spec("noexec").may_nest
    assert spec(allow_other=True).may_nest
    assert spec("noexec,allow_other").may_nest
