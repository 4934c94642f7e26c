"""A directory that was exported is what was imported, or is not there."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.export_source import DEFAULT_ACL
from tests.support.full_store import import_tree, remove
from tests.support.import_trees import tree_in_store, tree_on_disk
from tests.support.stores import run_child
from vfs.errors import (
    AlreadyExists,
    Conflict,
    CorruptObject,
    ExportProblem,
    InvalidInput,
    NotADirectory,
)
from vfs.model.entry import Entry
from vfs.repo.exporter import ExportOptions, export_directory
from vfs.repo.exporter import directory as directory_module
from vfs.repo.exporter.place import hidden_name, remove_tree
from vfs.repo.repository import Repository

PLAIN = ExportOptions()
REPLACE = ExportOptions(replace=True)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("piece", [16 << 20, 300_000])
def test_everything_is_as_it_was(
    repo: Repository,
    root: Entry,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
    piece: int,
) -> None:
    monkeypatch.setattr(directory_module, "PIECE_BYTES", piece)
    out = tmp_path / "out"
    result = export_directory(repo, root, out, ExportOptions(jobs=jobs))
    there = tree_on_disk(out)
    assert there == tree_on_disk(prepared / "source")
    assert there == tree_in_store(repo, root)
    assert result.files + result.directories == len(there)
    assert (result.problems, result.lost) == ([], {})
    for name, most in (("sparse", 300_000), ("hole at the end", 100_000), ("only a hole", 0)):
        assert allocated(out / name) <= most
    assert os.listdir(tmp_path) == ["out"]


def test_one_directory_of_a_version(repo: Repository, root: Entry, tmp_path: Path) -> None:
    sub = repo.entry_at(root, (b"sub",))
    export_directory(repo, sub, tmp_path / "out", PLAIN)
    there = tree_on_disk(tmp_path / "out")
    assert set(there) == {b"", b"deeper", b"first", b"second", b"same fifo", b"same symlink"}
    assert there[b"first"]["links"] == [b"first", b"second"]
    with pytest.raises(NotADirectory):
        export_directory(repo, repo.entry_at(root, (b"small",)), tmp_path / "file", PLAIN)


def test_an_export_imported_again_is_the_same_version(
    repo: Repository, root: Entry, tmp_path: Path
) -> None:
    export_directory(repo, root, tmp_path / "out", PLAIN)
    with Repository.create(tmp_path / "store") as other:
        other.create_data_set("data")
        commit = import_tree(other, tmp_path / "out", "data")
        assert other.commit(commit).root == root


# ---------------------------------------------------------------------------------- the target


def test_an_empty_directory_is_filled_and_another_is_not(
    repo: Repository, root: Entry, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_directory(repo, root, out, PLAIN)
    before = tree_on_disk(out)
    with pytest.raises(AlreadyExists, match="not empty"):
        export_directory(repo, root, out, PLAIN)
    assert tree_on_disk(out) == before
    assert os.listdir(tmp_path) == ["out"]


def test_what_is_replaced_goes(repo: Repository, root: Entry, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old/er").mkdir(parents=True)
    (out / "old/file").touch()
    (out / "old").chmod(0)
    export_directory(repo, root, out, REPLACE)
    assert tree_on_disk(out) == tree_in_store(repo, root)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("options", [PLAIN, REPLACE])
def test_a_symlink_or_a_file_is_never_replaced_or_followed(
    repo: Repository, root: Entry, tmp_path: Path, options: ExportOptions
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(AlreadyExists, match="no directory"):
            export_directory(repo, root, tmp_path / name, options)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file", "link"]


def test_places_that_can_not_be(repo: Repository, root: Entry, tmp_path: Path) -> None:
    with pytest.raises(ExportProblem, match="No such file"):
        export_directory(repo, root, tmp_path / "no/where", PLAIN)
    for target in (Path("/"), Path(".."), tmp_path / ".."):
        with pytest.raises(InvalidInput):
            export_directory(repo, root, target, PLAIN)


def test_the_store_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with Repository.create(tmp_path / "mine/store") as repo:
        repo.create_data_set("data")
        root = repo.commit(import_tree(repo, tmp_path / "source", "data")).root
        for target in (tmp_path / "mine", tmp_path / "mine/store"):
            with pytest.raises(InvalidInput, match="the store itself"):
                export_directory(repo, root, target, REPLACE)
    assert (tmp_path / "mine/store/data.mdb").exists()


def test_what_a_killed_export_left_is_removed(
    repo: Repository, root: Entry, tmp_path: Path
) -> None:
    left = tmp_path / hidden_name("out")
    (left / "sub/sub").mkdir(parents=True)
    (left / "small").write_bytes(b"half")
    (left / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    export_directory(repo, root, tmp_path / "out", PLAIN)
    assert sorted(os.listdir(tmp_path)) == ["kept", "out"]
    assert os.listdir(tmp_path / "kept") == ["file"]
    assert tree_on_disk(tmp_path / "out") == tree_in_store(repo, root)


def test_two_exports_to_one_target(repo: Repository, root: Entry, tmp_path: Path) -> None:
    left = tmp_path / hidden_name("out")
    left.mkdir()
    fd = os.open(left, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(Conflict, match="another export"):
        export_directory(repo, root, tmp_path / "out", PLAIN)
    assert left.is_dir()
    os.close(fd)


def test_a_name_as_long_as_one_can_be(repo: Repository, root: Entry, tmp_path: Path) -> None:
    export_directory(repo, root, tmp_path / ("n" * 255), PLAIN)
    assert os.listdir(tmp_path) == ["n" * 255]


def test_a_default_acl_of_the_parent_does_not_get_in(
    repo: Repository, root: Entry, tmp_path: Path
) -> None:
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", DEFAULT_ACL)
    except OSError:
        pytest.skip("this file system has no ACLs")
    export_directory(repo, root, tmp_path / "out", PLAIN)
    assert tree_on_disk(tmp_path / "out") == tree_in_store(repo, root)


def test_a_very_deep_tree_is_removed(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=fd)
        inner = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    fd = os.open(tmp_path, os.O_RDONLY)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        remove_tree(fd, "deep")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(fd)
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------- damage


@pytest.fixture
def damaged(prepared: Path, tmp_path: Path) -> Path:
    """A store that lacks the content of a small file, and a part of a large one with four names."""
    path = Path(shutil.copytree(prepared / "store", tmp_path / "damaged"))
    with Repository.open(path, readonly=True) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        small = repo.entry_at(root, (b"small",)).content
        from vfs.repo.blobs import FileReader

        spans = list(FileReader(repo.reader).spans(repo.entry_at(root, (b"large",))))
    remove(path, "objects", small)
    remove(path, "objects", spans[len(spans) // 2].content)
    return path


def test_nothing_is_exported_that_is_not_whole(damaged: Path, tmp_path: Path) -> None:
    with Repository.open(damaged, readonly=True) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        with pytest.raises(CorruptObject, match="can't be exported"):
            export_directory(repo, root, tmp_path / "out", PLAIN)
    assert os.listdir(tmp_path) == ["damaged"]


@pytest.mark.parametrize("piece", [16 << 20, 300_000])
def test_partial_leaves_out_what_is_damaged(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(directory_module, "PIECE_BYTES", piece)
    names = {b"small", b"large", b"third", b"sub/first", b"sub/second"}
    with Repository.open(damaged, readonly=True) as repo:
        root = repo.commit(repo.resolve("data").commit).root
        result = export_directory(repo, root, tmp_path / "out", ExportOptions(partial=True))
        whole = dict(repo_paths(repo, root))
    assert {problem.path for problem in result.problems} == names
    assert set(tree_on_disk(tmp_path / "out")) == set(whole) - names


def repo_paths(repo: Repository, root: Entry) -> list[tuple[bytes, Entry]]:
    from tests.support.import_trees import entries_below

    return list(entries_below(repo, root))


# ------------------------------------------------------------------------------- another user

AS_NOBODY = """
import os, sys
from pathlib import Path
from vfs.repo.exporter import ExportOptions, export_directory
from vfs.repo.repository import Repository
with Repository.open(Path(sys.argv[1]), readonly=True) as repo:
    root = repo.commit(repo.resolve("data").commit).root
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    result = export_directory(repo, root, Path(sys.argv[2]), ExportOptions())
    result = export_directory(repo, root, Path(sys.argv[2]), ExportOptions(replace=True))
    print(sorted(problem.path.decode() for problem in result.problems))
    print(sorted(result.lost))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_who_is_not_root_gets_what_is_allowed(
    repo: Repository, root: Entry, prepared: Path, tmp_path: Path
) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    out = tmp_path / "open/out"
    problems, lost = run_child(AS_NOBODY, prepared / "store", out).splitlines()
    assert problems == "['block', 'char']"
    assert "trusted.secret" in lost
    assert "owners and groups" in lost
    assert "set-user-ID" in lost
    there, whole = tree_on_disk(out), tree_in_store(repo, root)
    assert set(there) == set(whole) - {b"block", b"char"}
    for path, found in there.items():
        wanted = whole[path]
        wanted["xattrs"].pop(b"trusted.secret", None)
        assert found["uid"] == 65534
        assert (found["mtime_ns"], found["xattrs"], found["links"]) == (
            wanted["mtime_ns"],
            wanted["xattrs"],
            wanted["links"],
        )
        kept = 0o1777 if stat.S_ISREG(found["mode"]) else 0o7777
        assert found["mode"] & 0o7777 == wanted["mode"] & kept
    assert os.listdir(tmp_path / "open") == ["out"]
