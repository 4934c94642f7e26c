from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.import_trees import tree_in_store, tree_on_disk
from vfs.repo.importer import assemble as assemble_module
from vfs.repo.importer import index as index_module
from vfs.repo.importer.index import OldIndex, is_settled
from vfs.repo.repository import Repository

from .conftest import Import, root_of

pytestmark = pytest.mark.usefixtures("settled")


@pytest.fixture
def tree(source: Path) -> Path:
    for directory in ("a", "b/c", "d"):
        (source / directory).mkdir(parents=True)
        for name in "xyz":
            (source / directory / name).write_bytes(f"{directory}{name}".encode() * 100)
    (source / "link").symlink_to("a/x")
    return source


def check(repo: Repository, source: Path) -> None:
    assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def index_path(repo: Repository) -> Path:
    (path,) = (repo.store.path / "cache/import").iterdir()
    return path


def test_the_unchanged_is_not_read(repo: Repository, tree: Path, run: Import) -> None:
    run(tree)
    before = index_path(repo).stat()
    again = run(tree)
    assert (again.changed, again.bytes_read, again.files) == (False, 0, 10)
    after = index_path(repo).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_checksum_reads_everything(repo: Repository, tree: Path, run: Import) -> None:
    first = run(tree)
    again = run(tree, checksum=True)
    assert (again.changed, again.bytes_read) == (False, first.bytes_read)


def test_only_the_changed_is_read(repo: Repository, tree: Path, run: Import) -> None:
    run(tree)
    (tree / "b/c/y").write_bytes(b"new content")
    again = run(tree)
    assert (again.changed, again.bytes_read) == (True, len("new content"))
    check(repo, tree)
    assert run(tree).bytes_read == 0


def test_same_size_and_time_but_another_inode(repo: Repository, tree: Path, run: Import) -> None:
    run(tree)
    file = tree / "a/x"
    st = file.stat()
    other = tree.parent / "other"
    other.write_bytes(b"?" * st.st_size)
    os.utime(other, ns=(st.st_atime_ns, st.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_mtime_ns == st.st_mtime_ns
    assert run(tree).changed
    check(repo, tree)


def test_same_size_time_and_inode_but_another_ctime(
    repo: Repository, tree: Path, run: Import
) -> None:
    run(tree)
    file = tree / "a/x"
    st = file.stat()
    with file.open("r+b") as handle:
        handle.write(b"?")
    os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert run(tree).changed
    check(repo, tree)


def replace_link(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").mkdir()


def replace_directory(tree: Path) -> None:
    shutil.rmtree(tree / "d")
    (tree / "d").write_bytes(b"a file now")


CHANGES: dict[str, Callable[[Path], object]] = {
    "touch": lambda tree: os.utime(tree / "a/x", ns=(0, 1)),
    "chmod": lambda tree: (tree / "b/c/z").chmod(0o600),
    "rename": lambda tree: (tree / "a/x").rename(tree / "d/w"),
    "delete": lambda tree: (tree / "d/z").unlink(),
    "add": lambda tree: (tree / "b/new").write_bytes(b"n"),
    "chmod of a directory": lambda tree: (tree / "b/c").chmod(0o700),
    "link to directory": replace_link,
    "xattr": lambda tree: os.setxattr(tree / "a/y", "user.x", b"1"),
    "delete a directory": lambda tree: shutil.rmtree(tree / "b/c"),
    "directory to file": replace_directory,
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(repo: Repository, tree: Path, run: Import, change: str) -> None:
    run(tree)
    try:
        CHANGES[change](tree)
    except OSError:
        pytest.skip("this file system has no xattrs")
    assert run(tree).changed
    check(repo, tree)
    assert not run(tree).changed


def test_another_branch_or_an_older_head_gets_the_same_tree(
    repo: Repository, tree: Path, run: Import
) -> None:
    first = run(tree, tag="v1")
    (tree / "a/x").write_bytes(b"changed")
    run(tree)
    (tree / "a/x").write_bytes(b"ax" * 100)
    run(tree)
    check(repo, tree)
    assert first.commit


def test_damage_is_no_more_than_slow(repo: Repository, tree: Path, run: Import) -> None:
    for number in range(600):
        (tree / "a" / f"{number}").write_bytes(b"%d" % number)
    run(tree)
    whole = index_path(repo).read_bytes()
    shuffle = random.Random(3)
    for position in [0, len(whole) - 1, *(shuffle.randrange(len(whole)) for _ in range(25))]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        index_path(repo).write_bytes(damaged)
        (tree / "a/new").write_bytes(b"%d" % position)
        (tree / "a" / f"{position % 600}").unlink(missing_ok=True)
        run(tree)
        check(repo, tree)
    for length in (0, 10, len(whole) // 2):
        index_path(repo).write_bytes(whole[:length])
        assert not run(tree).changed


def test_an_index_of_a_commit_that_is_gone_is_not_used(
    repo: Repository, tree: Path, run: Import, tmp_path: Path
) -> None:
    first = run(tree)
    old = index_path(repo)
    with Repository.create(tmp_path / "other") as other:
        other.create_data_set("data")
        foreign = other.store.path / "cache/import" / old.name
        foreign.parent.mkdir(parents=True)
        foreign.write_bytes(old.read_bytes())
        from vfs.model.names import parse_target
        from vfs.repo.importer import ImportOptions, import_source

        result = import_source(other, tree, parse_target("data"), ImportOptions(message=""))
        assert result.bytes_read == first.bytes_read


def test_few_changes_in_a_large_directory(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble_module, "EDITS_MAX", 5)
    for number in range(0, 2000, 2):
        (source / f"{number:05}").write_bytes(b"%d" % number)
    run(source)
    size = index_path(repo).stat().st_size
    (source / "00500").write_bytes(b"new")
    (source / "00501").write_bytes(b"added")
    (source / "00100").unlink()
    (source / "99999").write_bytes(b"at the end")
    (source / "0").mkdir()
    run(source)
    check(repo, source)
    assert index_path(repo).stat().st_size < 1.9 * size
    assert run(source).bytes_read == 0
    edited = root_of(repo)
    run(source, checksum=True)
    assert root_of(repo) == edited
    for number in range(0, 40, 2):  # more than EDITS_MAX
        (source / f"{number:05}").unlink()
    run(source)
    check(repo, source)


def test_the_index_does_not_grow_for_ever(repo: Repository, tree: Path, run: Import) -> None:
    for number in range(300):
        (tree / "a" / f"{number}").write_bytes(b"x")
    run(tree)
    size = index_path(repo).stat().st_size
    for turn in range(30):
        (tree / "a/x").write_bytes(b"%d" % turn)
        run(tree)
        assert index_path(repo).stat().st_size < 3 * size + 2 * index_module._BLOAT_BYTES
    check(repo, tree)


def test_a_fresh_change_is_not_trusted(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "RACY_NS", 10**15)
    monkeypatch.setattr(index_module, "RACY_COARSE_NS", 10**15)
    (source / "file").write_bytes(b"x")
    run(source)
    assert run(source).bytes_read == 1


def test_an_empty_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "index").touch()
    assert OldIndex.load(tmp_path / "index") is None
    assert OldIndex.load(tmp_path / "missing") is None


def test_links_with_an_index(repo: Repository, source: Path, run: Import) -> None:
    (source / "d").mkdir()
    (source / "d/b").write_bytes(b"linked")
    (source / "d/c").write_bytes(b"alone")
    os.link(source / "d/b", source / "e")
    first = run(source)
    again = run(source)
    assert (again.changed, again.bytes_read) == (False, 0)
    check(repo, source)
    os.link(source / "d/b", source / "a")
    third = run(source)
    check(repo, source)
    (source / "a").unlink()
    (source / "e").unlink()
    run(source)
    check(repo, source)
    assert first.commit != third.commit


def test_what_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now = 1_700_000_000_123_456_789
    assert is_settled(now - 51_000_000, now)
    assert not is_settled(now - 49_000_000, now)
    assert not is_settled(now + 10**12, now)
    whole_second = 1_700_000_000 * 10**9
    assert not is_settled(whole_second, whole_second + 10**9)
    assert is_settled(whole_second, whole_second + 3 * 10**9)
