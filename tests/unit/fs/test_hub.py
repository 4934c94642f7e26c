"""The hub's top directory: every way to say a revision, new versions at once, damage."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
from blake3 import blake3

from tests.support.stores import damage
from tests.support.versions import commit
from tests.unit.fs.conftest import VERSIONS, Made
from vfs.errors import CorruptObject, NotFound
from vfs.fs.attrs import FOREVER
from vfs.fs.hub import NAMES_TIMEOUT, Hub
from vfs.fs.nodes import ROOT
from vfs.model.node import identity
from vfs.repo.repository import Repository
from vfs.store import numbers
from vfs.store.numbers import Numbering


@pytest.fixture
def hub(made: Made) -> Iterator[Hub]:
    with Repository.open(made.path) as repo:
        yield Hub(repo)


def listing(hub: Hub) -> list[bytes]:
    return sorted(name for name, *_ in hub.readdir(ROOT, 0))


def test_branches_and_tags_are_listed(hub: Hub) -> None:
    names = [b".", b"..", b"data@main", b"data@v0", b"data@v1", b"data@v2"]
    assert listing(hub) == names
    for name, attr, _ in hub.readdir(ROOT, 0):
        assert stat.S_ISDIR(attr.mode)
        assert attr.node == hub.lookup(ROOT, name).node
    whole = list(hub.readdir(ROOT, 0))
    for index in range(len(whole)):
        assert list(hub.readdir(ROOT, whole[index][2])) == whole[index + 1 :]


def test_the_top(hub: Hub) -> None:
    top = hub.getattr(ROOT)
    assert (top.node, top.number, top.mode, top.nlink) == (ROOT, ROOT, stat.S_IFDIR | 0o555, 6)
    assert 0 < top.attr_timeout <= 1
    assert hub.lookup(ROOT, b".") == hub.lookup(ROOT, b"..") == top
    assert hub.negative_timeout(ROOT) == 0
    assert hub.listxattr(ROOT) == []


def test_names_are_short_lived_and_what_is_below_is_not(hub: Hub) -> None:
    root = hub.lookup(ROOT, b"data@v1")
    assert (root.entry_timeout, root.attr_timeout) == (NAMES_TIMEOUT, FOREVER)
    assert NAMES_TIMEOUT < 1
    assert hub.lookup(root.node, b"same").entry_timeout == FOREVER
    assert [hub.keeps_listing(node) for node in (ROOT, root.node)] == [False, True]


@pytest.mark.parametrize("name", ["v0", "v1", "v2", "main"])
def test_a_name_is_a_directory(hub: Hub, name: str) -> None:
    attr = hub.lookup(ROOT, f"data@{name}".encode())
    assert stat.S_ISDIR(attr.mode)
    number = hub.getattr(attr.node).number
    assert number == attr.node  # a root's own: tools that watch for cycles would see one else


@pytest.mark.parametrize(
    ("name", "version"),
    [("data@latest", 2), ("data@main~1", 1), ("data@main^^", 0), ("data@v2~2", 0),
     ("data@{2999-01-01}", 2), ("data@{now}", 2), ("data@main@{now}", 2), ("data@v1@{now}", 1)],
)  # fmt: skip
def test_other_ways_to_say_it_are_links_to_the_commit(
    hub: Hub, made: Made, name: str, version: int
) -> None:
    attr = hub.lookup(ROOT, name.encode())
    assert stat.S_ISLNK(attr.mode)
    target = hub.readlink(attr.node)
    assert target == b"data@" + made.commits[version].hex().encode()
    assert attr.size == len(target)
    assert hub.getattr(attr.node) == attr
    assert hub.lookup(attr.node, b".") == attr
    assert hub.listxattr(attr.node) == []
    pinned = hub.lookup(ROOT, target)
    assert stat.S_ISDIR(pinned.mode)
    assert hub.lookup(pinned.node, b"added" if version else b"same").size


def test_prefixes_are_links_and_ids_directories(hub: Hub, made: Made) -> None:
    for oid in made.commits:
        whole = b"data@" + oid.hex().encode()
        assert stat.S_ISDIR(hub.lookup(ROOT, whole).mode)
        for digits in (8, 13, 63):
            attr = hub.lookup(ROOT, whole[: len(b"data@") + digits])
            assert hub.readlink(attr.node) == whole


def test_a_data_set_alone_is_its_branch_main(hub: Hub) -> None:
    assert hub.readlink(hub.lookup(ROOT, b"data").node) == b"data@main"


@pytest.mark.parametrize(
    "name",
    [b"", b"@", b"@v1", b"data@", b"dat", b"dat@v1", b"data@v9", b"data@@", b"data@{", b"data@v1~9",
     b"data@{nonsense}", b"data@v1/x", b"void", b"void@main", b"void@latest", b"\xff", b"d\xc3\xa9",
     b"x" * 255, b"data@" + b"f" * 250, b"data@" + b"0" * 64, b".hidden", b"data@v1:same",
     b"data@v1^3", b"data v1", b"autorun.inf", b".Trash-0", b"data@main~" + b"9" * 240],
)  # fmt: skip
def test_what_is_not_there(hub: Hub, name: bytes) -> None:
    with pytest.raises(NotFound):
        hub.lookup(ROOT, name)


def test_new_versions_show_at_once(own: Repository) -> None:
    seen, other = Hub(own), Hub(own)
    before = seen.lookup(ROOT, b"data@main").node
    root = before
    first = list(seen.readdir(ROOT, 0))
    with pytest.raises(NotFound):
        seen.lookup(ROOT, b"data@v1")
    own.create_data_set("more")
    commit(own, VERSIONS[1], tag="v1")
    commit(own, {b"a": b"b"}, data_set="more")
    for hub in (seen, other):
        assert {b"data@v1", b"more@main"} <= set(listing(hub))
        root = hub.lookup(ROOT, b"data@v1").node
        assert hub.lookup(root, b"added").size == 3
        moved = hub.lookup(ROOT, b"data@main").node
        assert moved != before
        assert hub.lookup(moved, b"added").size == 3
        # Who is still in the old one sees the old one.
        with pytest.raises(NotFound):
            hub.lookup(before, b"added")
        assert hub.lookup(before, b"same").size
        # A listing that had begun goes on with what is new.
        rest = [name for name, *_ in hub.readdir(ROOT, first[-1][2])]
        assert {b"data@v1", b"more@main"} <= set(rest)
    own.store.refs.delete("data", "v1", "tag", time_ns=1, who="w", why="y")
    with pytest.raises(NotFound):
        seen.lookup(ROOT, b"data@v1")
    assert seen.lookup(root, b"added").size == 3


def content_of(repo: Repository, *path: bytes) -> bytes:
    entry = repo.entry_at(repo.commit(repo.resolve("data", "v0").commit).root, path)
    return entry.content


def test_a_damaged_file_is_named_and_others_are_right(own: Repository) -> None:
    damage(own.store, content_of(own, b"unchanged", b"deep", b"deeper", b"file"))  # type: ignore[arg-type]
    hub = Hub(own)
    node = hub.lookup(ROOT, b"data@v0").node
    fine = hub.lookup(node, b"same").node
    for name in (b"unchanged", b"deep", b"deeper", b"file"):
        node = hub.lookup(node, name).node
    for _ in range(2):
        with pytest.raises(CorruptObject, match=r"'data@(v0|main):unchanged/deep/deeper/file'"):
            hub.read(node, 0, 10)
    assert b"".join(hub.read(fine, 0, 100)) == VERSIONS[0][b"same"]


def test_a_damaged_chunk_of_many(own: Repository) -> None:
    hub = Hub(own)
    node = hub.lookup(hub.lookup(ROOT, b"data@v0").node, b"big").node
    spans = list(hub._files.spans(hub.file(node)))
    assert len(spans) > 4
    damage(own.store, spans[2].content)
    hub = Hub(own)
    whole = VERSIONS[0][b"big"]
    assert isinstance(whole, bytes)
    start = spans[0].length + spans[1].length
    assert b"".join(hub.read(node, 0, start)) == whole[:start]
    behind = start + spans[2].length
    assert b"".join(hub.read(node, behind, 10**9)) == whole[behind:]
    for offset, length in ((start, 1), (start - 1, 2), (0, 10**9)):
        with pytest.raises(CorruptObject, match=rf":big' can't be read at byte {offset}"):
            hub.read(node, offset, length)


def test_a_damaged_directory_is_corrupt_and_others_are_right(own: Repository) -> None:
    damage(own.store, content_of(own, b"unchanged"))  # type: ignore[arg-type]
    hub = Hub(own)
    root = hub.lookup(ROOT, b"data@v0").node
    damaged = hub.lookup(root, b"unchanged").node
    for call in (lambda: list(hub.readdir(damaged, 2)), lambda: hub.lookup(damaged, b"file")):
        with pytest.raises(CorruptObject):
            call()
    assert hub.getattr(damaged).nlink == 3
    assert hub.lookup(hub.lookup(root, b"wide").node, b"0001").size == 1


def test_a_damaged_commit_leaves_the_others(own: Repository) -> None:
    commit(own, VERSIONS[1], tag="v1")
    damage(own.store, own.resolve("data", "v1").commit)
    hub = Hub(Repository(own.store))
    assert listing(hub) == [b".", b"..", b"data@main", b"data@v0", b"data@v1"]
    assert hub.lookup(hub.lookup(ROOT, b"data@v0").node, b"same").size
    with pytest.raises(CorruptObject):
        hub.lookup(ROOT, b"data@v1")


def test_a_worker_learns_of_collisions_that_came_after_it(
    own: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may never see the look-up in the top directory: another worker answered that one."""
    workers = [Hub(Repository(own.store)) for _ in range(2)]
    stale = Numbering(own.store._env, own.store.numbering._secret)
    workers[1].repo.store = _WithNumbering(own.store, stale)  # type: ignore[assignment]
    workers[1]._number = stale.number

    own_number = numbers._own_number
    target = own_number(bytes(range(16)))

    def collide(digest: bytes) -> int:
        return target if digest in collided else own_number(digest)

    collided: set[bytes] = set()
    monkeypatch.setattr(numbers, "_own_number", collide)

    class Digest:
        def __init__(self, data: bytes, key: bytes) -> None:
            self.bytes: bytes = blake3(data, key=key).digest(16)
            if len(data) != 16:
                collided.add(self.bytes)

        def digest(self, length: int) -> bytes:
            return self.bytes

    monkeypatch.setattr(numbers, "blake3", Digest)
    commit(own, {b"one": b"1", b"two": b"2", b"three": b"3"}, tag="v1")
    root = workers[0].lookup(ROOT, b"data@v1").node
    expected = {n: workers[0].lookup(root, n).node for n in (b"one", b"two", b"three")}
    assert len(set(expected.values())) == 3
    assert {n: workers[1].lookup(root, n).node for n in expected} == expected


class _WithNumbering:
    def __init__(self, store: object, numbering: Numbering) -> None:
        self._store = store
        self.numbering = numbering

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_identities_are_what_numbers_are_made_of(own: Repository) -> None:
    hub = Hub(own)
    root = own.commit(own.resolve("data", "v0").commit).root
    node = hub.lookup(ROOT, b"data@v0").node
    for name in (b"same", b"link", b"null", b"xattr"):
        entry = own.entry_at(root, (name,))
        assert hub.lookup(node, name).number == own.store.numbering.number(identity(entry))
