"""Remotes for tests: buckets that count and fail, histories to send, what holds of a remote."""

from __future__ import annotations

import os
import random
import secrets
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from vfs.errors import RemoteUnavailable
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.entry import Entry, Extra, directory_entry
from vfs.remote.bucket import Bucket, Item, Retrying
from vfs.remote.files import FileBucket
from vfs.remote.layout import HEADER_NAME, INDEXES, REFS
from vfs.remote.objects import Sought
from vfs.remote.remote import Remote
from vfs.repo.blobs import BlobBuilder
from vfs.repo.repository import Repository
from vfs.repo.trees import TreeBuilder
from vfs.store.ingest import Ingest
from vfs.store.layout import Kind
from vfs.store.whole import Part
from vfs.sync.fsck import check_remote
from vfs.sync.graph import below

Tree: TypeAlias = "Mapping[str, bytes | Tree]"
CHUNK = 1000  # bytes: small files have blobs, too


class WatchedBucket:
    """A bucket of which every call is told before and after it is done."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        before: Callable[[str, str], None] = lambda *_: None,
        after: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self.bucket, self.before, self.after = bucket, before, after
        self.calls: Counter[str] = Counter()

    def get(self, name: str, *, most: int) -> bytes:
        with self._watched("get", name):
            return self.bucket.get(name, most=most)

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._watched("get_range", name):
            return self.bucket.get_range(name, start, length)

    def put(self, name: str, data: bytes) -> bool:
        with self._watched("put", name):
            return self.bucket.put(name, data)

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        with self._watched("items", directory):
            yield from self.bucket.items(directory, after)

    def directories(self, directory: str) -> list[str]:
        with self._watched("directories", directory):
            return self.bucket.directories(directory)

    def delete(self, name: str) -> None:
        with self._watched("delete", name):
            self.bucket.delete(name)

    def sweep(self, before_ns: int) -> None:
        with self._watched("sweep", ""):
            self.bucket.sweep(before_ns)

    def close(self) -> None:
        self.bucket.close()

    @contextmanager
    def _watched(self, call: str, name: str) -> Iterator[None]:
        self.calls[call] += 1
        self.before(call, name)
        yield
        self.after(call, name)


class FaultyBucket(WatchedBucket):
    """Fails now and then, before a call is done or after it; ranges may come with a wrong byte."""

    def __init__(
        self, bucket: Bucket, seed: int, *, rate: float = 0.2, wrong_rate: float = 0.0
    ) -> None:
        super().__init__(bucket, before=self._maybe, after=self._maybe)
        self._random = random.Random(seed)
        self._rate = rate
        self._wrong_rate = wrong_rate

    def get_range(self, name: str, start: int, length: int) -> bytes:
        data = bytearray(super().get_range(name, start, length))
        if data and self._random.random() < self._wrong_rate:
            data[self._random.randrange(len(data))] ^= 0x5A
        return bytes(data)

    def items(self, directory: str, after: str = "") -> Iterator[Item]:
        for item in super().items(directory, after):
            yield item
            self._maybe("items", directory)

    def _maybe(self, call: str, name: str) -> None:
        if self._random.random() < self._rate:
            raise RemoteUnavailable(f"{call} {name}: cut")


class DyingBucket(WatchedBucket):
    """Kills this process before or after one of its calls, each of which counts twice so."""

    def __init__(self, bucket: Bucket, nth: int, *, calls: Collection[str] = ()) -> None:
        """*nth*: the call to die at; *calls*: those that count, by name. Without them, all do."""
        super().__init__(bucket, before=self._count, after=self._count)
        self._nth = nth
        self._counted = calls
        self.count = 0

    def _count(self, call: str, name: str) -> None:
        if not self._counted or call in self._counted:
            self.count += 1
            if self.count == self._nth:
                os.kill(os.getpid(), signal.SIGKILL)


def new_place() -> str:
    """Return the URL of an empty place at the gateway (for tests with the marker `s3`)."""
    return f"{os.environ['VFS_TEST_S3']}/{secrets.token_hex(8)}"


def patient(bucket: Bucket) -> Retrying:
    """Retry for as long as a test may take, without waiting."""
    return Retrying(bucket, tries=60, sleep=lambda _: None)


def connect(path: Path, *, make: bool = True, bucket: Bucket | None = None) -> Remote:
    """Open the remote in a directory, without a cache of indexes."""
    return Remote.connect(bucket or FileBucket(path), store=None, make=make)


def add_file(ingest: Ingest, data: bytes) -> tuple[ObjectId, int, int]:
    """Store a file; runs of CHUNK zeros are holes. Return content, flags and holes."""
    builder = BlobBuilder(ingest)
    for at in range(0, len(data), CHUNK):
        part = data[at : at + CHUNK]
        if not any(part):
            builder.hole(len(part))
        else:
            builder.add(ingest.add_chunks([part])[0], len(part))
    content = builder.finish()
    return content.oid, content.flags, content.holes


def build(ingest: Ingest, name: bytes, tree: Tree) -> Entry:
    """Store a directory."""
    builder = TreeBuilder(ingest)
    for child in sorted(os.fsencode(child) for child in tree):
        content = tree[os.fsdecode(child)]
        if not isinstance(content, bytes):
            builder.add(build(ingest, child, content))
            continue
        oid, flags, holes = add_file(ingest, content) if content else (NO_CONTENT, 0, 0)
        extra = Extra(holes=holes).encode()
        builder.add(Entry(child, 0o100644, 0, 0, 0, len(content), oid, flags, extra))
    oid, totals = builder.finish()
    return directory_entry(name, oid, totals)


def commit(repo: Repository, tree: Tree, message: str = "x", *, branch: str = "main") -> ObjectId:
    """Make a version of the data set `data`."""
    if "data" not in repo.data_sets():
        repo.create_data_set("data")
    with repo.store.ingest() as ingest:
        root = build(ingest, b"", tree)
        return repo.commit_root(
            "data", branch, lambda _: root, ingest=ingest, message=message, author="me"
        ).commit


def read_tree(repo: Repository, root: Entry) -> Tree:
    """Return what a version holds, every byte read and verified."""
    return {
        os.fsdecode(entry.name): read_tree(repo, entry)
        if entry.is_dir
        else b"".join(repo.read_file(entry))
        for entry in repo.entries(root.content)
    }


def assert_whole(path: Path) -> set[ObjectId]:
    """Check that all that counts on a remote is there, with all below it; return its commits."""
    bucket = FileBucket(path)
    if not list(bucket.items(INDEXES)) and not list(bucket.items(REFS)):
        return set()
    assert bucket.get(HEADER_NAME, most=1000)
    commits = set()
    with connect(path, make=False) as remote:
        remote.refresh()
        for index in remote.catalog.indexes():
            for oid, kind in index.ids():
                if kind is Kind.CHUNK:
                    place = remote.objects.place(oid, is_node=False)
                    part = Part(place.offset, place.size, oid)
                    sought = Sought(place.pack, place.segment, [part], [place.kind])
                    remote.objects.begin_chunks([sought], lambda _: None)
                    continue
                for child_kind, child in below(kind, remote.objects.nodes([oid])[oid]):
                    is_node = child_kind is not Kind.CHUNK
                    assert remote.catalog.find(child, is_node=is_node) is not None
                if kind is Kind.COMMIT:
                    commits.add(oid)
        remote.objects.finish_chunks()
        for data_set in remote.refs.data_sets():
            for name in remote.refs.names(data_set):
                for record in remote.refs.log(data_set, name):
                    assert record.commit is None or record.commit in commits
    return commits


def assert_remote_sound(path: Path) -> None:
    """Check all of a remote as users do, every byte."""
    if (path / HEADER_NAME).exists():
        assert_sound(FileBucket(path))


def assert_sound(bucket: Bucket) -> None:
    """Check all of the remote in a bucket, every byte, and close it."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        Remote.connect(bucket, store=None) as remote,
    ):
        assert check_remote(remote, Path(temporary), data=True).damages == []
