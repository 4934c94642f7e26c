"""An ordinary user's mounts: by fusermount3, and of a device that root's helper has mounted."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMAND
from tests.support.mounting import ROOT, lazy_unmount, wait_until
from vfs import mountinfo
from vfs.daemon import mounts, registry

pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
USER = 65534
BECOME = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
# So that the interpreter may be in root's home; FUSE and fusermount3 don't care for that right.
BECOME += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", "--"]

open_device = pytest.mark.skipif(
    not Path("/dev/fuse").exists() or Path("/dev/fuse").stat().st_mode & 0o006 != 0o006,
    reason="/dev/fuse is root's here",
)


@dataclass
class Nobody:
    """Runs commands as a user without any rights, on a store of its own with data@v1."""

    store: Path
    mountpoint: Path

    def start(self, *command: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*BECOME, *map(str, command)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(self.store.parent)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *command: object, code: int = 0) -> str:
        with self.start(*command) as process:
            said, trouble = process.communicate(timeout=60)
        assert process.returncode == code, trouble
        return said + trouble

    def vfs(self, *args: object, code: int = 0) -> str:
        return self.run(*COMMAND, "--store", self.store, *args, code=code)


@pytest.fixture
def nobody() -> Iterator[Nobody]:
    with ExitStack() as undo:
        home = Path(tempfile.mkdtemp())  # pytest's directories are closed to others
        undo.callback(shutil.rmtree, home)
        nobody = Nobody(home / "store", home / "mnt")
        nobody.mountpoint.mkdir()
        (home / "source").mkdir()
        (home / "source" / "file").write_text("v1")
        for path in (home, nobody.mountpoint, home / "source"):
            os.chown(path, USER, USER)
        nobody.vfs("init")
        nobody.vfs("import", "--create", home / "source", "data", "-m", "v1", "--tag", "v1")
        undo.callback(wait_until, lambda: registry_is_empty(nobody))
        undo.callback(lazy_unmount, nobody.mountpoint)
        yield nobody


def registry_is_empty(nobody: Nobody) -> bool:
    records = (nobody.store / "run").glob("*.json")
    return all(not registry.find(nobody.store, str(path)) for path in records)


@open_device
def test_a_version_and_a_branch(nobody: Nobody) -> None:
    nobody.vfs("mount", "data@v1", nobody.mountpoint)
    assert nobody.run("cat", nobody.mountpoint / "file") == "v1"
    with pytest.raises(PermissionError):  # not even root's eyes are let in
        (nobody.mountpoint / "file").read_text()
    nobody.vfs("umount", nobody.mountpoint)

    nobody.vfs("mount", "data@main", nobody.mountpoint)
    nobody.run("cp", nobody.mountpoint / "file", nobody.mountpoint / "copy")
    nobody.vfs("umount", nobody.mountpoint)
    assert "copy" in nobody.vfs("status", "data@main")


@open_device
def test_the_hub_shows_branches_read_only(nobody: Nobody) -> None:
    said = nobody.vfs("mount", nobody.mountpoint)
    assert "branches are shown read-only" in said
    assert nobody.run("cat", nobody.mountpoint / "data@main" / "file") == "v1"
    nobody.vfs("umount", nobody.mountpoint)


def mounted_device(nobody: Nobody) -> int:
    """Do what a privileged helper does: open the device and mount it. Return the descriptor."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={USER},group_id={USER}"
    options += ",allow_other,default_permissions"
    nosuid_nodev_read_only = 2 | 4 | 1
    arguments = (str(nobody.store), str(nobody.mountpoint), "fuse.vfs", options)
    source, target, kind, data = map(os.fsencode, arguments)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, target, kind, nosuid_nodev_read_only, data) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return device


@pytest.mark.parametrize(
    ("what", "file"), [("data@v1", "file"), ("", "data@v1/file")], ids=["version", "hub"]
)
@pytest.mark.parametrize("by", ["umount", "signal"])
def test_a_descriptor(nobody: Nobody, what: str, file: str, by: str) -> None:
    device = mounted_device(nobody)
    command = [*COMMAND, "--store", nobody.store, "mount", "-f", *filter(None, [what])]
    daemon = nobody.start(*command, f"/dev/fd/{device}", pass_fds=[device])
    os.close(device)
    with daemon:
        assert daemon.stderr is not None
        assert any(line.endswith(" answers\n") for line in daemon.stderr)
        assert (nobody.mountpoint / file).read_text() == "v1"
        found = mounts.mount_at(nobody.mountpoint)
        assert found is not None
        assert (found.kind, found.source) == (mountinfo.OUR_TYPE, str(nobody.store))
        if by == "umount":
            mounts.detach(str(nobody.mountpoint), lazy=False)
        else:
            daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=30)
        assert daemon.returncode == 0, said
    assert mounts.mount_at(nobody.mountpoint) == (None if by == "umount" else found)


def test_what_is_no_descriptor_to_serve(nobody: Nobody) -> None:
    mount = ("mount", "data@v1")
    assert "no descriptor 77" in nobody.vfs(*mount, "-f", "/dev/fd/77", code=1)
    assert "not of /dev/fuse" in nobody.vfs(*mount, "-f", "/dev/fd/1", code=1)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        for args, says in (
            (["data@v1"], "--foreground"),
            (["-f", "data@main"], "--read-only"),
        ):
            command = [*COMMAND, "--store", nobody.store, "mount", *args, f"/dev/fd/{device}"]
            with nobody.start(*command, pass_fds=[device]) as process:
                assert says in process.communicate(timeout=60)[1]
            assert process.returncode == 1
    finally:
        os.close(device)
