"""On which file systems an unchanged ctime says that nothing has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.import_trees import tree_in_store, tree_on_disk
from vfs.repo.importer import trust as trust_module
from vfs.repo.importer.trust import Trust
from vfs.repo.repository import Repository

from .conftest import Import, root_of

WHEN_NS = 1_600_000_000 * 10**9


@contextmanager
def mounted(mountpoint: Path, *arguments: str | Path) -> Iterator[None]:
    done = subprocess.run(
        ["mount", *arguments, mountpoint], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"can't mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", mountpoint], check=True)


@pytest.fixture
def releases(tmp_path: Path) -> list[Path]:
    """Two releases that stat can't tell apart, as images."""
    if not (pack := shutil.which("mksquashfs")):
        pytest.skip("there is no mksquashfs")
    images = []
    for number in (1, 2):
        tree = tmp_path / f"release{number}"
        tree.mkdir()
        (tree / "file").write_bytes(b"release %d" % number)
        os.utime(tree / "file", ns=(WHEN_NS, WHEN_NS))
        image = tmp_path / f"{number}.sqfs"
        subprocess.run([pack, tree, image, "-quiet", "-no-progress"], check=True)
        images.append(image)
    return images


def test_two_releases_mounted_in_turn(
    repo: Repository, run: Import, releases: list[Path], source: Path
) -> None:
    for image in releases:
        with mounted(source, "-t", "squashfs", "-o", "loop,ro", image):
            run(source)
            assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def test_two_releases_below_an_overlay(
    repo: Repository, run: Import, releases: list[Path], source: Path, tmp_path: Path
) -> None:
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for directory in (lower, upper, work):
        directory.mkdir()
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    for image in releases:
        with (
            mounted(lower, "-t", "squashfs", "-o", "loop,ro", image),
            mounted(source, "-t", "overlay", "-o", layers, "overlay"),
        ):
            run(source)
            assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def trusted(trust: Trust, path: Path) -> bool:
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        times = trust.of(directory, os.fstat(directory))
        return times.tell(path.stat())
    finally:
        os.close(directory)


def test_a_file_system_is_known_by_the_mount(tmp_path: Path) -> None:
    for kind in ("tmpfs", "ramfs"):
        with mounted(tmp_path, "-t", kind, "vfs-test"):
            (tmp_path / "file").touch()
            assert trusted(Trust(), tmp_path / "file") == (kind == "tmpfs")


def test_what_shows_the_times_of_another_has_to_prove_a_ctime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    kind = Trust._kind(directory)
    os.close(directory)
    monkeypatch.setattr(trust_module, "KEEP_CTIME", frozenset())
    monkeypatch.setattr(trust_module, "SHOW_ANOTHERS", frozenset((kind,)))
    st = file.stat()
    os.utime(file, ns=(st.st_atime_ns, st.st_ctime_ns - 10**9))
    assert trusted(Trust(), file)


def test_nothing_is_trusted_where_the_kernel_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(trust_module, "mounts", refuse)
    (tmp_path / "file").touch()
    assert not trusted(Trust(), tmp_path / "file")


def test_a_file_of_another_file_system_is_not_that_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with mounted(tmp_path / "file", "--bind", "/proc/version"):
        assert not trusted(Trust(), tmp_path / "file")
