"""Containers that run while versions are made: in a namespace of our own, and by Podman."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.device import mounted_device
from tests.support.hub import Hub, a_hub
from tests.support.mounting import ROOT, lazy_unmount, wait_until
from tests.support.podman import put_podman

pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can share mounts"),
]
TOOLS = ("sh", "ls", "cat", "echo", "touch", "true")
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]  # no more than may be had
BUSYBOX = shutil.which("busybox")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A store with data@v1, and a mount point below a mount that is shared, as systemd's are."""
    with ExitStack() as undo:
        subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
        undo.callback(subprocess.run, ["umount", "--lazy", tmp_path], check=True)
        subprocess.run(["mount", "--make-rshared", tmp_path], check=True)
        hub = undo.enter_context(a_hub(tmp_path))
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "file").write_text("v1")
        hub.import_(tmp_path / "source", "v1")
        yield hub


class Container:
    """A shell that runs in a container, which sees the hub at *versions*."""

    def __init__(self, process: subprocess.Popen[str], versions: str) -> None:
        self._process = process
        self.versions = versions

    def run(self, command: str) -> str:
        """Return what a command says, its errors too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"({command}) 2>&1; echo; echo the end\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "")
        said = list(iter(lambda: next(lines), "the end\n"))
        return "".join(said).strip()


@pytest.fixture(params=["namespace", "podman"])
def shell(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Iterator[list[str]]:
    """The command that starts a container's shell; its first word but one is where the hub is."""
    if request.param == "namespace":
        yield [str(hub.mountpoint), "unshare", "--mount", "--propagation=slave", "sh"]
        return
    if shutil.which("podman") is None or BUSYBOX is None:
        pytest.skip("needs podman and busybox-static")
    with tempfile.TemporaryDirectory(dir="/tmp") as own:  # Podman wants a short path
        root = make_root(Path(own, "root"))
        storage = [f"--root={own}/images", f"--runroot={own}/run", "--storage-driver=vfs"]
        podman = ["podman", *storage, "--runtime=runc", "--cgroup-manager=cgroupfs"]
        run = [*podman, "run", "--rm", "-i", "--network=none", *LIMITS]
        probe = [*run, "--rootfs", root, "true"]
        tried = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False)
        if tried.returncode != 0:
            pytest.skip(f"podman runs no container here: {tried.stderr.strip()}")
        mount = f"--mount=type=bind,src={hub.mountpoint},dst=/versions,bind-propagation=rslave"
        yield ["/versions", *run, mount, "--rootfs", root, "sh"]


def make_root(root: Path) -> str:
    """Make the files of a container; return where they are."""
    for directory in ("bin", "proc", "sys", "dev", "etc", "run", "tmp", "versions"):
        (root / directory).mkdir(parents=True)
    shutil.copy(str(BUSYBOX), root / "bin" / "busybox")
    for tool in TOOLS:
        (root / "bin" / tool).symlink_to("busybox")
    return str(root)


@pytest.fixture
def container(shell: list[str], hub: Hub) -> Iterator[Container]:
    hub.mount("--allow-other")
    versions, *command = shell
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Container(process, versions)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    hub.unmount()


def test_what_is_made_later_appears_and_is_committed_inside(
    container: Container, hub: Hub, tmp_path: Path
) -> None:
    versions = container.versions
    assert container.run(f"cat {versions}/data@v1/file") == "v1"
    (tmp_path / "source" / "file").write_text("v2")
    hub.import_(tmp_path / "source", "v2")
    wait_until(lambda: "data@v2" in container.run(f"ls {versions}"))
    assert container.run(f"cat {versions}/data@v2/file") == "v2"

    hub.vfs("branch", "data", "exp")
    wait_until(lambda: "commit" in container.run(f"ls {versions}/data@exp/.vfs"))
    assert container.run(f"echo changed > {versions}/data@exp/file") == ""
    assert container.run(f"echo from inside > {versions}/data@exp/.vfs/commit") == ""
    assert hub.vfs("cat", "data@exp:file").stdout == "changed\n"
    assert "from inside" in hub.vfs("log", "data@exp").stdout
    assert "Read-only" in container.run(f"touch {versions}/data@v1/x")


@pytest.fixture
def image(hub: Hub) -> Iterator[str]:
    """The program podman; its image scikit-learn has this interpreter. No container is left."""
    with tempfile.TemporaryDirectory(prefix="vfs-podman-", dir="/tmp") as own:
        (Path(own) / "programs").mkdir()
        if problem := put_podman(Path(own) / "programs"):
            pytest.skip(problem)
        podman = str(Path(own) / "programs" / "podman")
        yield podman
        subprocess.run([podman, "rm", "-af"], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_a_container_without_rights_serves_a_branch_that_a_helper_has_mounted(
    hub: Hub, image: str
) -> None:
    user = 65534
    own = hub.store.parent / "tmp"
    own.mkdir()
    own.chmod(0o777)
    subprocess.run(["chown", "-R", f"{user}:{user}", hub.store], check=True)
    device = mounted_device(hub.store, hub.mountpoint, user, writable=True)
    binds = [f"--volume={hub.store}:{hub.store}", f"--volume={ROOT}:{ROOT}:ro", f"--workdir={ROOT}"]
    binds += [f"--volume={own}:/scratch", "--env=TMPDIR=/scratch"]
    rights = [
        "--network=none",
        "--tmpfs=/tmp",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
    ]
    run = [image, "run", "--rm", f"--user={user}", "--preserve-fds=1", *rights, *binds, *LIMITS]
    vfs = ["python", "-m", "vfs", "--store", str(hub.store), "mount", "-f", "data@main"]
    become_third = f"import os, sys; os.dup2({device}, 3); os.execvp(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", become_third, *run, "scikit-learn", *vfs, "/dev/fd/3"],
        pass_fds=[device],
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        os.close(device)
        try:
            assert daemon.stderr is not None
            said: list[str] = []
            for line in daemon.stderr:
                said.append(line)
                if line.endswith(" answers\n"):
                    break
            assert said[-1].endswith(" answers\n"), said
            (hub.mountpoint / "file").write_text("from outside")
            (hub.mountpoint / ".vfs/commit").write_text("by a container")
            (hub.mountpoint / "later").write_text("not committed")
            subprocess.run(["umount", hub.mountpoint], check=True)
            assert daemon.wait(timeout=60) == 0
        finally:
            lazy_unmount(hub.mountpoint)
            daemon.kill()
    assert hub.vfs("cat", "data@main:file").stdout == "from outside"
    assert "by a container" in hub.vfs("log", "data@main").stdout
    assert "later" in hub.vfs("status", "data@main").stdout
