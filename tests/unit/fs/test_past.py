"""What attributes `user.vfs.*` say, without a kernel: limits, and names that are no version."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest
from blake3 import blake3

from tests.support.trees import store_tree
from tests.support.versions import commit
from tests.unit.fs.conftest import BIG, Made, special
from vfs.errors import NoData
from vfs.fs import past
from vfs.fs.hub import Hub
from vfs.fs.nodes import ROOT
from vfs.fs.single import SingleRevision
from vfs.repo import births
from vfs.repo.differences import make_difference
from vfs.repo.repository import Repository

EVERY = ("blake3", "commit", "data_set", "introduced", "provenance", "revision")


@pytest.fixture
def hub(made: Made) -> Iterator[Hub]:
    with Repository.open(made.path) as repo:
        yield Hub(repo)


def node_at(view: Hub, *path: bytes) -> int:
    node = ROOT
    for name in path:
        node = view.lookup(node, name).node
    return node


def tell(view: Hub | SingleRevision, node: int, name: str) -> str:
    try:
        return view.getxattr(node, f"user.vfs.{name}".encode()).decode()
    except NoData:
        return "none"


def test_contents_are_hashed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {b"big": BIG, b"empty": b"", b"same": b"same in all versions"}
    for name, content in contents.items():
        node = node_at(hub, b"data@v1", name)
        assert tell(hub, node, "blake3") == blake3(content).hexdigest()
    monkeypatch.setattr(past, "HASHED_MAX_BYTES", 1000)
    big = node_at(hub, b"data@v1", b"big")
    assert tell(hub, big, "blake3") == blake3(BIG).hexdigest()  # it is known by now
    assert tell(Hub(hub.repo), big, "blake3") == "none"


def test_a_version_is_looked_for_so_far(
    hub: Hub, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_at(hub, b"data@v2", b"unchanged")
    monkeypatch.setattr(past, "VERSIONS_MAX", 2)
    assert tell(hub, node, "introduced") == "none"
    monkeypatch.setattr(past, "VERSIONS_MAX", 3)
    assert tell(hub, node, "introduced").startswith(made.commits[0].hex())


def test_the_top_and_links_have_no_past(hub: Hub) -> None:
    for node in (ROOT, node_at(hub, b"data@latest"), node_at(hub, b"data")):
        assert [tell(hub, node, name) for name in EVERY] == ["none"] * len(EVERY)


def test_a_difference_is_no_version(own: Repository) -> None:
    first = own.resolve("data", "v0").commit
    second = commit(own, {b"added": b"in no version before"}).commit
    make_difference(own, "data", first, second)
    hub = Hub(own)
    top = node_at(hub, b"data@v0..main")
    assert tell(hub, top, "revision") == f"data@{first.hex()}..{second.hex()}"
    assert json.loads(tell(hub, top, "provenance"))["kind"] == "difference"
    assert (tell(hub, top, "commit"), tell(hub, top, "introduced")) == ("none", "none")
    assert tell(hub, node_at(hub, b"data@v0..main", b"added", b"added"), "commit") == second.hex()


def test_what_is_stored_under_these_names_is_not_seen(own: Repository) -> None:
    xattrs = ((b"user.a", b"1"), (b"user.vfs.commit", b"forged"), (b"user.vfs.more", b"2"))
    forged = special(stat.S_IFREG, xattrs=xattrs)
    made = commit(own, {b"file": forged}).commit
    hub = Hub(own)
    node = node_at(hub, b"data@main", b"file")
    assert hub.listxattr(node) == [b"user.a"]
    assert (tell(hub, node, "commit"), tell(hub, node, "more")) == (made.hex(), "none")


def test_of_what_nobody_committed_nothing_is_known(
    own: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is too long tells nothing, rather than a guess."""
    monkeypatch.setattr("vfs.store.refs.claim", lambda *_: None)
    with own.store.ingest() as ingest:
        store_tree(ingest, b"", {b"some": b"of a killed import"})
    made = commit(own, {b"some": b"of a killed import", b"other": b"one"}).commit
    node = node_at(Hub(own), b"data@main", b"some")
    assert tell(Hub(own), node, "commit") == made.hex()
    monkeypatch.setattr(births, "SEARCHED_MAX", 1)
    assert tell(Hub(own), node, "commit") == "none"
