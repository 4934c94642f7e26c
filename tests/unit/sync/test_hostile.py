"""A remote that lies: nothing wrong is ever accepted, and no version that is not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.remotes import add_file, build, commit, connect
from tests.support.stores import flip_byte
from vfs.errors import NotFound, RemoteProblem
from vfs.ids import ObjectId
from vfs.model.blob import Span, encode_blob_node
from vfs.model.commit import Commit
from vfs.model.entry import FLAG_BLOB, Entry, Extra, Totals, directory_entry
from vfs.model.node import Child, Sums, encode_inner, encode_leaf
from vfs.remote.layout import PackIndex, encode_index
from vfs.remote.pack import PackBuilder
from vfs.remote.remote import Remote
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository
from vfs.store.ingest import Ingest
from vfs.store.layout import Kind
from vfs.sync.fetch import Wanted
from vfs.sync.pull import pull
from vfs.sync.push import push

TREE = {"a": b"A" * 5000, "d": {"x": b"x" * 100}}


def pull_data(repo: Repository, place: Path) -> None:
    with connect(place, make=False) as remote:
        result = pull(repo, remote, "origin", [Wanted("data")])
    assert result.problems == []


def assert_unchanged(repo: Repository) -> None:
    """Nothing of what was refused is named by anything, and all that is is sound."""
    assert [ref for name in repo.data_sets() for ref in repo.refs(name)] == []
    assert repo.store.tracking.all() == []
    repo.close()
    assert check_store(repo.store.path, data=True).damages == []


def file_entry(name: bytes, oid: ObjectId, size: int, *, flags: int = 0, holes: int = 0) -> Entry:
    return Entry(name, 0o100644, 0, 0, 0, size, oid, flags, Extra(holes=holes).encode())


def leaf(ingest: Ingest, *entries: Entry) -> ObjectId:
    return ingest.add_object(Kind.TREE, encode_leaf(entries))


def wrong_totals(ingest: Ingest) -> Entry:
    right = build(ingest, b"", TREE)
    return directory_entry(b"", right.content, Totals(1, 2, 99, 5100))


def wrong_totals_below(ingest: Ingest) -> Entry:
    below = directory_entry(b"d", build(ingest, b"", {"x": b"x"}).content, Totals(0, 1, 7, 1))
    return directory_entry(b"", leaf(ingest, below), Totals(1, 2, 7, 1))


def wrong_sums_of_a_node(ingest: Ingest) -> Entry:
    oid, _, _ = add_file(ingest, b"x")
    one = leaf(ingest, file_entry(b"a", oid, 1))
    other = leaf(ingest, file_entry(b"b", oid, 1))
    children = [Child(one, b"a", Sums(1, 0, 0, 1, 1)), Child(other, b"b", Sums(5, 0, 0, 5, 5))]
    root = ingest.add_object(Kind.TREE, encode_inner(1, children))
    return directory_entry(b"", root, Totals(0, 1, 6, 6))


def names_that_do_not_ascend(ingest: Ingest) -> Entry:
    oid, _, _ = add_file(ingest, b"x")
    one = leaf(ingest, file_entry(b"m", oid, 1))
    other = leaf(ingest, file_entry(b"a", oid, 1), file_entry(b"z", oid, 1))
    children = [Child(one, b"m", Sums(1, 0, 0, 1, 1)), Child(other, b"z", Sums(2, 0, 0, 2, 2))]
    root = ingest.add_object(Kind.TREE, encode_inner(1, children))
    return directory_entry(b"", root, Totals(0, 1, 3, 3))


def wrong_size_of_a_chunk(ingest: Ingest) -> Entry:
    oid, _, _ = add_file(ingest, b"x")
    return directory_entry(b"", leaf(ingest, file_entry(b"a", oid, 2)), Totals(0, 1, 1, 2))


def wrong_size_of_a_blob(ingest: Ingest) -> Entry:
    oid, flags, _ = add_file(ingest, b"x" * 5000)
    entry = file_entry(b"a", oid, 6000, flags=flags)
    return directory_entry(b"", leaf(ingest, entry), Totals(0, 1, 1, 6000))


def wrong_holes(ingest: Ingest) -> Entry:
    oid, flags, _ = add_file(ingest, b"x" * 1000 + bytes(4000))
    entry = file_entry(b"a", oid, 5000, flags=flags, holes=3000)
    return directory_entry(b"", leaf(ingest, entry), Totals(0, 1, 1, 5000))


def wrong_span(ingest: Ingest) -> Entry:
    oid, _, _ = add_file(ingest, b"x")
    blob = ingest.add_object(Kind.BLOB, encode_blob_node(0, [Span(oid, 1), Span(oid, 7)]))
    entry = file_entry(b"a", blob, 8, flags=FLAG_BLOB)
    return directory_entry(b"", leaf(ingest, entry), Totals(0, 1, 1, 8))


def impossible_entry(ingest: Ingest) -> Entry:
    entry = Entry(b"a", 0o120777, 0, 0, 0, 5, ObjectId(bytes(32)), 0, Extra(target=b"x").encode())
    return directory_entry(b"", leaf(ingest, entry), Totals(0, 1, 1, 0))


@pytest.mark.parametrize(
    "make",
    [
        wrong_totals,
        wrong_totals_below,
        wrong_sums_of_a_node,
        names_that_do_not_ascend,
        wrong_size_of_a_chunk,
        wrong_size_of_a_blob,
        wrong_holes,
        wrong_span,
        impossible_entry,
    ],
)
def test_trees_that_can_not_be_are_refused(
    make: Callable[[Ingest], Entry], here: Repository, there: Repository, place: Path
) -> None:
    here.create_data_set("data")
    with here.store.ingest() as ingest:
        root = make(ingest)
        here.commit_root("data", "main", lambda _: root, ingest=ingest, message="bad")
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    with pytest.raises(RemoteProblem):
        pull_data(there, place)
    assert_unchanged(there)


def test_what_an_old_version_shares_is_not_believed_blindly(
    here: Repository, there: Repository, place: Path
) -> None:
    """The tree is one that is complete here; what is said of it is wrong all the same."""
    commit(here, TREE)
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    pull_data(there, place)
    with here.store.ingest() as ingest:
        wrong = wrong_totals(ingest)
        here.commit_root("data", "main", lambda _: wrong, ingest=ingest, message="bad")
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    with pytest.raises(RemoteProblem):
        pull_data(there, place)
    assert [oid for oid, _ in there.log("data")] == [oid for oid, _ in here.log("data")][1:]


def test_a_later_version_can_not_be_older(here: Repository, there: Repository, place: Path) -> None:
    first = commit(here, TREE)
    bad = Commit(
        root=here.commit(first).root,
        parents=(first,),
        time_ns=5,
        author="",
        message="",
        provenance={},
    )
    with here.store.ingest() as ingest:
        oid = ingest.add_object(Kind.COMMIT, bad.encode())
    here.set_branch("data", "bad", oid, expected=None, why="test")
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    with pytest.raises(RemoteProblem, match="not older"):
        pull_data(there, place)
    assert_unchanged(there)


def rebuilt(remote: Remote, change: Callable[[PackBuilder], None]) -> None:
    builder = PackBuilder()
    change(builder)
    remote.publish(remote.seal(builder))


def test_an_incomplete_remote_is_refused(here: Repository, there: Repository, place: Path) -> None:
    oid = commit(here, TREE)
    with connect(place) as remote:
        rebuilt(remote, lambda pack: pack.add(Kind.COMMIT, oid, here.reader.get(oid)))
        push(here, remote, "origin", here.all_refs())
    with pytest.raises(RemoteProblem, match="is not on the remote"):
        pull_data(there, place)
    assert_unchanged(there)


@pytest.mark.parametrize("directory", ["packs", "index", "refs/data/main"])
def test_every_damaged_byte_is_found(
    directory: str, here: Repository, there: Repository, place: Path
) -> None:
    commit(here, TREE)
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    (path,) = (place / directory).iterdir()
    pristine = path.read_bytes()
    step = max(1, len(pristine) // 40)
    for at in range(0, len(pristine), step):
        flip_byte(path, at)
        try:
            pull_data(there, place)
        except (RemoteProblem, NotFound):
            pass
        else:  # the magic of a pack is not looked at
            assert directory == "packs"
            break
        path.write_bytes(pristine)
    path.write_bytes(pristine)
    pull_data(there, place)
    there.close()
    assert check_store(there.store.path, data=True).damages == []


def test_an_index_that_lies_is_refused_and_named(
    here: Repository, there: Repository, place: Path
) -> None:
    oid = commit(here, TREE)
    with connect(place) as remote:
        push(here, remote, "origin", here.all_refs())
    (path,) = (place / "index").iterdir()
    index = PackIndex(ObjectId(bytes.fromhex(path.name)), path.read_bytes())
    found = index.find(oid, is_node=True)
    assert found is not None
    for start, stored, raw, compressed, offset, size in (
        (8, 10, 10, False, 0, 10),
        (8, 1 << 20, 1 << 20, False, 0, 100),
        (8, 100, 1 << 30, True, 0, 100),
        (8, 100, 1 << 20, True, 0, 100),
        (1 << 31, 100, 100, False, 0, 100),
        (8, 100, 100, False, 90, 100),
    ):
        segment = found.segment._replace(start=start, stored=stored, raw=raw, compressed=compressed)
        lie = encode_index(index.pack, index.size, [segment], [(oid, Kind.COMMIT, 0, offset, size)])
        path.write_bytes(lie)
        with pytest.raises(RemoteProblem) as refused:
            pull_data(there, place)
        assert path.name in str(refused.value)
    assert_unchanged(there)
