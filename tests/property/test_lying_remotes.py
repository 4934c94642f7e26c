"""Remotes whose nodes say what is not so of those below: nobody comes to what contradicts them."""

from __future__ import annotations

import os
import random
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.remotes import build, connect
from vfs.errors import CorruptObject, RemoteUnavailable
from vfs.fs.snapshot import Snapshots
from vfs.ids import ObjectId
from vfs.model.entry import Entry, Extra, Totals, directory_totals
from vfs.model.node import Child, Inner, Sums, decode_node, encode_inner, encode_leaf, sums_of
from vfs.repo.claims import last_name, sums_in
from vfs.repo.repository import Repository
from vfs.repo.trees import with_tree
from vfs.store.ingest import Ingest
from vfs.store.layout import Kind
from vfs.sync.cache import make_cache, open_cache, refresh_cache
from vfs.sync.ondemand import Patience
from vfs.sync.push import push
from vfs.sync.remotes import RemotePlace

EXAMPLES = int(os.environ.get("VFS_LIES_EXAMPLES", "20"))
PATIENT = Patience(20)


def tree(rng: random.Random, depth: int = 2) -> dict[str, object]:
    """Return a tree of directories, some of several nodes."""
    names = rng.sample(range(1000), rng.choice((3, 30, 300)) if depth == 2 else rng.randrange(1, 9))
    return {
        f"{name:03}": tree(rng, depth - 1)
        if depth and rng.random() < 0.2
        else rng.randbytes(rng.randrange(40))
        for name in names
    } | {"some": {"file": b"x"}}


class Liar:
    """Writes a tree again, with one thing said in it that is not so."""

    def __init__(self, repo: Repository, ingest: Ingest, rng: random.Random) -> None:
        self._repo, self._ingest, self._rng = repo, ingest, rng

    def root(self, entry: Entry) -> Entry:
        """Return the directory with a lie in it, or about it. Of the nodes above it, all agree."""
        if self._rng.random() < 0.15:
            return self._about(entry)
        oid, sums = self._node(entry.content)
        return with_tree(entry, oid, sums.totals())

    def _node(self, oid: ObjectId) -> tuple[ObjectId, Sums]:
        node = decode_node(self._repo.reader.get(oid))
        if not isinstance(node, Inner):
            return self._leaf(list(node.entries()))
        children = list(node.children)
        at = self._rng.randrange(len(children))
        match self._rng.randrange(4):
            case 0:
                field = self._rng.randrange(5)
                said = [*children[at].sums]
                said[field] += 1
                children[at] = children[at]._replace(sums=Sums(*said))
            case 1:
                children[at] = children[at]._replace(last=children[at].last + b"\1")
            case 2 if at:
                children[at] = self._early(children[at])
            case _:
                below, sums = self._node(children[at].node)
                last = last_name(decode_node(self._get(below)))
                children[at] = Child(below, last, sums)
        made = encode_inner(node.level, children)
        return self._ingest.add_object(Kind.TREE, made), sums_in(decode_node(made))

    def _leaf(self, entries: list[Entry]) -> tuple[ObjectId, Sums]:
        directories = [at for at, entry in enumerate(entries) if entry.is_dir]
        at = self._rng.choice(directories) if directories else 0
        if directories and self._rng.random() < 0.5:
            entries[at] = self.root(entries[at])
        else:
            at = self._rng.randrange(len(entries))
            entries[at] = self._about(entries[at])
        return self._ingest.add_object(Kind.TREE, encode_leaf(entries)), sums_of(entries)

    def _about(self, entry: Entry) -> Entry:
        """Return an entry that says what is not so."""
        if not entry.is_dir:
            lies = entry._replace(size=entry.size + 1), entry._replace(extra=Extra(rdev=7).encode())
            return self._rng.choice(lies)
        totals = [*directory_totals(entry)]
        totals[self._rng.randrange(4)] += 1
        extra = Extra.decode(entry.extra)
        return entry._replace(extra=replace(extra, totals=Totals(*totals)).encode())

    def _early(self, child: Child) -> Child:
        """Return a child whose first name is before those of the child before it."""
        node = decode_node(self._repo.reader.get(child.node))
        assert not isinstance(node, Inner)
        first, *rest = node.entries()
        changed = [first._replace(name=b"!"), *rest]
        return child._replace(node=self._ingest.add_object(Kind.TREE, encode_leaf(changed)))

    def _get(self, oid: ObjectId) -> bytes:
        self._ingest.flush()
        return self._repo.reader.get(oid)


def publish(base: Path, rng: random.Random, *, lies: bool) -> Entry:
    """Push a version to a remote, with one lie in it; return its true root."""
    with Repository.create(base / "origin") as repo, repo.store.ingest() as ingest:
        root = build(ingest, b"", tree(rng))  # type: ignore[arg-type]
        ingest.flush()
        said = Liar(repo, ingest, rng).root(root) if lies else root
        repo.create_data_set("data")
        repo.commit_root("data", "main", lambda _: said, ingest=ingest, message="x")
        with connect(base / "remote") as remote:
            push(repo, remote, "origin", repo.all_refs())
    return root


def shown(view: Snapshots) -> Iterator[int]:
    """Go through all that a mount would show; yield the nodes of directories that were entered.

    What a directory was said to hold is compared with what is seen of it: a mount never shows both
    when they differ.
    """
    ref = view.repo.store.refs.get("data", "main")
    assert ref is not None
    waiting = [view.root(ref.slot).node]
    while waiting:
        node = waiting.pop()
        said, seen = view.directory(node).entry, []
        for name, attr, offset in view.readdir(node, 0):
            if offset <= 2:
                continue
            assert view.lookup(node, name)[:3] == attr[:3]
            if stat.S_ISDIR(attr.mode):
                waiting.append(attr.node)
                seen.append(view.directory(attr.node).entry)
            else:
                seen.append(view.file(attr.node))
                if stat.S_ISREG(attr.mode):
                    assert sum(map(len, view.read(attr.node, 0, 1 << 20))) == attr.size
        assert directory_totals(said) == sums_of(seen).totals()
        yield node


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), lies=st.booleans())
def test_what_is_shown_fits_together_or_is_refused(seed: int, lies: bool) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        place = RemotePlace("", f"file://{base}/remote")
        root = publish(base, rng, lies=lies)
        make_cache(base / "cache", place)
        refresh_cache(base / "cache", PATIENT)
        for patience in (PATIENT, Patience(offline=True)):  # what is in the cache is as good
            with open_cache(base / "cache", patience) as repo:
                view = Snapshots(repo)
                if lies:
                    # Offline, too, where what can't be was not kept.
                    refused = RemoteUnavailable if patience.offline else CorruptObject
                    with pytest.raises((CorruptObject, refused)):
                        list(shown(view))
                else:
                    entered = list(shown(view))
                    assert len(entered) == len(set(entered)) == directory_totals(root).dirs
