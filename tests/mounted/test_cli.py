"""The commands mount, umount and mounts, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounting import lazy_unmount, wait_for_end, wait_until
from vfs.daemon import mounts, private, registry

pytestmark = pytest.mark.mounted

Vfs = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "vfs"]


@pytest.fixture
def vfs(tmp_path: Path) -> Vfs:
    """Runs a command on a store that holds data@v1 and data@v2."""

    def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, "--store", str(tmp_path / "store"), *map(str, args)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        return done

    run("init")
    source = tmp_path / "source"
    source.mkdir()
    (source / "same").write_text("same")
    for name in ("v1", "v2"):
        (source / "file").write_text(name)
        run("import", "--create", source, "data", "-m", name, "--tag", name)
    return run


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; what is mounted on it at the end is taken away."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()

    def end() -> None:
        record = registry.find(tmp_path / "store", str(mountpoint))
        if record is not None:
            os.kill(record.pid, signal.SIGTERM)
            wait_for_end(record.pid)

    with ExitStack() as undo:
        undo.callback(end)
        undo.callback(lazy_unmount, mountpoint)
        yield mountpoint


def listed(vfs: Vfs, mountpoint: Path) -> dict[str, Any]:
    """What `vfs mounts` says of a mount; there may be others on this machine."""
    found = json.loads(vfs("mounts", "--json").stdout)
    return next(info for info in found if info["mountpoint"] == str(mountpoint))


def test_the_hub_is_mounted_listed_and_unmounted(vfs: Vfs, mnt: Path) -> None:
    said = vfs("mount", mnt)
    assert said.stdout == f"mounted all versions on {mnt}; 'vfs umount {mnt}' ends it\n"
    assert said.stderr == ""
    assert {"data@main", "data@v1", "data@v2"} <= {path.name for path in mnt.iterdir()}
    assert (mnt / "data@v1" / "file").read_text() == "v1"

    info = listed(vfs, mnt)
    assert (info["target"], info["state"]) == (None, "ok")
    assert info["pid"] > 0
    assert str(mnt) in vfs("mounts").stdout

    again = vfs("mount", mnt, code=1)
    assert str(mnt) in again.stderr
    assert again.stderr.count("\n") == 2

    assert vfs("umount", mnt).stdout == f"unmounted {mnt}\n"
    assert list(mnt.iterdir()) == []
    assert vfs("umount", mnt, code=1).stderr.startswith("vfs: ")


def test_one_version_alone(vfs: Vfs, mnt: Path) -> None:
    assert "mounted data@v1 on " in vfs("mount", "data@v1", mnt, "--workers", "1").stdout
    assert (mnt / "file").read_text() == "v1"
    info = listed(vfs, mnt)
    assert (info["target"], info["workers"]) == ("data@v1", 1)
    vfs("umount", mnt)


def test_options(vfs: Vfs, mnt: Path) -> None:
    vfs("mount", mnt, "-o", "noexec,nodev", "-o", "nosuid,ro")
    line = next(
        line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {mnt} " in line
    )
    assert {"ro", "noexec", "nodev", "nosuid"} <= set(line.split()[3].split(","))
    vfs("umount", mnt)


def test_a_mount_in_use_is_left_unless_lazily(vfs: Vfs, mnt: Path) -> None:
    vfs("mount", mnt)
    with (mnt / "data@v1" / "file").open() as used:
        busy = vfs("umount", mnt, code=1)
        assert busy.stderr.startswith("vfs: ")
        assert mounts.mount_at(mnt) is not None
        vfs("umount", mnt, "--lazy")
        assert mounts.mount_at(mnt) is None
        assert used.read() == "v1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground(vfs: Vfs, mnt: Path, tmp_path: Path, number: int) -> None:
    command = [*COMMAND, "--store", str(tmp_path / "store"), "mount", "-f", str(mnt)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        wait_until(lambda: mounts.mount_at(mnt) or daemon.poll() is not None)
        assert (mnt / "data@v2" / "file").read_text() == "v2"
        daemon.send_signal(number)
        _, said = daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert said.startswith(f"all versions on {mnt}, until ")
    assert mounts.mount_at(mnt) is None


def test_a_stale_mount_is_said_and_cleared(vfs: Vfs, mnt: Path, tmp_path: Path) -> None:
    def kill() -> None:
        record = registry.find(tmp_path / "store", str(mnt))
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: registry.find(tmp_path / "store", str(mnt)) is None)

    vfs("mount", mnt)
    kill()
    assert listed(vfs, mnt)["state"] == "stale"
    said = vfs("mount", mnt)
    assert "vfs: cleared a dead mount at " in said.stderr
    assert (mnt / "data@v1" / "file").read_text() == "v1"
    kill()
    assert "vfs: cleared a dead mount at " in vfs("umount", mnt).stderr
    assert mounts.mount_at(mnt) is None


@pytest.fixture
def read_only(vfs: Vfs, tmp_path: Path) -> Iterator[Path]:
    """The store of `vfs`, on a file system that takes no writes."""
    store = tmp_path / "store"
    with ExitStack() as undo:
        subprocess.run(["mount", "--bind", store, store], check=True)
        undo.callback(subprocess.run, ["umount", "--lazy", store], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)
        for place in list(private.places(store, make=True))[1:]:
            undo.callback(shutil.rmtree, place, ignore_errors=True)
        yield store


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a read-only mount")
def test_a_store_that_cannot_be_written(vfs: Vfs, read_only: Path, mnt: Path) -> None:
    said = vfs("mount", mnt)
    assert f"vfs: the store {read_only} can't be written: the log is " in said.stderr
    log = Path(said.stderr.strip().rpartition(" ")[2])
    assert f"mounting all versions of {read_only}" in log.read_text()
    assert (mnt / "data@v1" / "file").read_text() == "v1"
    info = listed(vfs, mnt)
    assert (info["state"], info["workers"] > 0) == ("ok", True)
    os.kill(info["pid"], signal.SIGKILL)
    wait_until(lambda: registry.find(read_only, str(mnt)) is None)
    assert listed(vfs, mnt)["state"] == "stale"
    vfs("mount", "data@v2", mnt)
    assert (listed(vfs, mnt)["target"], (mnt / "file").read_text()) == ("data@v2", "v2")
    vfs("umount", mnt)  # returns when the server has ended, which the record tells
    assert registry.find(read_only, str(mnt)) is None


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_without_standard_descriptors(vfs: Vfs, mnt: Path, tmp_path: Path, closed: str) -> None:
    command = [*COMMAND, "--store", tmp_path / "store", "mount", mnt]
    subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], timeout=60, check=True)
    assert (mnt / "data@v1" / "file").read_text() == "v1"
    vfs("umount", mnt)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set trusted attributes")
def test_trusted_attributes_are_root_s(vfs: Vfs, mnt: Path, tmp_path: Path) -> None:
    file = tmp_path / "source" / "file"
    os.setxattr(file, "trusted.x", b"secret")
    os.setxattr(file, "user.x", b"open")
    vfs("import", file.parent, "data", "-m", "x", "--tag", "v3")
    vfs("mount", mnt, "--allow-other")
    shown = mnt / "data@v3" / "file"
    assert sorted(os.listxattr(shown)) == ["trusted.x", "user.x"]
    assert os.getxattr(shown, "trusted.x") == b"secret"

    look = f"""
import os
os.chdir({str(mnt)!r})
os.setresuid(65534, 65534, 65534)
print(os.listxattr("data@v3/file"))
try:
    os.getxattr("data@v3/file", "trusted.x")
except OSError as error:
    print(error.strerror)
"""
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout == "['user.x']\nNo data available\n"
    vfs("umount", mnt)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["data@v3", "{mnt}"], "no revision 'v3'"),
        (["dta@v1", "{mnt}"], "did you mean 'data'?"),
        (["{mnt}/missing"], "missing"),
        (["{source}"], "not empty"),
        (["{source}/file"], "not a directory"),
    ],
)
def test_refusals(vfs: Vfs, mnt: Path, tmp_path: Path, args: list[str], says: str) -> None:
    names = {"mnt": str(mnt), "source": str(tmp_path / "source")}
    refused = vfs("mount", *(arg.format(**names) for arg in args), code=1)
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert mounts.mount_at(mnt) is None


def test_a_store_that_is_not_there(vfs: Vfs, mnt: Path, tmp_path: Path) -> None:
    refused = vfs("mount", "--store", tmp_path / "none", mnt, code=1)
    assert refused.stderr.startswith("vfs: there is no store at ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
@pytest.mark.parametrize("above", [False, True], ids=["at the same place", "on its parent"])
def test_a_mount_that_another_one_hides(vfs: Vfs, mnt: Path, tmp_path: Path, above: bool) -> None:
    vfs("mount", mnt)
    place = tmp_path if above else mnt
    store = tmp_path / "store"
    with ExitStack() as undo:
        if above:  # the store must stay in sight
            place = tmp_path / "parent"
            inner = place / "mnt"
            inner.mkdir(parents=True)
            vfs("mount", inner)
            undo.callback(vfs, "umount", inner)
            mountpoint = inner
        else:
            mountpoint = mnt
        pid = listed(vfs, mountpoint)["pid"]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        undo.callback(subprocess.run, ["umount", place], check=True)
        mountpoint.mkdir(exist_ok=True)
        for command in ("mount", "umount"):
            said = vfs(command, mountpoint, code=1).stderr
            assert f"{mountpoint} is hidden by " in said
            assert "unmount that first" in said
        assert listed(vfs, mountpoint)["pid"] == pid
        assert registry.find(store, str(mountpoint)) is not None
    if not above:
        assert (mnt / "data@v1" / "file").read_text() == "v1"
    vfs("umount", mnt)
