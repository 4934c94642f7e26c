"""The format's bytes as files beside this one: no change of the format goes unseen.

A change on purpose takes a new format number (docs/format.md, "Versions"), and then
`VFS_GOLDEN=write pytest tests/golden` writes the files anew.
"""

from __future__ import annotations

import itertools
import os
import stat
import uuid
from pathlib import Path

import pytest

from tests.support.stores import locate
from tests.support.trees import MTIME_NS, Tree, store_tree
from vfs.clock import NS
from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.blob import Span, decode_blob_node, encode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import FLAG_BLOB, Entry, Extra, Link, Totals, directory_entry
from vfs.model.node import Child, Inner, Leaf, Sums, decode_node, encode_inner, encode_leaf
from vfs.repo import identity, repository
from vfs.repo.repository import Repository
from vfs.store.environment import TABLES
from vfs.store.store import FORMAT, Store

HERE = Path(__file__).parent
WRITE = os.environ.get("VFS_GOLDEN") == "write"

CHUNK = object_id(b"chunk")
TREE = object_id(b"tree")


def entry(name: bytes, kind: int, size: int = 0, flags: int = 0, **extra: object) -> Entry:
    content = CHUNK if kind == stat.S_IFREG and size else NO_CONTENT
    encoded = Extra(**extra).encode()  # type: ignore[arg-type]
    return Entry(name, kind | 0o640, 1000, 100, MTIME_NS, size, content, flags, encoded)


ENTRIES = [
    entry(b"block", stat.S_IFBLK, rdev=0x0801),
    entry(b"caf\xe9", stat.S_IFREG, 5, xattrs=((b"user.a", b"1"), (b"user.b", b"\0\xff"))),
    directory_entry(b"dir", TREE, Totals(1, 2, 3, 4), uid=1000, gid=100, mtime_ns=-1),
    entry(b"empty", stat.S_IFREG),
    entry(b"fifo", stat.S_IFIFO),
    entry(b"hard", stat.S_IFREG, 5, link=Link(b"12345678", 2)),
    entry(b"link", stat.S_IFLNK, 4, target=b"../x"),
    entry(b"null", stat.S_IFCHR, rdev=0x0103),
    entry(b"socket", stat.S_IFSOCK),
    entry(b"sparse", stat.S_IFREG, 1 << 40, FLAG_BLOB, holes=(1 << 40) - 5),
]
CHILDREN = [
    Child(object_id(b"leaf 1"), b"m", Sums(80, 1, 7, 79, 12345)),
    Child(object_id(b"leaf 2"), b"z" * 255, Sums(90, 0, 0, 90, 1 << 50)),
]
SPANS = [Span(CHUNK, 65536), Span(NO_CONTENT, 1 << 40), Span(object_id(b"other"), 1)]
COMMIT = Commit(
    root=directory_entry(b"", TREE, Totals(1, 2, 3, 4), mode=0o750, mtime_ns=MTIME_NS),
    parents=(object_id(b"parent 1"), object_id(b"parent 2")),
    time_ns=1_793_491_200 * NS + 5,
    author="Zoë <zoe@example.com>",
    message="first line\n\nmore",
    provenance={"command": ["vfs", "import"], "exit": 0, "took": 1.5, "host": {"name": "é"}},
)
RECORDS = {
    "leaf.bin": encode_leaf(ENTRIES),
    "leaf-empty.bin": encode_leaf([]),
    "inner.bin": encode_inner(1, CHILDREN),
    "blob.bin": encode_blob_node(0, SPANS),
    "commit.bin": COMMIT.encode(),
}


def compare(name: str, data: bytes) -> None:
    if WRITE:
        (HERE / name).write_bytes(data)
    assert data == (HERE / name).read_bytes(), (
        f"the bytes of {name} changed: is that a new format? (docs/format.md)"
    )


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_written_as_ever(name: str) -> None:
    compare(name, RECORDS[name])


def test_records_of_old_are_read() -> None:
    leaf, empty, inner = (
        decode_node((HERE / name).read_bytes())
        for name in ("leaf.bin", "leaf-empty.bin", "inner.bin")
    )
    assert isinstance(leaf, Leaf)
    assert list(leaf.entries()) == ENTRIES
    assert len(empty) == 0
    assert isinstance(inner, Inner)
    assert inner.children == CHILDREN
    assert list(decode_blob_node((HERE / "blob.bin").read_bytes()).spans) == SPANS
    assert Commit.decode((HERE / "commit.bin").read_bytes()) == COMMIT


# A whole store, as the rows of its tables: where LMDB puts them in its file is its own affair.

VERSIONS: tuple[Tree, ...] = (
    {b"a": b"first", b"dir": {b"b": b"in a directory"}, b"text": b"line\n" * 50},
    {b"a": b"second", b"dir": {b"b": b"in a directory"}, b"text": b"line\n" * 50},
)


def make_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a small store in which nothing is left to chance."""
    clock = itertools.count(1_793_491_200 * NS, NS)
    monkeypatch.setattr("vfs.store.store.os.urandom", lambda count: bytes(range(count)))
    monkeypatch.setattr("vfs.store.store.uuid.uuid4", lambda: uuid.UUID(int=1))
    monkeypatch.setattr(repository, "now_ns", lambda: next(clock))
    monkeypatch.setattr(identity, "who", lambda: "user@host")
    # zstd's own bytes may change from one release to the next.
    monkeypatch.setattr("vfs.store.ingest.compress_all", lambda items: [None] * len(items))
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        repo.create_data_set("empty")
        for number, tree in enumerate(VERSIONS, 1):
            with repo.store.ingest() as ingest:
                repo.commit_root(
                    "data",
                    "main",
                    lambda head, tree=tree: store_tree(ingest, b"", tree),  # type: ignore[misc]
                    ingest=ingest,
                    message=f"version {number}",
                    author="author",
                    tag=f"v{number}",
                )
        repo.delete_ref("data", "v1", kind="tag")


def dump(store: Store) -> str:
    """Return all rows, in hex."""
    lines = []
    with store._env.read() as txn:
        for table in TABLES:
            lines.append(f"[{table}]")
            with txn.cursor(store._env.tables[table]) as cursor:
                lines += [f"{bytes(key).hex()} {bytes(value).hex()}" for key, value in cursor]
    return "\n".join(lines) + "\n"


def load(path: Path, text: str) -> None:
    """Make a store of the rows that `dump` gave."""
    Store.create(path).close()
    with Store.open(path) as store:

        def put(txn: object) -> None:
            table = ""
            for line in text.splitlines():
                if line.startswith("["):
                    table = line.strip("[]")
                    continue
                key, _, value = line.partition(" ")
                txn.put(  # type: ignore[attr-defined]
                    bytes.fromhex(key), bytes.fromhex(value), db=store._env.tables[table]
                )

        store._env.write(put)


def test_a_store_is_written_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", monkeypatch)
    monkeypatch.undo()
    with Store.open(tmp_path / "store") as store:
        compare("store.txt", dump(store).encode())


def test_a_store_of_old_is_read(tmp_path: Path) -> None:
    """By its rows alone, as format 1 has them."""
    assert FORMAT == 1
    load(tmp_path / "store", (HERE / "store.txt").read_text())
    with Repository.open(tmp_path / "store") as repo:
        assert repo.store.uuid == str(uuid.UUID(int=1))
        assert repo.data_sets() == ["data", "empty"]
        assert [(ref.name, ref.kind) for ref in repo.refs("data")] == [
            ("main", "branch"),
            ("v2", "tag"),
        ]
        history = list(repo.log("data"))
        assert [commit.message for _, commit in history] == ["version 2", "version 1"]
        for (_, commit), tree in zip(history, VERSIONS[::-1], strict=True):
            assert contents(repo, commit.root) == tree
        old = repo.reflog("data", "v1")
        assert [(line.new is None, line.who) for line in old] == [
            (True, "user@host"),
            (False, "user@host"),
        ]
        assert repo.resolve("data", history[1][0].hex()).slot < repo.resolve("data").slot


def contents(repo: Repository, root: Entry) -> Tree:
    return {
        child.name: contents(repo, child) if child.is_dir else b"".join(repo.read_file(child))
        for child in repo.entries(root.content)
    }


def test_a_compressed_segment_of_old_is_read(tmp_path: Path) -> None:
    """A zstd frame as an earlier release wrote it, with two chunks in it."""
    import zstandard

    body = b"one chunk, " * 20 + b"and another" * 30
    name = HERE / "segment.zst"
    if WRITE:
        name.write_bytes(zstandard.ZstdCompressor(level=3).compress(body))
    frame = name.read_bytes()
    ids: list[ObjectId] = [object_id(body[:220]), object_id(body[220:])]
    with Store.create(tmp_path / "store") as store:

        def put(txn: object) -> None:
            tables = store._env.tables
            txn.put(bytes(7) + b"\1", b"before" + frame + b"behind", db=tables["blocks"])  # type: ignore[attr-defined]
            for oid, offset, size in ((ids[0], 0, 220), (ids[1], 220, len(body) - 220)):
                where = (1).to_bytes(5, "little") + (6).to_bytes(3, "little")  # block 1, byte 6
                what = b"".join(n.to_bytes(3, "little") for n in (len(frame), len(body)))
                part = offset.to_bytes(3, "little") + size.to_bytes(5, "little")
                row = where + what + b"\x80\0" + part
                txn.put(oid, row, db=tables["objects"])  # type: ignore[attr-defined]

        store._env.write(put)
        reader = store.reader()
        assert [reader.get(oid) for oid in ids] == [body[:220], body[220:]]
        assert [locate(store, oid).compressed for oid in ids] == [True, True]
