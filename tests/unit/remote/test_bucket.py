"""Reading again what came wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remotes import WatchedBucket, commit, connect, read_tree
from vfs.errors import NotFound, RemoteProblem
from vfs.remote.bucket import READS, get_decoded
from vfs.remote.files import FileBucket
from vfs.repo.repository import Repository
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push


class Line(WatchedBucket):
    """The first few answers have wrong bytes."""

    def __init__(self, path: Path, wrong: int) -> None:
        super().__init__(FileBucket(path))
        self.wrong = wrong

    def get(self, name: str, *, most: int) -> bytes:
        data = super().get(name, most=most)
        return b"wrong" if self.calls["get"] <= self.wrong else data


def decode(data: bytes) -> str:
    if data != b"right":
        raise RemoteProblem(f"read {data.decode()}")
    return data.decode()


@pytest.mark.parametrize("wrong", range(READS))
def test_what_comes_wrong_is_read_again(wrong: int, tmp_path: Path) -> None:
    bucket = Line(tmp_path, wrong)
    bucket.put("a", b"right")
    assert get_decoded(bucket, "a", decode, most=9) == "right"
    assert bucket.calls["get"] == wrong + 1


def test_what_stays_wrong_is_an_error_and_what_is_missing_is_asked_for_once(tmp_path: Path) -> None:
    bucket = Line(tmp_path, READS)
    bucket.put("a", b"right")
    with pytest.raises(RemoteProblem, match="read wrong"):
        get_decoded(bucket, "a", decode, most=9)
    assert bucket.calls["get"] == READS
    with pytest.raises(NotFound):
        get_decoded(bucket, "b", decode, most=9)
    assert bucket.calls["get"] == READS + 1


class Cut(WatchedBucket):
    """Every second range ends too early."""

    def get_range(self, name: str, start: int, length: int) -> bytes:
        data = super().get_range(name, start, length)
        if self.calls["get_range"] % 2:
            raise RemoteProblem(f"'{name}' ends before byte {start + length}")
        return data


def test_ranges_that_come_cut_are_read_again(tmp_path: Path) -> None:
    files = {"a": bytes(range(256)) * 100}
    with Repository.create(tmp_path / "source") as repo, connect(tmp_path / "remote") as remote:
        commit(repo, files)
        push(repo, remote, "origin", repo.all_refs())
    bucket = Cut(FileBucket(tmp_path / "remote"))
    with (
        Repository.create(tmp_path / "sink") as repo,
        connect(tmp_path / "remote", bucket=bucket) as remote,
    ):
        pull(repo, remote, "origin", [Wanted("data")])
        assert read_tree(repo, repo.commit(repo.resolve("data").commit).root) == files
    assert bucket.calls["get_range"] > 1
