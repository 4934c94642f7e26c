from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.support.import_trees import entries_below, tree_in_store, tree_on_disk
from vfs.errors import AlreadyExists, InvalidInput, NotFound
from vfs.model.entry import Extra
from vfs.repo.importer import names as names_module
from vfs.repo.importer import walk as walk_module
from vfs.repo.repository import Repository

from .conftest import Import, root_of

ROOT = os.geteuid() == 0


def assert_same(repo: Repository, source: Path) -> None:
    assert tree_in_store(repo, root_of(repo)) == tree_on_disk(source)


def test_every_kind_of_entry(repo: Repository, source: Path, run: Import) -> None:
    (source / "dir/inner").mkdir(parents=True)
    (source / "dir/inner/file").write_bytes(b"text\n")
    (source / "empty").touch()
    (source / "link").symlink_to("../nowhere")
    os.mkfifo(source / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as sock:
        cwd = Path.cwd()
        os.chdir(source)  # a socket's path is short
        sock.bind("socket")
        os.chdir(cwd)
    if ROOT:
        os.mknod(source / "char", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(source / "block", 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
        os.chown(source / "link", 12, 70000, follow_symlinks=False)
        os.chown(source / "dir", 2**32 - 2, 1)
    (source / "dir").chmod(0o3751)
    (source / "empty").chmod(0o4755)
    os.utime(source / "empty", ns=(0, 1_234_567_890_123_456_789))
    os.utime(source / "dir/inner", ns=(0, -1))
    os.utime(source / "link", ns=(0, 987_654_321), follow_symlinks=False)
    os.utime(source, ns=(0, 5))
    result = run(source)
    assert result.changed
    assert (result.directories, result.problem_count) == (3, 0)
    assert_same(repo, source)


def test_names_that_are_not_utf8(repo: Repository, source: Path, run: Import) -> None:
    base = os.fsencode(source)
    for name in (
        b"\xff\xfe",
        b"caf\xe9",
        b"new\nline",
        b"a b",
        b"-",
        b"a",
        b"a.b",
        b"a\x01",
        b"A" * 255,
    ):
        Path(os.fsdecode(base + b"/" + name)).write_bytes(name)
    run(source)
    assert_same(repo, source)
    stored = [entry.name for entry in repo.entries(root_of(repo).content)]
    assert stored == sorted(os.listdir(base))


@pytest.mark.parametrize(
    "size", [0, 1, 16384, 16385, 300_000, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 7_654_321]
)
def test_contents_of_every_size(repo: Repository, source: Path, run: Import, size: int) -> None:
    (source / "file").write_bytes(os.urandom(size))
    result = run(source)
    assert (result.bytes, result.bytes_read) == (size, size)
    assert_same(repo, source)


def test_xattrs_and_acls(repo: Repository, source: Path, run: Import) -> None:
    file = source / "file"
    file.touch()
    try:
        os.setxattr(file, "user.binary", b"\0\xff")
    except OSError:
        pytest.skip("this file system has no xattrs")
    os.setxattr(source, "user.of the root", b"1")
    acl = bytes.fromhex(
        "02000000 0100 0600 ffffffff 0200 0400 e8030000 0400 0400 ffffffff"
        "1000 0600 ffffffff 2000 0000 ffffffff"
    )
    os.setxattr(file, "system.posix_acl_access", acl)
    (source / "dir").mkdir()
    os.setxattr(source / "dir", "system.posix_acl_default", acl)
    if ROOT:
        os.setxattr(file, "trusted.t", b"x")
        (source / "sym").symlink_to("x")
        os.setxattr(source / "sym", "trusted.t", b"y", follow_symlinks=False)
    run(source)
    assert_same(repo, source)
    extra = Extra.decode(repo.entry_at(root_of(repo), (b"file",)).extra)
    assert dict(extra.xattrs)[b"system.posix_acl_access"] == acl


def test_sparse_files_keep_their_holes(repo: Repository, source: Path, run: Import) -> None:
    with (source / "file").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"middle" * 1000)
        file.truncate(20 << 20)
    with (source / "hole").open("wb") as file:
        file.truncate(1 << 20)
    if (source / "hole").stat().st_blocks:
        pytest.skip("this file system has no holes")
    result = run(source)
    assert_same(repo, source)
    assert result.bytes_read < 1 << 20
    for name, least in ((b"file", 19 << 20), (b"hole", 1 << 20)):
        extra = Extra.decode(repo.entry_at(root_of(repo), (name,)).extra)
        assert extra.holes >= least


def test_hard_links(repo: Repository, source: Path, run: Import) -> None:
    (source / "b").mkdir()
    (source / "b/first").write_bytes(os.urandom(100_000))
    os.link(source / "b/first", source / "z")
    os.link(source / "b/first", source / "b/second")
    os.mkfifo(source / "fifo")
    os.link(source / "fifo", source / "fifo2")
    result = run(source)
    assert result.bytes_read == 100_000
    assert_same(repo, source)


def test_links_that_lead_outside(
    repo: Repository, source: Path, run: Import, tmp_path: Path
) -> None:
    (source / "a/deep").mkdir(parents=True)
    (source / "alone").write_bytes(b"1")
    os.link(source / "alone", tmp_path / "out1")
    (source / "a/deep/pair").write_bytes(b"2")
    os.link(source / "a/deep/pair", source / "a/pair")
    os.link(source / "a/deep/pair", tmp_path / "out2")
    first = run(source)
    assert_same(repo, source)
    again = run(source)
    assert not again.changed
    assert again.commit == first.commit


def test_a_deep_tree(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_module, "OPEN_DIRECTORIES_MAX", 4)
    depth = 300
    fd = os.open(source, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    result = run(source)
    assert (result.directories, result.files) == (depth + 1, 2 * depth)
    assert sum(1 for _ in entries_below(repo, root_of(repo))) == 3 * depth + 1


def test_a_directory_too_large_for_memory(
    repo: Repository, source: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        walk_module, "NameBudget", lambda: names_module.NameBudget(names=50, run_min=20)
    )
    for number in range(333):
        (source / f"{number * 7919 % 1000}").touch()
    (source / "5x").mkdir()
    for number in range(100):
        (source / "5x" / f"{number}").touch()
    run(source)
    assert_same(repo, source)


def test_nothing_new_is_no_commit(repo: Repository, source: Path, run: Import) -> None:
    (source / "file").write_bytes(b"x")
    first = run(source, tag="v1")
    again = run(source, tag="v2")
    assert first.changed
    assert not again.changed
    assert first.commit == again.commit == repo.resolve("data", "v2").commit
    (source / "file").write_bytes(b"y")
    with pytest.raises(AlreadyExists):
        run(source, tag="v1")
    assert repo.resolve("data").commit == first.commit


def test_into_a_path(repo: Repository, source: Path, run: Import) -> None:
    (source / "file").write_bytes(b"x")
    run(source, "data:deep/er")
    (source / "file").write_bytes(b"y")
    run(source, "data:other")
    root = root_of(repo)
    paths = [path for path, _ in entries_below(repo, root)]
    assert paths == [
        b"", b"deep", b"deep/er", b"deep/er/file", b"other", b"other/file",
    ]  # fmt: skip
    run(source, "data:deep")
    paths = [path for path, _ in entries_below(repo, root_of(repo))]
    assert paths == [b"", b"deep", b"deep/file", b"other", b"other/file"]


def test_a_single_file(repo: Repository, tmp_path: Path, run: Import) -> None:
    file = tmp_path / "one.csv"
    file.write_bytes(b"1,2\n" * 100_000)
    os.utime(file, ns=(0, 77))
    run(file)
    entry = repo.entry_at(root_of(repo), (b"one.csv",))
    assert b"".join(repo.read_file(entry)) == file.read_bytes()
    assert entry.mtime_ns == 77
    run(file, "data:tables/x")
    moved = repo.entry_at(root_of(repo), (b"tables", b"x"))
    assert moved._replace(name=b"one.csv") == entry


def test_the_store_is_left_out(repo: Repository, tmp_path: Path, run: Import) -> None:
    (tmp_path / "file").touch()
    result = run(tmp_path)
    assert [note.path for note in result.notes] == [b"store"]
    names = [entry.name for entry in repo.entries(root_of(repo).content)]
    assert b"file" in names
    assert b"store" not in names


def test_wrong_sources_and_targets(repo: Repository, source: Path, run: Import) -> None:
    with pytest.raises(NotFound):
        run(source, "nodata")
    with pytest.raises(NotFound):
        run(source / "missing")
    run(source)
    with pytest.raises(NotFound):
        run(source, "data@nobranch")
    with pytest.raises(InvalidInput):
        run(source, format="tar")
    os.mkfifo(source / "fifo")
    with pytest.raises(InvalidInput):
        run(source / "fifo", format="file")


def test_the_commit_says_where_it_is_from(repo: Repository, source: Path, run: Import) -> None:
    result = run(source, message="why", author="me", command=("vfs", "import"))
    commit = repo.commit(result.commit)
    assert (commit.message, commit.author) == ("why", "me")
    assert commit.provenance["kind"] == "import"
    assert commit.provenance["source"] == str(source)
    assert commit.provenance["command"] == ["vfs", "import"]


def test_no_temporary_files_are_left(repo: Repository, source: Path, run: Import) -> None:
    (source / "a").touch()
    os.link(source / "a", source / "b")
    run(source)
    left = [p for p in (repo.store.path / "tmp").rglob("*") if p.is_file()]
    assert not left
    assert len(list((repo.store.path / "cache/import").iterdir())) == 1
