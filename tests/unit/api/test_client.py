"""The Python client, against a store on the disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import vfs
from vfs import Client
from vfs.errors import (
    AlreadyExists,
    Conflict,
    InvalidName,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotSupported,
)
from vfs.repo.fsck import check_store


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client.create(tmp_path / "store")
    client.create_data_set("data")
    with client.commit("data@main", "first", tag="v1") as new:
        new.write_text("a/b/c.txt", "hello")
        new.write_text("x.txt", "text")
        new.mkdir("empty")
        new.symlink("link", "a/b/c.txt")
    yield client
    client.close()


def paths(client: Client, target: str = "data") -> list[str]:
    return [info.path for info in client.open(target).files()]


# reading


def test_what_a_version_says_of_itself(client: Client) -> None:
    version = client.open("data@v1")
    assert version.message == "first"
    assert version.parents == ()
    assert client.open(f"data@{version.commit[:10]}") == version
    assert repr(version) == f"<Version data@{version.commit[:12]}>"


def test_reads_files(client: Client) -> None:
    version = client.open("data@v1")
    assert version.read_text("a/b/c.txt") == "hello"
    assert version.read_bytes("/a//b/./c.txt", 1, 2) == b"el"
    with version.open("a/b/c.txt") as file:
        assert (file.read(2), file.seek(-1, os.SEEK_END), file.read()) == (b"he", 4, b"o")
    with version.open("x.txt", "r") as text:
        assert text.readlines() == ["text"]


def test_lists_and_walks(client: Client) -> None:
    version = client.open("data")
    assert [(info.path, info.kind) for info in version.ls()] == [
        ("a", "directory"),
        ("empty", "directory"),
        ("link", "symlink"),
        ("x.txt", "file"),
    ]
    assert [here for here, _, _ in version.walk()] == ["", "a", "a/b", "empty"]
    assert paths(client) == ["a/b/c.txt", "x.txt"]


def test_a_directory_of_thousands_is_listed_in_parts(client: Client) -> None:
    names = [f"many/{number:05}" for number in range(2500)]
    with client.commit("data", "many") as new:
        for name in names:
            new.write_text(name, name)
    assert [info.path for info in client.open("data").scan("many")] == names


def test_symlinks_are_followed_within_the_version(client: Client) -> None:
    with client.commit("data", "links") as new:
        new.symlink("a/up", "../x.txt")
        new.symlink("out", "/etc/passwd")
        new.symlink("round", "round")
    version = client.open("data")
    assert version.read_text("link") == "hello"
    assert version.read_text("a/up") == "text"
    assert version.info("link", follow=False).target == "a/b/c.txt"
    for name in ("out", "round"):
        with pytest.raises(NotFound, match="leads nowhere"):
            version.info(name)


@pytest.mark.parametrize(
    ("path", "error"),
    [("a", IsADirectory), ("x.txt/y", NotADirectory), ("none", NotFound), ("a/../x", InvalidName)],
)
def test_what_is_no_file(client: Client, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.open("data").read_bytes(path)


def test_a_version_is_not_written_to(client: Client) -> None:
    with pytest.raises(NotSupported, match="never changes"):
        client.open("data").open("x.txt", "wb")  # type: ignore[call-overload]


# writing


def test_a_file_is_opened_to_be_written(client: Client) -> None:
    data = os.urandom(3 << 20)
    with client.commit("data", "big") as new:
        with new.open("big", "wb") as file:
            file.write(data)
            file.seek(5)
            file.write(b"...")
        with new.open("x.txt", "a") as text:
            text.write(" and more")
        with new.open("a/b/c.txt") as file:
            assert file.read() == b"hello"
        assert new.read_bytes("big", 4, 5) == data[4:5] + b"..." + data[8:9]
    version = client.open("data")
    assert version.read_bytes("big") == data[:5] + b"..." + data[8:]
    assert version.read_text("x.txt") == "text and more"


def test_moves_copies_and_removes(client: Client) -> None:
    with client.commit("data", "second") as new:
        new.move("a", "z/y")
        new.write_text("z/y/new", "1")
        new.copy("z", "w")
        new.write_text("w/y/b/c.txt", "changed")
        new.remove("x.txt")
        new.remove("w/y/new")
    version = client.open("data")
    assert paths(client) == ["w/y/b/c.txt", "z/y/b/c.txt", "z/y/new"]
    assert version.read_text("z/y/b/c.txt") == "hello"
    assert version.read_text("w/y/b/c.txt") == "changed"


def test_what_is_replaced_is_gone(client: Client) -> None:
    with client.commit("data", "second") as new:
        new.write_text("d/one", "1")
        new.remove("a", recursive=True)
        new.mkdir("a")
        assert new.ls("a") == []
        new.write_text("a/two", "2")
        with pytest.raises(NotEmpty):
            new.remove("d")
        with pytest.raises(AlreadyExists):
            new.open("d/one", "xb")
        with pytest.raises(InvalidName):
            new.copy("d", "d/e")
    assert paths(client) == ["a/two", "d/one", "x.txt"]


def test_attributes_stay_when_the_content_changes(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "script"
    source.write_text("old")
    source.chmod(0o750)
    command = [sys.executable, "-m", "vfs", "--store", client.store, "import"]
    subprocess.run([*command, source, "data:script", "-m", "x"], check=True, capture_output=True)
    with client.commit("data", "new content") as new:
        new.write_text("script", "new")
    assert client.open("data").info("script").mode == 0o750


def test_nothing_is_committed_where_an_exception_leaves(client: Client) -> None:
    before = client.open("data")

    def fail() -> None:
        with client.commit("data", "never") as new:
            new.write_text("y", "1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert client.open("data") == before


def test_two_at_once_in_different_places(client: Client) -> None:
    first, second = (client.commit("data", name) for name in ("one", "two"))
    first.write_text("a/b/one", "1")
    second.write_text("a/b/two", "2")
    first.end(commit=True)
    second.end(commit=True)
    assert paths(client) == ["a/b/c.txt", "a/b/one", "a/b/two", "x.txt"]


@pytest.mark.parametrize("change", ["write", "remove", "replace a directory above"])
def test_two_at_once_in_one_place(client: Client, change: str) -> None:
    first, second = (client.commit("data", name) for name in ("one", "two"))
    second.write_text("a/b/c.txt", "2")
    if change == "write":
        first.write_text("a/b/c.txt", "1")
    elif change == "remove":
        first.remove("a/b/c.txt")
    else:
        first.remove("a", recursive=True)
        first.write_text("a", "a file")
    first.end(commit=True)
    with pytest.raises(Conflict, match="was changed in data@main meanwhile"):
        second.end(commit=True)
    assert client.open("data").message == "one"


def test_the_first_version_makes_the_branch(client: Client) -> None:
    client.create_data_set("new")
    with client.commit("new@dev", "first") as new:
        new.write_text("x", "1")
    assert new.result == client.open("new@dev").commit
    with pytest.raises(NotFound):
        client.commit("new@none", "x")


def test_the_store_is_sound_after_all(client: Client) -> None:
    with client.commit("data", "second") as new:
        new.move("a", "z")
        new.write_text("z/b/d", "1")
        new.copy("z/b", "e")
    report = check_store(client.store, data=True)
    assert report.is_clean


# comparing


def test_log_and_diff(client: Client) -> None:
    with client.commit("data", "second") as new:
        new.move("x.txt", "y.txt")
        new.write_text("a/b/c.txt", "other")
    assert [version.message for version in client.log("data")] == ["second", "first"]
    assert [version.message for version in client.log("data", paths=("empty",))] == ["first"]
    assert [version.message for version in client.log("data", limit=1)] == ["second"]
    found = client.diff("data@v1", client.open("data"))
    assert [(change.kind, change.path, change.old and change.old.path) for change in found] == [
        ("modified", "a/b/c.txt", "a/b/c.txt"),
        ("renamed", "y.txt", "x.txt"),
    ]


# processes


def test_versions_travel_to_other_processes(client: Client) -> None:
    version = client.open("data")
    assert pickle.loads(pickle.dumps(version)).read_text("x.txt") == "text"


def test_goes_on_behind_a_fork(client: Client) -> None:
    version = client.open("data")
    version.read_text("x.txt")
    pid = os.fork()
    if not pid:
        try:
            os._exit(version.read_text("x.txt") != "text")
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert version.read_text("x.txt") == "text"


def test_a_fork_amid_a_commit_is_told(client: Client) -> None:
    with client.commit("data", "at work") as new:
        new.write_text("y", "1")
        pid = os.fork()
        if not pid:
            try:
                client.open("data")
            except vfs.errors.StoreError:
                os._exit(0)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
    assert client.open("data").read_text("y") == "1"


# samples


def test_files_are_samples(client: Client) -> None:
    with client.commit("data", "samples") as new:
        for number in range(100):
            new.write_text(f"train/{number:03}.txt", str(number))
        new.write_text("train/notes.md", "")
    files = vfs.Files(client.open("data"), "train", "*.txt", _sample)
    assert len(files) == 100
    assert files[7] == 7
    assert files[-1] == 99
    assert list(pickle.loads(pickle.dumps(files))) == list(range(100))
    with pytest.raises(IndexError):
        files[100]


def test_an_epochs_order_follows_from_the_version(client: Client) -> None:
    with client.commit("data", "samples") as new:
        for number in range(50):
            new.write_text(f"{number:03}", str(number))
    files, again = (vfs.Files(client.open("data")) for _ in range(2))
    assert files.order(3) == again.order(3) != files.order(4)
    assert sorted(files.order()) == list(range(len(files)))
    shares = [files.share(1, rank, 3) for rank in range(3)]
    assert sorted(chain(*shares)) == list(range(len(files)))
    other = vfs.Files(client.open("data@v1"))
    assert other[0] == ("a/b/c.txt", b"hello")


def _sample(path: str, data: bytes) -> int:
    return int(data)


def test_a_sampler_goes_on_from_epoch_to_epoch(client: Client) -> None:
    with client.commit("data", "samples") as new:
        for number in range(50):
            new.write_text(f"{number:03}", str(number))
    files = vfs.Files(client.open("data"))  # 52: two are there already
    sampler = vfs.Sampler(files, rank=1, world=5)
    assert [list(sampler), list(sampler)] == [files.share(n, 1, 5)[:10] for n in range(2)]
    sampler.set_epoch(1)
    assert list(sampler) == files.share(1, 1, 5)[: len(sampler)]
    everywhere = [list(vfs.Sampler(files, rank=rank, world=5)) for rank in range(5)]
    assert len(set(chain(*everywhere))) == 50
    with pytest.raises(ValueError, match="rank"):
        vfs.Sampler(files, rank=5, world=5)


def test_samples_by_name(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFS_STORE", str(client.store))
    files = vfs.Files("data@v1", "a")
    assert files.version == client.open("data@v1")
    assert list(files) == [("a/b/c.txt", b"hello")]
