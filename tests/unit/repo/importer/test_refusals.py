"""What is refused before anything is read, or alone among all else."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from vfs.errors import AlreadyExists, InvalidInput, InvalidName, SourceProblem
from vfs.model.entry import TARGET_MAX_BYTES
from vfs.repo.importer.inode import Unreadable, entry_of
from vfs.repo.repository import Repository

from .conftest import Import, root_of


def test_a_path_that_is_too_deep(source: Path, run: Import) -> None:
    with pytest.raises(InvalidName, match="501"):
        run(source, "data:" + "/".join(["d"] * 501))
    run(source, "data:" + "/".join(["d"] * 500))


@pytest.mark.parametrize("field", ["message", "author"])
def test_texts_that_can_not_be_kept(source: Path, run: Import, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field} has 80,000 bytes"):
        run(source, **{field: "é" * 40_000})
    with pytest.raises(InvalidInput, match=f"{field}.*character"):
        run(source, **{field: "a\ud800b"})
    run(source, **{field: "any bytes \udcff, as they were typed"})


def test_a_command_that_can_not_be_kept(source: Path, run: Import) -> None:
    with pytest.raises(InvalidInput, match=r"command.*character"):
        run(source, command=("vfs", "\ud800"))
    with pytest.raises(InvalidInput, match=r"command.*bytes"):
        run(source, command=("vfs", "x" * 400_000))


def test_sources_that_are_no_files(source: Path, run: Import) -> None:
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket"))
    for path, what in [
        (source / "fifo", "fifo"),
        (source / "socket", "socket"),
        (Path("/dev/null"), "device"),
    ]:
        for form in ("auto", "file", "dir"):
            with pytest.raises(InvalidInput, match=what):
                run(path, format=form)


def test_a_fifo_as_a_stream(repo: Repository, source: Path, run: Import, tmp_path: Path) -> None:
    (source / "file").write_bytes(b"through a pipe")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["tar", "-cf", fifo, "-C", source, "."]):
        run(fifo, format="tar")
    assert [entry.name for entry in repo.entries(root_of(repo).content)] == [b"file"]


def test_the_tag_of_the_head_may_be_given_again(
    repo: Repository, source: Path, run: Import
) -> None:
    (source / "file").write_bytes(b"1")
    first = run(source, tag="v1")
    again = run(source, tag="v1")
    assert (again.changed, again.commit) == (False, first.commit)
    (source / "file").write_bytes(b"22")
    with pytest.raises(AlreadyExists, match="another version"):
        run(source, tag="v1")
    assert repo.resolve("data").commit == first.commit


@pytest.mark.parametrize("mtime_s", [2**33 + 2**31, -(2**34)])
@pytest.mark.parametrize("kind", ["file", "symlink", "fifo", "directory", "linked"])
def test_times_that_can_not_be_kept(
    repo: Repository, tmp_path: Path, run: Import, mtime_s: int, kind: str
) -> None:
    # Most file systems end in 2446 or before 1901; tmpfs takes what there is.
    shm = Path("/dev/shm")
    base = shm if shm.is_dir() else tmp_path
    source = base / f"vfs-test-{os.getpid()}"
    source.mkdir()
    odd = source / "odd"
    try:
        (source / "good").write_bytes(b"good")
        if kind == "symlink":
            odd.symlink_to("good")
        elif kind == "fifo":
            os.mkfifo(odd)
        elif kind == "directory":
            odd.mkdir()
        else:
            odd.write_bytes(b"odd")
            run(source)
        if kind == "linked":
            os.link(odd, source / "other")
        os.utime(odd, ns=(0, mtime_s * 10**9), follow_symlinks=False)
        if odd.lstat().st_mtime != mtime_s:
            pytest.skip("this file system does not have such times")
        with pytest.raises(SourceProblem, match=r"odd: its time"):
            run(source)
        result = run(source, partial=True)
        names = sorted(entry.name for entry in repo.entries(root_of(repo).content))
        assert names == [b"good"]
        assert result.problem_count == (2 if kind == "linked" else 1)
    finally:
        subprocess.run(["rm", "-r", source], check=True)


def test_a_symlink_with_an_impossible_target(source: Path) -> None:
    (source / "link").symlink_to("target")
    st = (source / "link").lstat()
    entry_of(b"link", st, (), b"t" * TARGET_MAX_BYTES)
    with pytest.raises(Unreadable, match=r"4,096 bytes"):
        entry_of(b"link", st, (), b"t" * (TARGET_MAX_BYTES + 1))
