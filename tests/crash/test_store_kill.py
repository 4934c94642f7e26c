"""A process is killed at any moment of an ingest or a commit: the store is consistent."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.support.stores import start_child
from vfs.ids import object_id
from vfs.model.node import Leaf
from vfs.repo.repository import Repository
from vfs.repo.trees import Nodes, walk
from vfs.store.store import Store

pytestmark = pytest.mark.crash

ROUNDS = 12

# Says each version that it has committed; what is said must be there afterwards.
WORKER = """
import sys
from pathlib import Path
from tests.support.trees import store_tree
from vfs.repo.repository import Repository
path, start = Path(sys.argv[1]), int(sys.argv[2])
with Repository.open(path, map_bytes=1 << 20) as repo:
    for version in range(start, start + 10_000):
        with repo.store.ingest() as ingest:
            tree = {b"file%d" % n: b"%d of %d" % (n, version) * 2000 for n in range(30)}
            tree[b"sub"] = {b"version": b"%d" % version}
            def make_root(head):
                return store_tree(ingest, b"", tree)
            repo.commit_root(
                "data", "main", make_root, ingest=ingest, message=str(version), author="a",
                tag=f"v{version}",
            )
        print(version, flush=True)
"""


def check(path: Path) -> int:
    """Check everything that a reference leads to; return how many versions there are."""
    with Repository.open(path) as repo:
        versions = {name for ref in repo.refs("data") if (name := ref.name) != "main"}
        if not repo.refs("data"):
            return 0
        history = list(repo.log("data"))
        assert [commit.message for _, commit in history] == [
            str(number) for number in reversed(range(len(history)))
        ]
        assert versions == {f"v{number}" for number in range(len(history))}
        heads = {ref.name: ref.commit for ref in repo.refs("data")}
        assert heads["main"] == heads[f"v{len(history) - 1}"] == history[0][0]
        for number, (oid, commit) in zip(reversed(range(len(history))), history, strict=True):
            assert heads[f"v{number}"] == oid
            entry = repo.entry_at(commit.root, (b"sub", b"version"))
            assert b"".join(repo.read_file(entry)) == b"%d" % number
        check_numbers(repo.store, history[0][1].root.content)
        return len(history)


def check_numbers(store: Store, tree: bytes) -> None:
    """Check that every inode number leads to a leaf with that entry."""
    nodes = Nodes(store.reader())
    for place in walk(nodes, tree):  # type: ignore[arg-type]
        if not place.entry.is_dir:
            identity = place.leaf.identity(place.leaf_index)
            found = store.numbering.locate(store.numbering.number(identity))
            assert found is not None
            leaf = nodes.get(found[0])
            assert isinstance(leaf, Leaf)
            assert leaf.identity(found[1]) == identity


def test_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
    moments = random.Random(9)
    made = 0
    for _ in range(ROUNDS):
        child = start_child(WORKER, path, made)
        assert child.stdout is not None
        for _ in range(moments.randint(1, 3)):
            said = int(child.stdout.readline())
        try:  # no event to wait for: any moment will do
            child.wait(timeout=moments.uniform(0.0, 0.03))
        except subprocess.TimeoutExpired:
            child.kill()
        out, err = child.communicate()
        assert not err
        said = int(out.split()[-1]) if out.split() else said
        made = check(path)
        assert made in (said + 1, said + 2)  # it may have ended before it could say so


INGEST = """
import random, sys
from pathlib import Path
from vfs.store.store import Store
chunks = random.Random(7)
with Store.open(Path(sys.argv[1]), map_bytes=1 << 20) as store, store.ingest() as ingest:
    print("started", flush=True)
    while True:
        (oid,) = ingest.add_chunks([chunks.randbytes(30_000)])
        ingest.flush()
        print(oid.hex(), flush=True)
"""


def test_what_was_flushed_survives_and_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.create(path).close()
    moments = random.Random(8)
    for _ in range(6):
        child = start_child(INGEST, path)
        assert child.stdout is not None
        for _ in range(moments.randint(1, 12)):
            child.stdout.readline()
        child.kill()
        out, _ = child.communicate()
        lines = out.split("\n")[:-1]
        with Store.open(path) as store:
            reader = store.reader()
            for line in lines:
                oid = bytes.fromhex(line)
                assert object_id(reader.get(oid)) == oid  # type: ignore[arg-type]
            counts = store.count_objects()
            chunks = random.Random(7)
            bodies = [
                chunks.randbytes(30_000) for _ in range(sum(c.objects for c in counts.values()))
            ]
            assert all(reader.has(object_id(body)) for body in bodies)  # no gap, none twice
