"""A directory of ext4 and a mounted branch, in which every case does the same.

`tree` is an empty directory, `zoo` one that has an entry of each kind; a branch's zoo also exists
as committed entries, which nothing has changed before the case does.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.branch import a_branch
from tests.support.posix import Tree, make_zoo

ZOOS = 1100
_numbers = itertools.count()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference")
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True
    ).stdout.strip()
    if kind != "ext2/ext3":  # what stat(1) calls ext4
        pytest.skip(f"{path} is on {kind}; expectations are those of ext4")
    return path


@pytest.fixture(scope="session")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A branch whose head commit has ZOOS zoos."""
    base = tmp_path_factory.mktemp("branch")
    here = Path.cwd()
    (base / "source").mkdir()
    for number in range(ZOOS):
        place = base / "source" / f"zoo{number}"
        place.mkdir()
        os.chdir(place)
        make_zoo()
    os.chdir(here)
    with a_branch(base, base / "source") as mounted:
        mounted.mount()
        yield mounted.mountpoint
        mounted.unmount()


@pytest.fixture
def tree(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tree]:
    """Parametrised below, for a test itself or by way of `zoo`."""
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")
    kind = getattr(request, "param", "branch")
    root: Path = request.getfixturevalue("reference" if kind == "reference" else "branch")
    elsewhere = Path("/dev/shm")
    if not os.access(elsewhere, os.W_OK) or elsewhere.stat().st_dev == root.stat().st_dev:
        elsewhere = Path("/proc")
    place = root / f"case{next(_numbers)}"
    if kind == "committed":
        place = root / f"zoo{next(_zoos)}"
    else:
        place.mkdir()
    monkeypatch.chdir(place)
    umask = os.umask(0o022)
    yield Tree("reference" if kind == "reference" else "branch", root, elsewhere)
    os.umask(umask)


@pytest.fixture
def zoo(request: pytest.FixtureRequest, tree: Tree) -> Tree:
    if not os.path.lexists("file"):
        make_zoo()
    return tree


_zoos = iter(range(ZOOS))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "zoo" in metafunc.fixturenames:
        metafunc.parametrize("tree", ["reference", "branch", "committed"], indirect=True)
    elif "tree" in metafunc.fixturenames:
        metafunc.parametrize("tree", ["reference", "branch"], indirect=True)
