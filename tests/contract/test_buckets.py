"""What every bucket promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from tests.support.remotes import FaultyBucket, WatchedBucket, new_place, patient
from vfs.clock import NS, now_ns
from vfs.errors import NotFound, RemoteProblem
from vfs.remote.bucket import Bucket
from vfs.remote.bundle import NewBundle
from vfs.remote.files import FileBucket
from vfs.remote.objectstore import ObjectStoreBucket
from vfs.remote.parallel import Workers
from vfs.remote.sealed import SealedBucket
from vfs.remote.sealing import sealed_size
from vfs.remote.secrets import MasterKey
from vfs.remote.urls import open_bucket


def memory() -> Bucket:
    store = pytest.importorskip("obstore.store")
    return ObjectStoreBucket(store.MemoryStore())


def s3() -> Bucket:
    """A bucket of a real service."""
    return open_bucket(new_place(), os.environ.get("VFS_TEST_S3_ENDPOINT"))


def sealed(bucket: Bucket) -> Bucket:
    return SealedBucket(bucket, MasterKey(bytes(32)))


PARAMS = ["file", "memory", "bundle", "watched", "faulty"]
ALL = [
    pytest.param(kind + name, marks=[pytest.mark.s3] if name == "s3" else [])
    for kind in ("", "sealed ")
    for name in [*PARAMS, "s3"]
]


@pytest.fixture(params=ALL)
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    files = FileBucket(tmp_path / "bucket")
    made = {
        "file": lambda: files,
        "memory": memory,
        "bundle": lambda: NewBundle(tmp_path / "a.vfsbundle"),
        "watched": lambda: WatchedBucket(files),
        "faulty": lambda: patient(FaultyBucket(files, 7)),
        "s3": s3,
    }[request.param.removeprefix("sealed ")]()
    if request.param.startswith("sealed "):
        made = sealed(made)
    yield made
    made.close()


def test_what_is_written_is_read_whole_and_in_parts(bucket: Bucket) -> None:
    data = bytes(range(256)) * 40
    bucket.put("packs/a", data)
    bucket.put("empty", b"")
    assert bucket.get("packs/a", most=len(data)) == data
    assert bucket.get("empty", most=0) == b""
    assert bucket.get_range("packs/a", 300, 500) == data[300:800]
    assert bucket.get_range("packs/a", 0, len(data)) == data


def test_nothing_is_ever_replaced(bucket: Bucket) -> None:
    bucket.put("a/b", b"first")
    assert bucket.put("a/b", b"second") is False
    assert bucket.get("a/b", most=9) == b"first"


def test_of_many_who_write_one_name_one_does(bucket: Bucket, request: object) -> None:
    start, done = Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        if bucket.put("refs/x", b"%d" % number):
            done.append(b"%d" % number)

    threads = [Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One that tries again may be told that it is there when it was itself who wrote it.
    assert done in ([], [bucket.get("refs/x", most=9)])


def test_what_is_not_there_or_too_large_is_told(bucket: Bucket) -> None:
    bucket.put("a", b"12345")
    with pytest.raises(NotFound):
        bucket.get("b", most=9)
    with pytest.raises(NotFound):
        bucket.get_range("c/d", 0, 1)
    with pytest.raises(RemoteProblem):
        bucket.get("a", most=4)
    with pytest.raises(RemoteProblem):
        bucket.get_range("a", 3, 3)


def test_lists_ascend_and_begin_where_they_are_asked_to(bucket: Bucket) -> None:
    for name in ("r/a/2", "r/a/10", "r/b/1", "r/ab", "ra/1", "z"):
        bucket.put(name, name.encode())
    size = sealed_size if isinstance(bucket, SealedBucket) else int
    assert [(item.name, item.size) for item in bucket.items("r")] == [
        (name, size(len(name))) for name in ("r/a/10", "r/a/2", "r/ab", "r/b/1")
    ]
    assert [item.name for item in bucket.items("r", "r/a/2")] == ["r/ab", "r/b/1"]
    assert [item.name for item in bucket.items("r/a")] == ["r/a/10", "r/a/2"]
    assert list(bucket.items("nothing")) == []
    assert bucket.directories("r") == ["a", "b"]
    assert bucket.directories("nothing") == []


def test_what_is_deleted_is_gone_and_may_be_written_anew(
    bucket: Bucket, request: pytest.FixtureRequest
) -> None:
    bucket.put("d/a", b"first")
    bucket.put("d/b", b"other")
    if request.node.callspec.params["bucket"].endswith("bundle"):
        with pytest.raises(RemoteProblem):
            bucket.delete("d/a")
        return
    bucket.delete("d/a")
    bucket.delete("d/a")
    bucket.delete("nowhere/at/all")
    with pytest.raises(NotFound):
        bucket.get("d/a", most=9)
    assert [item.name for item in bucket.items("d")] == ["d/b"]
    bucket.put("d/a", b"second")
    assert bucket.get("d/a", most=9) == b"second"


def test_lists_say_when_something_was_written(bucket: Bucket) -> None:
    bucket.put("t/a", b"1")
    (item,) = bucket.items("t")
    day_ns = 86_400 * NS  # clocks of two machines
    assert item.modified_ns == 0 or abs(item.modified_ns - now_ns()) < day_ns


@pytest.mark.parametrize("make", [memory, pytest.param(s3, marks=pytest.mark.s3)])
def test_lists_may_be_long(make: Callable[[], Bucket]) -> None:
    bucket = make()
    names = [f"many/{number:05}" for number in range(2100)]
    with Workers() as workers:
        assert all(workers.in_order(lambda name: bucket.put(name, b""), names))
    assert [item.name for item in bucket.items("many")] == names


def test_a_bundle_is_there_when_it_is_whole_and_never_replaced(tmp_path: Path) -> None:
    from vfs.errors import AlreadyExists
    from vfs.remote.bundle import Bundle

    path = tmp_path / "a.vfsbundle"
    given_up = NewBundle(path)
    given_up.put("x", b"1")
    given_up.close()
    assert list(tmp_path.iterdir()) == []
    bundle = NewBundle(path)
    bundle.put("x/y", b"12345")
    assert not path.exists()
    bundle.finish()
    bundle.close()
    with pytest.raises(AlreadyExists):
        NewBundle(path)
    data = path.read_bytes()
    opened = Bundle.open(path)
    assert opened.get("x/y", most=5) == b"12345"
    opened.close()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RemoteProblem):
            Bundle.open(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(RemoteProblem):
        Bundle.open(path)


def test_sweeping_leaves_what_was_written(bucket: Bucket) -> None:
    bucket.put("packs/a", b"data")
    bucket.sweep(now_ns() + NS)
    assert bucket.get("packs/a", most=4) == b"data"


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    bucket = SealedBucket(FileBucket(tmp_path), MasterKey(bytes(32)))
    bucket.put("refs/data/main/x", b"data")
    directories = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(directories) == 3
    for directory in directories:
        (directory / ".partial-0011").write_bytes(b"half")
        (directory / ".partial-2233").write_bytes(b"half")
        os.utime(directory / ".partial-0011", ns=(1000, 1000))
    bucket.sweep(2000)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == [".partial-2233"] * 3
    bucket.sweep(now_ns() + NS)
    assert not list(tmp_path.rglob(".*"))
    assert bucket.get("refs/data/main/x", most=4) == b"data"
