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
from vfs.model.auditline import AuditLine
from vfs.model.blob import Span, decode_blob_node, encode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import FLAG_BLOB, Entry, Extra, Link, Totals, directory_entry
from vfs.model.node import Child, Inner, Leaf, Sums, decode_node, encode_inner, encode_leaf
from vfs.model.overlay import (
    NEW_INO,
    PATCH_BYTES,
    WHITEOUT,
    InodeRow,
    OverlayHeader,
    decode_header,
    decode_inode,
    decode_tree,
    encode_header,
    encode_inode,
    encode_tree,
)
from vfs.repo import branches, identity, repository
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository
from vfs.store import audit
from vfs.store.identity import FORMAT
from vfs.store.overlaybatch import OverlayBatch
from vfs.store.store import Store
from vfs.store.tables import TABLES

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
INODE = InodeRow(
    mode=stat.S_IFREG | 0o4640,
    uid=1000,
    gid=100,
    nlink=2,
    rdev=0,
    size=70_000,
    mtime_ns=MTIME_NS,
    ctime_ns=MTIME_NS + 1,
    atime_ns=-1,
    content=CHUNK,
    flags=FLAG_BLOB,
    content_bytes=90_000,
    visible=65_536,
    holes=4096,
    patches=3,
    parent=NEW_INO | 5,
    name=b"caf\xe9",
    group=b"12345678",
    target=b"",
    xattrs=((b"user.a", b"1"), (b"user.b", b"\0\xff")),
)
SYMLINK = InodeRow(
    stat.S_IFLNK | 0o777, 0, 0, 1, 0, 4, 0, 0, 0, NO_CONTENT, 0, 0, 0, 0, 0, 1, b"link", b"",
    b"../x", (),
)  # fmt: skip
HEADER = OverlayHeader(7, object_id(b"origin"), object_id(b"head"), 12, 34, dirty=True)
AUDIT_LINE = AuditLine(
    before=object_id(b"the line before"),
    time_ns=MTIME_NS,
    action="ref.move",
    who="zoë@host",
    facts={"command": "vfs tag", "new": None, "pid": 7, "why": "é"},
)
RECORDS = {
    "audit-line.bin": AUDIT_LINE.encode(),
    "overlay-inode.bin": encode_inode(INODE),
    "overlay-symlink.bin": encode_inode(SYMLINK),
    "overlay-header.bin": encode_header(HEADER),
    "overlay-tree.bin": encode_tree(TREE, Totals(1, 2, 3, 4)),
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
    assert decode_inode((HERE / "overlay-inode.bin").read_bytes()) == INODE
    assert decode_inode((HERE / "overlay-symlink.bin").read_bytes()) == SYMLINK
    assert decode_header((HERE / "overlay-header.bin").read_bytes()) == HEADER
    assert AuditLine.decode((HERE / "audit-line.bin").read_bytes()) == AUDIT_LINE
    tree = decode_tree((HERE / "overlay-tree.bin").read_bytes())
    assert tree == (TREE, Totals(1, 2, 3, 4))


# A whole store, as the rows of its tables: where LMDB puts them in its file is its own affair.

VERSIONS: tuple[Tree, ...] = (
    {b"a": b"first", b"dir": {b"b": b"in a directory"}, b"text": b"line\n" * 50},
    {b"a": b"second", b"dir": {b"b": b"in a directory"}, b"text": b"line\n" * 50},
)
OF_BRANCH: Tree = {
    b"dir": {b"b": b"in a directory"},
    b"new": b"patch",
    b"other": b"patch",
    b"text": b"line\n" * 50,
}


def make_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a small store in which nothing is left to chance."""
    clock = itertools.count(1_793_491_200 * NS, NS)
    monkeypatch.setattr("vfs.store.store.os.urandom", lambda count: bytes(range(count)))
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(int=1))
    for module in (repository, branches):
        monkeypatch.setattr(module, "now_ns", lambda: next(clock))
    monkeypatch.setattr(identity, "who", lambda: "user@host")
    monkeypatch.setattr(audit, "_origin", lambda: {"command": "vfs", "pid": 1})
    monkeypatch.setattr(identity, "host", lambda: "host")
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
        write_overlay(repo)


NEW = NEW_INO | 1
PAGE = b"patch" + bytes(PATCH_BYTES - 5)


def write_overlay(repo: Repository) -> None:
    """Write to the branch, commit, and write again."""
    overlays = repo.store.overlays
    row = SYMLINK._replace(
        mode=stat.S_IFREG | 0o644, nlink=2, size=5, target=b"", patches=1, name=b"new"
    )
    root = row._replace(mode=stat.S_IFDIR | 0o755, size=0, patches=0, name=b"")
    header = overlays.open("data", "main")
    batch = OverlayBatch(
        inodes={1: root, NEW: row},
        names={(1, b"new"): NEW, (1, b"other"): NEW, (1, b"a"): WHITEOUT},
        links={(NEW, 1, b"new"): True, (NEW, 1, b"other"): True},
        patches={(NEW, 0): PAGE},
        changed_inodes={1, NEW},
        changed_names={(1, b"new"), (1, b"other"), (1, b"a")},
        next_ino=2,
    )
    overlays.write("data", "main", header.id, batch)
    commit_overlay(repo, "data", "main", message="from a branch", author="author")
    batch = OverlayBatch(
        inodes={NEW: row._replace(mtime_ns=1), NEW + 1: row._replace(nlink=0, patches=0)},
        names={(1, b"new"): None},
        links={(NEW, 1, b"new"): False},
        orphans={NEW + 1: True},
        changed_inodes={NEW},
        changed_names={(1, b"new")},
        next_ino=3,
    )
    overlays.write("data", "main", header.id, batch)


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
        messages = ["from a branch", "version 2", "version 1"]
        assert [commit.message for _, commit in history] == messages
        for (_, commit), tree in zip(history, (OF_BRANCH, *VERSIONS[::-1]), strict=True):
            assert contents(repo, commit.root) == tree
        old = repo.reflog("data", "v1")
        assert [(line.new is None, line.who) for line in old] == [
            (True, "user@host"),
            (False, "user@host"),
        ]
        assert repo.resolve("data", history[1][0].hex()).slot < repo.resolve("data").slot
        with repo.store.overlays.snapshot("data", "main") as taken:
            assert taken is not None
            assert taken.header == OverlayHeader(
                1, history[1][0], history[0][0], next_ino=3, seq=2, dirty=True
            )
            assert taken.names(1) == [(b"a", WHITEOUT), (b"other", NEW)]
            assert taken.links(NEW) == [(1, b"other")]
            assert taken.patches(NEW, 0, 9) == {0: PAGE}
            assert taken.orphans() == [NEW + 1]
            assert list(taken.changed_inodes()) == [NEW]
            assert list(taken.changed_names()) == [(1, b"new", NEW)]
            tree = taken.tree(1)
            assert tree is not None
            assert tree[0] == history[0][1].root.content


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
