"""Tutorials and the README's session, done as they stand there: see tests/support/sessions.py."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.mounting import ROOT, lazy_unmount, wait_until
from tests.support.podman import put_podman
from tests.support.sessions import Comparison, File, Shell, steps
from vfs import mountinfo
from vfs.model.names import DEFAULT_BRANCH
from vfs.repo.repository import Repository

pytestmark = pytest.mark.mounted

TUTORIALS = sorted(Path(ROOT, "docs", "tutorials").glob("*.md"))
PROGRAMS = ".programs"
RELEASES = ("2023.3", "2024.1", "2025.2")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with programs for the page's commands. Nothing is mounted in it at the end."""
    with ExitStack() as undo:
        home = Path(tempfile.mkdtemp(prefix="vfs-tutorial-"))  # a short path, as Podman wants it
        undo.callback(shutil.rmtree, home)
        undo.callback(end_mounts, home)
        put_programs(home)
        yield home


def end_mounts(home: Path) -> None:
    for mount in reversed(mounted_in(home)):
        lazy_unmount(Path(mount))


def mounted_in(home: Path) -> list[str]:
    return [m.mountpoint for m in mountinfo.mounts() if m.mountpoint.startswith(f"{home}/")]


def put_programs(home: Path) -> None:
    programs = home / PROGRAMS
    programs.mkdir()
    for name, command in (("vfs", f"{sys.executable} -m vfs"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",  # what goes to both streams comes in order, as on a terminal
        "LC_ALL": "C.UTF-8",
        "PATH": f"{home / PROGRAMS}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(home),
        "VFS_AUTHOR": "Ada <ada@example.com>",
    }


def wait_for_branches(home: Path) -> None:
    """Wait for branches made a moment ago to be mounted in ~/mnt, which takes less than a second.

    A reader of the page takes longer than that to type the next command.
    """
    mounted = mounted_in(home)
    if str(home / "mnt") not in mounted:
        return
    with Repository.open(home / ".local/share/vfs", readonly=True) as repo:
        branches = {name: [DEFAULT_BRANCH] for name in repo.data_sets()}
        for ref in repo.all_refs():
            branches[ref.data_set] += [ref.name] if ref.kind == "branch" else []
    wanted = {
        f"{home}/mnt/{data_set}@{name}" for data_set in branches for name in branches[data_set]
    }
    wait_until(lambda: wanted <= set(mounted_in(home)))


def follow(page: Path, home: Path) -> None:
    """Do what the page says, and compare what comes."""
    comparison = Comparison()
    with Shell(home, environment(home)) as shell:
        for step in steps(page):
            if isinstance(step, File):
                (home / step.name).write_text(step.text)
                continue
            said = shell.run(step.text)
            if not comparison.same(list(step.said), said):
                where = f"{page.relative_to(ROOT)}:{step.line}: $ {step.text}"
                pytest.fail("\n".join((where, *said, "-- is not --", *step.said)), pytrace=False)
            wait_for_branches(home)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial(page: Path, home: Path) -> None:
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("needs scikit-learn")
    prepare(page, home)
    follow(page, home)


def prepare(page: Path, home: Path) -> None:
    """Make what the page takes for granted; skip where that can't be had."""
    if "$ podman" in page.read_text("utf-8"):
        if os.geteuid() != 0:
            pytest.skip("only root's containers see root's mounts")
        problem = put_podman(home / PROGRAMS)
        if problem:
            pytest.skip(problem)


def test_the_readme(home: Path) -> None:
    for release in RELEASES:
        get_release(home, release)
    follow(Path(ROOT, "README.md"), home)


def get_release(home: Path, release: str) -> None:
    """Unpack a release of tzdata as releases/VERSION."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
    done = subprocess.run(
        [*pip, "--no-deps", "--only-binary", ":all:", "-d", home / "wheels", f"tzdata=={release}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no tzdata {release} to be had: {done.stderr.strip()}")
    unpacked = home / "wheels" / release
    shutil.unpack_archive(
        next((home / "wheels").glob(f"tzdata-{release}-*.whl")), unpacked, format="zip"
    )
    (home / "releases").mkdir(exist_ok=True)
    (unpacked / "tzdata").rename(home / "releases" / release)
