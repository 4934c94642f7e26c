"""Reading again what came wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remotes import WatchedBucket
from vfs.errors import NotFound, RemoteProblem
from vfs.remote.bucket import READS, get_decoded
from vfs.remote.files import FileBucket


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
