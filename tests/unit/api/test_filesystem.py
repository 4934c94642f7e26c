"""`vfs://`: fsspec's own suite for file systems, and what is this one's own."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.tests import abstract

from vfs import Client, Version
from vfs.api.filesystem import VfsFileSystem
from vfs.errors import CorruptObject


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client.create(tmp_path / "store")
    client.create_data_set("data")
    with client.commit("data@main", "begin") as new:
        new.mkdir("dir")
    yield client
    client.close()


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, client: Client) -> VfsFileSystem:
        return VfsFileSystem(client.store, skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "data@main/dir"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    """fsspec's tests of cp."""


class TestGet(abstract.AbstractGetTests, Fixtures):
    """fsspec's tests of get."""


class TestPut(abstract.AbstractPutTests, Fixtures):
    """fsspec's tests of put."""


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    """fsspec's tests of open."""


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    """fsspec's tests of pipe."""


@pytest.fixture
def fs(client: Client) -> VfsFileSystem:
    return VfsFileSystem(client.store, skip_instance_cache=True)


def messages(client: Client) -> list[str]:
    return [version.message for version in client.log("data")]


def test_is_found_by_its_protocol(client: Client) -> None:
    with client.commit("data@main", "x") as new:
        new.write_text("a/x.txt", "text")
    with fsspec.open("vfs://data@main/a/x.txt", store=str(client.store)) as file:
        assert file.read() == b"text"


def test_a_transaction_is_one_version(client: Client, fs: VfsFileSystem) -> None:
    with fs.transaction:
        with fs.open("vfs://data@main/one", "wb") as file:
            file.write(b"1")
        fs.pipe_file("data@main/two", b"2")
        assert fs.exists("data@main/one")
        assert not client.open("data").exists("one")
    assert client.open("data").read_bytes("one") == b"1"
    assert messages(client) == ["written by a program", "begin"]


def test_a_transaction_that_fails_leaves_nothing(client: Client, fs: VfsFileSystem) -> None:
    def fail() -> None:
        with fs.transaction:
            fs.pipe_file("data@main/one", b"1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert messages(client) == ["begin"]
    assert not fs.exists("data@main/one")


def test_a_file_that_fails_is_no_version(client: Client, fs: VfsFileSystem) -> None:
    def fail() -> None:
        with fs.open("data@main/one", "wb") as file:
            file.write(b"1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert messages(client) == ["begin"]


def test_lists_data_sets_and_versions(client: Client, fs: VfsFileSystem) -> None:
    client.tag("data", "v1")
    assert fs.ls("", detail=False) == ["data@main", "data@v1"]
    assert fs.ls("data@v1", detail=False) == ["data@v1/dir"]
    assert fs.info("data")["type"] == "directory"


def test_errors_are_those_of_files(fs: VfsFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.info("data@main/none")
    with pytest.raises(FileNotFoundError):
        fs.ls("data@none")
    with pytest.raises(OSError, match="is no branch"):
        fs.pipe_file("", b"1")


def test_what_is_damaged_is_an_error_of_files(
    client: Client, fs: VfsFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe_file("data@main/a", b"1")

    def read(version: Version, entry: object, offset: int, length: int) -> bytes:
        raise CorruptObject("damaged")

    monkeypatch.setattr(Version, "read_entry", read)
    with fs.open("data@main/a") as file, pytest.raises(OSError, match="damaged") as caught:
        file.read()
    assert caught.value.errno == errno.EIO


def test_a_tag_is_not_written_to(client: Client, fs: VfsFileSystem) -> None:
    client.tag("data", "v1")
    with pytest.raises(FileExistsError):
        fs.pipe_file("data@v1/x", b"1")


def test_moves_and_copies_of_directories(client: Client, fs: VfsFileSystem) -> None:
    fs.pipe_file("data@main/dir/a", b"1")
    fs.mv("data@main/dir", "data@main/new")
    fs.cp_file("data@main/new/a", "data@main/b")
    assert [info.path for info in client.open("data").files()] == ["b", "new/a"]


def test_ranges(fs: VfsFileSystem) -> None:
    fs.pipe_file("data@main/a", bytes(range(100)))
    assert fs.cat_file("data@main/a", 10, 12) == bytes((10, 11))
    assert fs.cat_file("data@main/a", -2) == bytes((98, 99))
    assert fs.cat_file("data@main/a", 90, 200) == bytes(range(90, 100))


def test_equal_bytes_have_one_key(fs: VfsFileSystem) -> None:
    fs.pipe_file("data@main/a", b"same")
    fs.pipe_file("data@main/b", b"same")
    assert fs.ukey("data@main/a") == fs.ukey("data@main/b") != fs.ukey("data@main/dir")


def test_can_be_pickled(fs: VfsFileSystem) -> None:
    fs.pipe_file("data@main/a", b"1")
    assert pickle.loads(pickle.dumps(fs)).cat_file("data@main/a") == b"1"
