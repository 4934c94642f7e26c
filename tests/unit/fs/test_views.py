"""The hub, and one revision alone, against what was committed: every call, every entry."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fresh import Fresh
from tests.support.trees import MTIME_NS, Tree
from tests.unit.fs.conftest import BIG, VERSIONS, Made
from vfs.errors import NoData, NotFound, NotSupported
from vfs.fs.attrs import FOREVER, Attr
from vfs.fs.hub import Hub
from vfs.fs.nodes import LINK_RANK, ROOT, is_position, position
from vfs.fs.single import SingleRevision
from vfs.model.entry import Entry, Extra
from vfs.repo.repository import Repository
from vfs.store.store import Store

Path_ = tuple[bytes, ...]


@pytest.fixture
def repo(made: Made) -> Iterator[Repository]:
    with Repository.open(made.path) as opened:
        yield opened


def views(repo: Repository) -> dict[str, tuple[Any, Callable[[int], tuple[int, Tree]]]]:
    """Return views, and for each what gives a version's root node and its tree."""
    hub, fresh = Hub(repo), Fresh(lambda: Hub(repo))

    def root(number: int) -> tuple[int, Tree]:
        return hub.lookup(ROOT, b"data@v%d" % number).node, VERSIONS[number]

    slot = repo.resolve("data", "v1").slot
    return {
        "hub": (hub, root),
        "fresh hubs": (fresh, root),
        "single": (SingleRevision(repo, slot), lambda number: (ROOT, VERSIONS[1])),
        "fresh singles": (
            Fresh(lambda: SingleRevision(repo, slot)),
            lambda number: (ROOT, VERSIONS[1]),
        ),
    }


@pytest.fixture(params=["hub", "fresh hubs", "single", "fresh singles"])
def view(request: pytest.FixtureRequest, repo: Repository) -> Any:
    return views(repo)[request.param]


def walk(view: Any, node: int, path: Path_ = ()) -> Iterator[tuple[Path_, Attr]]:
    """Yield all that is below a directory, as `find` sees it: by readdir and getattr."""
    for name, attr, _ in view.readdir(node, 0):
        if name not in (b".", b".."):
            yield (*path, name), attr
            if stat.S_ISDIR(attr.mode):
                yield from walk(view, attr.node, (*path, name))


def flat(tree: Tree, path: Path_ = ()) -> dict[Path_, object]:
    found: dict[Path_, object] = {}
    for name, value in tree.items():
        found[*path, name] = value
        if isinstance(value, Mapping):
            found |= flat(value, (*path, name))
    return found


@pytest.mark.parametrize("number", [0, 1, 2])
def test_all_is_there_and_as_it_was(view: Any, number: int) -> None:
    fs, root_of = view
    root, tree = root_of(number)
    found = dict(walk(fs, root))
    model = flat(tree)
    assert found.keys() == model.keys()
    for path, attr in found.items():
        value = model[path]
        assert fs.getattr(attr.node) == attr
        assert (attr.attr_timeout, attr.entry_timeout) == (FOREVER, FOREVER)
        assert (attr.uid, attr.gid, attr.mtime_ns) == (1, 2, MTIME_NS)
        if isinstance(value, Mapping):
            subdirs = sum(isinstance(child, Mapping) for child in value.values())
            assert (attr.mode, attr.nlink) == (stat.S_IFDIR | 0o755, 2 + subdirs)
            assert is_position(attr.node)
            assert not is_position(attr.number)
            continue
        assert attr.node == attr.number
        if isinstance(value, bytes):
            assert (attr.mode, attr.size, attr.nlink) == (stat.S_IFREG | 0o644, len(value), 1)
            assert attr.blocks == -(-len(value) // 4096) * 8
            assert b"".join(fs.read(attr.node, 0, len(value) + 1)) == value
            assert fs.listxattr(attr.node) == []
        else:
            assert isinstance(value, Entry)
            extra = Extra.decode(value.extra)
            assert (attr.mode, attr.size, attr.rdev) == (value.mode, value.size, extra.rdev)
            assert attr.nlink == (extra.link.nlink if extra.link else 1)
            assert [(k, fs.getxattr(attr.node, k)) for k in fs.listxattr(attr.node)] == list(
                extra.xattrs
            )
            if extra.target:
                assert fs.readlink(attr.node) == extra.target


def test_a_look_up_says_what_a_listing_says(view: Any) -> None:
    fs, root_of = view
    root, _ = root_of(1)
    nodes = {(): root} | {path: attr.node for path, attr in walk(fs, root)}
    for path, attr in walk(fs, root):
        assert fs.lookup(nodes[path[:-1]], path[-1]) == attr
    with pytest.raises(NotFound):
        fs.lookup(root, b"missing")
    with pytest.raises(NotFound):
        fs.lookup(nodes[b"wide",], b"0000x")
    assert fs.negative_timeout(root) == FOREVER


def test_dots(view: Any) -> None:
    fs, root_of = view
    root, _ = root_of(1)
    parents = {root: None}
    for path, attr in walk(fs, root):
        if stat.S_ISDIR(attr.mode):
            above = root
            for name in path[:-1]:
                above = fs.lookup(above, name).node
            parents[attr.node] = above
            assert fs.lookup(attr.node, b".").node == attr.node
            assert fs.lookup(attr.node, b"..").node == above
            first, second = list(fs.readdir(attr.node, 0))[:2]
            assert [(first[0], first[1].node), (second[0], second[1].node)] == [
                (b".", attr.node),
                (b"..", above),
            ]
        else:
            assert fs.lookup(attr.node, b".") == attr  # an inode opened by its handle
    assert fs.lookup(root, b".").node == root
    assert fs.lookup(root, b"..").node == ROOT


def test_a_listing_goes_on_from_any_offset(view: Any) -> None:
    fs, root_of = view
    root, _ = root_of(1)
    for node in (root, fs.lookup(root, b"wide").node, fs.lookup(root, b"empty dir").node):
        whole = list(fs.readdir(node, 0))
        assert [after for *_, after in whole] == sorted({after for *_, after in whole})
        for index in (*range(0, len(whole), 61), 1, len(whole) - 1):
            assert list(fs.readdir(node, whole[index][2])) == whole[index + 1 :]
        for past in (len(whole) + 1, 10_000, 2**40):
            assert list(fs.readdir(node, past)) == []


def test_parts_of_files(view: Any) -> None:
    fs, root_of = view
    root, _ = root_of(1)
    node = fs.lookup(root, b"big").node
    for offset in (0, 1, 99_999, 100_000, len(BIG) - 1, len(BIG), len(BIG) + 5):
        for length in (0, 1, 4096, 200_000):
            assert b"".join(fs.read(node, offset, length)) == BIG[offset : offset + length]


def test_what_does_not_apply(view: Any) -> None:
    fs, root_of = view
    root, _ = root_of(1)
    link, same = (fs.lookup(root, name).node for name in (b"link", b"same"))
    for directory in (root, fs.lookup(root, b"wide").node):
        with pytest.raises(NotFound):
            fs.read(directory, 0, 10)
    with pytest.raises(NotSupported):
        fs.readlink(same)
    with pytest.raises(NoData):
        fs.getxattr(same, b"user.a")
    with pytest.raises(NotSupported):  # ls then asks once, not for each
        fs.getxattr(same, b"security.selinux")
    assert fs.listxattr(root) == []
    assert fs.readlink(link) == b"../to"


@pytest.mark.parametrize(
    "node", [0, 2, 1023, 12345, 2**62 - 1, position(0, 0), position(999, 0), position(2**28 - 1, 3),
             position(4, 10_000), position(4, LINK_RANK - 1), 2**63 + 5]
)  # fmt: skip
def test_nodes_that_nobody_gave_out(view: Any, node: int) -> None:
    fs, _ = view
    for call in (
        lambda: fs.getattr(node),
        lambda: fs.lookup(node, b"same"),
        lambda: fs.lookup(node, b"."),
        lambda: list(fs.readdir(node, 0)),
        lambda: fs.read(node, 0, 10),
        lambda: fs.readlink(node),
        lambda: fs.listxattr(node),
    ):
        with pytest.raises(NotFound):
            call()


def test_same_content_same_number_in_all_versions(repo: Repository) -> None:
    hub = Hub(repo)
    roots = [hub.lookup(ROOT, b"data@v%d" % number).node for number in range(3)]
    found = [dict(walk(hub, root)) for root in roots]
    models = [flat(tree) for tree in VERSIONS]
    nodes: set[int] = set()
    for listed in found:
        dirs = [attr.node for attr in listed.values() if stat.S_ISDIR(attr.mode)]
        assert len(set(dirs)) == len(dirs)
        assert not nodes & set(dirs)  # no directory has one node in two versions
        nodes |= set(dirs)
    for path in models[0]:
        numbers = [hub.getattr(listed[path].node).number for listed in found]
        assert len(set(numbers)) == 1, path
    changed = (b"changed", b"deep")
    one, two = (hub.getattr(listed[changed].node).number for listed in found[1:])
    assert one != two
    assert found[1][b"added",].number != found[2][b"added",].number
    assert found[0][b"same",].number == found[0][b"again",].number
    assert found[0][b"hard1",].number == found[0][b"hard2",].number
    assert len({hub.getattr(root).number for root in roots}) == 3


def test_numbers_outlive_a_mount(made: Made) -> None:
    numbers = []
    for _ in range(2):
        with Repository.open(made.path) as opened:
            hub = Hub(opened)
            root = hub.lookup(ROOT, b"data@v2").node
            listed = list(walk(hub, root))
            numbers.append([(p, a.node, hub.getattr(a.node).number) for p, a in listed])
    assert numbers[0] == numbers[1]


def test_statfs(repo: Repository) -> None:
    seen = Hub(repo).statfs()
    assert 0 < seen.bavail <= seen.bfree <= seen.blocks
    assert seen.files == repo.store.numbering.count()
    assert seen.namemax == 255


def test_closing_closes_the_store(made: Made) -> None:
    for make in (Hub, lambda repo: SingleRevision(repo, 1)):
        make(Repository.open(made.path)).close()
    Store.open(made.path).close()


def test_opening_says_what_is_missing(tmp_path: Path) -> None:
    from vfs.errors import StoreError
    from vfs.fs.hub import open_hub
    from vfs.fs.single import open_single

    with pytest.raises(StoreError):
        open_hub(tmp_path)
    with pytest.raises(StoreError):
        open_single(tmp_path, 1)
