from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.import_trees import tree_in_store
from vfs.errors import NotFound, SourceProblem
from vfs.repo.importer import content as content_module
from vfs.repo.importer import walk as walk_module
from vfs.repo.repository import Repository

from .conftest import Import, root_of


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Do something after the first read of a file."""

    def install(action: Callable[[], Any]) -> None:
        real_read, real_pread = os.read, os.pread
        done = []

        def once(data: bytes) -> bytes:
            if not done:
                done.append(True)
                action()
            return data

        monkeypatch.setattr(content_module.os, "read", lambda fd, n: once(real_read(fd, n)))
        monkeypatch.setattr(
            content_module.os, "pread", lambda fd, n, at: once(real_pread(fd, n, at))
        )

    return install


@pytest.mark.parametrize("size", [100, 5 << 20])
@pytest.mark.parametrize("change", ["append", "truncate", "overwrite"])
def test_a_file_that_changes_is_named(
    repo: Repository,
    source: Path,
    run: Import,
    while_reading: Callable[[Callable[[], Any]], None],
    size: int,
    change: str,
) -> None:
    file = source / "dir/busy"
    file.parent.mkdir()
    file.write_bytes(os.urandom(size))
    (source / "other").write_bytes(b"x")

    def action() -> None:
        if change == "append":
            with file.open("ab") as handle:
                handle.write(b"more")
        elif change == "truncate":
            os.truncate(file, size // 2)
        else:
            with file.open("r+b") as handle:
                handle.write(b"new")
            os.utime(file, ns=(0, 1))

    while_reading(action)
    with pytest.raises(SourceProblem, match="dir/busy: it changed while it was read"):
        run(source)
    with pytest.raises(NotFound):
        repo.resolve("data")


def test_partial_commits_the_rest(
    repo: Repository,
    source: Path,
    run: Import,
    while_reading: Callable[[Callable[[], Any]], None],
) -> None:
    (source / "a").write_bytes(b"1")
    (source / "b").write_bytes(b"2")
    while_reading(lambda: os.truncate(source / "a", 0))
    result = run(source, partial=True)
    assert [problem.path for problem in result.problems] == [b"a"]
    assert result.problem_count == 1
    assert [entry.name for entry in repo.entries(root_of(repo).content)] == [b"b"]


def test_a_first_link_that_changes(
    repo: Repository,
    source: Path,
    run: Import,
    while_reading: Callable[[Callable[[], Any]], None],
) -> None:
    (source / "a").write_bytes(b"1")
    os.link(source / "a", source / "b")
    os.link(source / "a", source / "c")
    while_reading(lambda: (source / "a").write_bytes(b"22"))
    run(source, partial=True)
    entries = {entry.name: entry for entry in repo.entries(root_of(repo).content)}
    assert sorted(entries) == [b"b", b"c"]
    assert entries[b"b"].extra == entries[b"c"].extra != b""
    assert b"".join(repo.read_file(entries[b"b"])) == b"22"


def test_what_vanishes_or_is_swapped(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "swapped", "there"):
        (source / name).write_bytes(b"x")
    (source / "sub").mkdir()
    real = walk_module.Names

    class Names(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            if (source / "gone").exists():
                (source / "gone").unlink()
                (source / "swapped").unlink()
                (source / "swapped").symlink_to("there")
                (source / "sub").rmdir()

    monkeypatch.setattr(walk_module, "Names", Names)
    result = run(source, partial=True)
    problems = {problem.path: problem.reason for problem in result.problems}
    assert sorted(problems) == [b"", b"gone", b"sub", b"swapped"]
    assert "vanished" in problems[b"gone"]
    assert [entry.name for entry in repo.entries(root_of(repo).content)] == [b"there"]


def test_a_file_that_moves_between_directories(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one that is being read into one that was read: it would be in neither."""
    for name in ("a", "b", "b/c"):
        (source / name).mkdir()
    (source / "b/c/other").write_bytes(b"x")
    (source / "b/wanderer").write_bytes(b"x")
    real = walk_module.Walker._enter

    def enter(self: walk_module.Walker, name: bytes, *args: Any) -> None:
        if name == b"c":
            (source / "b/wanderer").rename(source / "a/wanderer")
        real(self, name, *args)

    monkeypatch.setattr(walk_module.Walker, "_enter", enter)
    with pytest.raises(SourceProblem, match=r"b: it changed while it was read"):
        run(source)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("known", [False, True])
def test_a_link_that_changes_between_two_names(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    (source / "a").write_bytes(b"1")
    for name in "bcd":
        os.link(source / "a", source / name)
    if known:
        run(source)
    real = walk_module.Walker._file

    def file(self: walk_module.Walker, level: Any, name: bytes, record: Any) -> None:
        if name == b"c":
            (source / "a").chmod(0o600)
        real(self, level, name, record)

    monkeypatch.setattr(walk_module.Walker, "_file", file)
    result = run(source, partial=True)
    assert [problem.path for problem in result.problems] == [b"c", b"d"]
    root = root_of(repo)
    assert tree_in_store(repo, root)[b"a"]["links"] == [b"a", b"b"]
    assert [entry.name for entry in repo.entries(root.content)] == [b"a", b"b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable_without_root(source: Path, run: Import) -> None:
    (source / "secret").write_bytes(b"x")
    (source / "secret").chmod(0)
    with pytest.raises(SourceProblem, match="secret: Permission denied"):
        run(source)


def test_many_problems_are_counted(
    source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (source / f"{number:02}").touch()

    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if isinstance(path, bytes) and path.isdigit():
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceProblem, match=r"50 files.*00: Permission denied.*and 30 more"):
        run(source)


def test_too_many_xattrs(source: Path, run: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "file").touch()
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.a"])
    monkeypatch.setattr(os, "getxattr", lambda *_, **__: b"x" * 65_000)
    with pytest.raises(SourceProblem, match="extended attributes"):
        run(source)


def test_a_problem_does_not_spoil_the_next_import(
    repo: Repository,
    source: Path,
    run: Import,
    while_reading: Callable[[Callable[[], Any]], None],
) -> None:
    for name in "abc":
        (source / name).write_bytes(os.urandom(50_000))
    while_reading(lambda: os.utime(source / "a"))
    with pytest.raises(SourceProblem):
        run(source)
    result = run(source)
    assert result.changed
    assert result.files == 3
