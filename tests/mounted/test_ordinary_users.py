"""An ordinary user's mounts: by fusermount3, and of a device that root's helper has mounted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.device import mounted_device
from tests.support.hub import COMMAND
from tests.support.mounting import ROOT, children, lazy_unmount, process_name, wait_until
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


@pytest.mark.parametrize(
    ("what", "file"), [("data@v1", "file"), ("", "data@v1/file")], ids=["version", "hub"]
)
@pytest.mark.parametrize("by", ["umount", "signal"])
def test_a_descriptor(nobody: Nobody, what: str, file: str, by: str) -> None:
    device = mounted_device(nobody.store, nobody.mountpoint, USER)
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


@contextmanager
def a_branch(nobody: Nobody) -> Iterator[subprocess.Popen[str]]:
    """The process that serves the branch main through a descriptor; it has ended at the end."""
    device = mounted_device(nobody.store, nobody.mountpoint, USER, writable=True)
    command = [*COMMAND, "--store", nobody.store, "mount", "-f", "data@main"]
    daemon = nobody.start(*command, f"/dev/fd/{device}", pass_fds=[device])
    os.close(device)
    with daemon:
        try:
            assert daemon.stderr is not None
            assert any(line.endswith(" answers\n") for line in daemon.stderr)
            yield daemon
        finally:
            daemon.kill()


@pytest.mark.parametrize("by", ["umount", "signal"])
def test_a_branch_through_a_descriptor(nobody: Nobody, by: str) -> None:
    here = nobody.mountpoint
    with a_branch(nobody) as daemon:
        nobody.run("cp", here / "file", here / "copy")
        nobody.run("sh", "-ec", f"echo committed > {here}/new; echo one > {here}/.vfs/commit")
        # What the kernel still holds of a file that is open is stored at the end.
        with (here / "held").open("w") as held:
            held.write("held" * 1000)
            held.flush()
            if by == "signal":
                daemon.send_signal(signal.SIGTERM)
                _, said = daemon.communicate(timeout=30)
        if by == "umount":
            mounts.detach(str(here), lazy=False)
            _, said = daemon.communicate(timeout=30)
        assert daemon.returncode == 0, said
    assert nobody.vfs("cat", "data@main:new") == "committed\n"
    assert nobody.vfs("cat", "data@main:copy") == "v1"
    assert "held" in nobody.vfs("status", "data@main")
    lazy_unmount(here)
    with a_branch(nobody):
        assert nobody.run("cat", here / "held") == "held" * 1000


def test_what_serves_a_branch_through_a_descriptor_is_killed(nobody: Nobody) -> None:
    with a_branch(nobody) as daemon:
        nobody.run("dd", "if=/dev/zero", f"of={nobody.mountpoint}/new", "count=9", "conv=fsync")
        (serving,) = (pid for pid in children(daemon.pid) if process_name(pid) == "vfs-branch")
        os.kill(serving, signal.SIGKILL)
        _, said = daemon.communicate(timeout=30)
        assert daemon.returncode == 1
        assert "mount it anew, and pass on the new descriptor" in said
    lazy_unmount(nobody.mountpoint)
    assert "new" in nobody.vfs("status", "data@main")


def test_what_is_no_descriptor_to_serve(nobody: Nobody) -> None:
    mount = ("mount", "data@v1")
    assert "no descriptor 77" in nobody.vfs(*mount, "-f", "/dev/fd/77", code=1)
    assert "not of /dev/fuse" in nobody.vfs(*mount, "-f", "/dev/fd/1", code=1)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        command = [*COMMAND, "--store", nobody.store, "mount", "data@v1", f"/dev/fd/{device}"]
        with nobody.start(*command, pass_fds=[device]) as process:
            assert "--foreground" in process.communicate(timeout=60)[1]
        assert process.returncode == 1
    finally:
        os.close(device)
