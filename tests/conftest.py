"""What holds for every test: where mounting is possible, what may be left behind, hypothesis."""

from __future__ import annotations

import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MOUNT_REQUIRED = os.environ.get("CI") == "true" or os.environ.get("VFS_REQUIRE_MOUNT") == "1"
SESSION_MARK = f"VFS_TEST_SESSION={uuid.uuid4().hex}"
PROCESS_END_SECONDS = 10

# HYPOTHESIS_PROFILE=thorough for a night's search.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fast", max_examples=50, **_COMMON)
settings.register_profile("thorough", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# A shell starts jobs in the background with SIGINT ignored, and children would take that over.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# ------------------------------------------------------------------------- the `mounted` marker

PROBE = """
import pyfuse3, sys
pyfuse3.init(pyfuse3.Operations(), sys.argv[1], {"fsname=vfs-test-probe"})
pyfuse3.close(unmount=True)
"""


@functools.cache
def mount_problem() -> str:
    """Why nothing can be mounted here; empty where it can be."""
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if shutil.which("fusermount3") is None:
        return "there is no fusermount3"
    probe = Path(os.environ.get("TMPDIR", "/tmp")) / f"vfs-test-probe-{os.getpid()}"
    probe.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, probe],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""
    finally:
        probe.rmdir()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("s3") is not None and "VFS_TEST_S3" not in os.environ:
        reason = "there is no gateway: make test-s3 starts one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    if item.get_closest_marker("mounted") is None or not mount_problem():
        return
    reason = f"can't mount here: {mount_problem()}"
    if MOUNT_REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# -------------------------------------------------------------------------- nothing left behind


def vfs_mounts() -> set[str]:
    """The mount points of this project's file systems, as the kernel lists them."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    return {line.split()[4] for line in lines if " - fuse.vfs " in line}


def session_processes() -> dict[int, str]:
    """The processes that this session started and that run still, with their command lines."""
    found = {}
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if SESSION_MARK.encode() in (proc / "environ").read_bytes().split(b"\0"):
                command = (proc / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(proc.name)] = command.decode(errors="replace").strip()
        except OSError:
            continue  # ended meanwhile, or not ours to look at
    found.pop(os.getpid(), None)
    return found


def wait_for_end(pid: int) -> None:
    """Give the process a while to end by itself; a daemon outlives its mount for a moment."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], PROCESS_END_SECONDS)
    finally:
        os.close(descriptor)


class LeftBehind:
    """Fails a run that leaves mounts or processes behind, and removes them for the next one."""

    def __init__(self) -> None:
        self.mounts_before: set[str] = set()
        self.problems: list[str] = []

    def pytest_sessionstart(self) -> None:
        self.mounts_before = vfs_mounts()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # Other runs may be going on beside this one, but not in CI.
        factory = getattr(session.config, "_tmp_path_factory", None)
        ours = "/" if MOUNT_REQUIRED or factory is None else f"{factory.getbasetemp()}/"
        for mount in sorted(vfs_mounts() - self.mounts_before, reverse=True):
            if mount.startswith(ours):
                self.problems.append(f"mount left behind: {mount}")
                subprocess.run(["fusermount3", "-u", "-z", mount], check=False)
        for pid in session_processes():
            wait_for_end(pid)
        for pid, command in session_processes().items():
            self.problems.append(f"process left behind: {pid} {command}")
            os.kill(pid, signal.SIGKILL)
        if self.problems:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.problems:
            terminalreporter.section("left behind", red=True)
            for problem in self.problems:
                terminalreporter.line(problem, red=True)


def pytest_configure(config: pytest.Config) -> None:
    name, value = SESSION_MARK.split("=")
    os.environ[name] = value
    os.environ.pop("VFS_STORE", None)  # a test never meets the developer's own store
    config.pluginmanager.register(LeftBehind(), "vfs-left-behind")
