"""mount(8) with the type fuse.vfs, lines of fstab(5), and umount(8)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, a_hub_of_two
from tests.support.mounting import ROOT

pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) and its helpers are root's"),
]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub_of_two(tmp_path) as hub:
        yield hub


class Machine:
    """Runs scripts where /sbin has the two helpers and /etc/fstab the lines that are wanted."""

    def __init__(self, directory: Path) -> None:
        self._etc = directory / "etc"
        self._sbin = directory / "sbin"
        self._etc.mkdir()
        self._sbin.mkdir()
        for name in ("mount", "umount"):
            script = self._sbin / f"{name}.fuse.vfs"
            code = f"from vfs.cli.fstab import {name}; {name}()"
            command = f'exec {sys.executable} -c "{code}" "$@"'
            script.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} {command}\n")
            script.chmod(0o755)

    def run(self, script: str, *fstab: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run *script* in a mount namespace of its own; what it has mounted is gone with it."""
        (self._etc / "fstab").write_text("".join(f"{line} 0 0\n" for line in fstab))
        over = "".join(
            f"mount -t overlay -o lowerdir={shlex.quote(str(ours))}:{place} overlay {place}\n"
            for ours, place in ((self._sbin, os.path.realpath("/sbin")), (self._etc, "/etc"))
        )
        command = ["unshare", "--mount", "sh", "-ec", f"{over}{script}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done
        return done


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    probe = [
        "unshare",
        "--mount",
        "mount",
        "-t",
        "overlay",
        "-o",
        "lowerdir=/usr:/etc",
        "x",
        "/mnt",
    ]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no overlay can be mounted here")
    return Machine(tmp_path)


def test_one_version(hub: Hub, machine: Machine) -> None:
    said = machine.run(f"""
        mount -t fuse.vfs data@v1 {hub.mountpoint} -o store={hub.store},allow_other,noexec
        cat {hub.mountpoint}/file
        findmnt -no FSTYPE,SOURCE,OPTIONS {hub.mountpoint}
        umount {hub.mountpoint}
        ls {hub.mountpoint}
    """).stdout
    assert said.startswith(f"v1fuse.vfs {hub.store} ro,nosuid,nodev,noexec,")
    assert "allow_other" in said


def test_fstab_twice(hub: Hub, machine: Machine) -> None:
    line = (
        f"none {hub.mountpoint} fuse.vfs"
        f" store={hub.store},defaults,nofail,_netdev,x-systemd.automount,workers=1"
    )
    said = machine.run(
        f"""
        mount -a
        mount -a
        cat {hub.mountpoint}/data@v1/file
        echo written > {hub.mountpoint}/data@main/new
        findmnt -rno TARGET -t fuse.vfs | grep -F {hub.mountpoint}
        umount {hub.mountpoint}
        mountpoint {hub.mountpoint} || true
        """,
        line,
    )
    main = f"{hub.mountpoint}/data@main"
    assert [line.strip(" └─") for line in said.stdout.splitlines()] == [
        f"v1{hub.mountpoint}",
        main,
        f"{hub.mountpoint} is not a mountpoint",
    ]
    assert hub.vfs("status", "data@main").stdout.split()[-1] == "new"


def test_a_line_that_names_the_store_is_known_to_mount(hub: Hub, machine: Machine) -> None:
    line = f"{hub.store} {hub.mountpoint} fuse.vfs rev=data@main,ro,noauto"
    said = machine.run(
        f"""
        mount -a
        ls {hub.mountpoint}
        mount {hub.mountpoint}
        mount -av
        cat {hub.mountpoint}/file
        touch {hub.mountpoint}/x || umount {hub.mountpoint}
        """,
        line,
    )
    assert said.stdout.endswith("v2")
    assert "Read-only file system" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        ("data@v9 {mnt} -o store={store}", "no revision 'v9'", 32),
        ("data@v1 {mnt} -o store={store},unheard_of", "unknown mount option 'unheard_of'", 32),
        ("data@v1 {mnt} -o store={store},workers=many", "'many' is not a valid", 1),
        ("data@v1 {mnt} -o store=", "'store' has no value", 32),
        ("data@v1 {mnt} -o store={store},remount", "keeps its options", 32),
        ("a:b@c {mnt} -o store={store}", "has a path", 1),
    ],
)
def test_refusals(hub: Hub, machine: Machine, arguments: str, says: str, code: int) -> None:
    line = arguments.format(mnt=hub.mountpoint, store=hub.store)
    said = machine.run(f"mount.fuse.vfs {line}", code=code)
    assert says in said.stderr
    assert "Traceback" not in said.stderr
