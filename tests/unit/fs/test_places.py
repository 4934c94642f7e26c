"""The hub in which branches are mounted: a directory for each that stays what it is."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator

import pytest

from tests.support.versions import commit
from tests.unit.fs.conftest import Made
from vfs.errors import AlreadyExists, Conflict, NotFound, ReadOnly, StaleHandle
from vfs.fs.hub import Hub
from vfs.fs.nodes import ROOT, is_name
from vfs.fs.places import HubWithBranches
from vfs.repo.repository import Repository


class Daemon:
    """What the hub asks of the processes around it."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self.mounted: set[str] = set()
        self.asked: list[tuple[str, int]] = []

    def make(self, name: str) -> None:
        data_set, at, branch = name.partition("@")
        if at:
            head = self._repo.resolve(data_set, "main").commit
            self._repo.set_branch(data_set, branch, head, expected=None, why="")
        else:
            self._repo.create_data_set(data_set)

    def is_mounted(self, data_set: str, branch: str, pid: int) -> bool:
        self.asked.append((f"{data_set}@{branch}", pid))
        return f"{data_set}@{branch}" in self.mounted

    def hub(self) -> HubWithBranches:
        return HubWithBranches(Repository(self._repo.store), self.make, self.is_mounted)


@pytest.fixture
def daemon(own: Repository) -> Daemon:
    return Daemon(own)


@pytest.fixture
def hub(daemon: Daemon) -> HubWithBranches:
    return daemon.hub()


@pytest.fixture
def workers(daemon: Daemon) -> Callable[[], HubWithBranches]:
    """Another worker each time: what one has answered, all have to know."""
    return daemon.hub


def names(hub: Hub) -> dict[bytes, int]:
    return {name: attr.node for name, attr, _ in hub.readdir(ROOT, 0)}


def test_a_branch_keeps_its_node_and_a_tag_has_its_version_s(
    hub: HubWithBranches, own: Repository
) -> None:
    node = hub.lookup(ROOT, b"data@main").node
    tag = hub.lookup(ROOT, b"data@v0").node
    assert is_name(node)
    assert not is_name(tag)
    for count in range(3):
        commit(own, {b"a": str(count).encode()})
        attr = hub.lookup(ROOT, b"data@main")
        assert (attr.node, stat.S_ISDIR(attr.mode), attr.attr_timeout) == (node, True, 0)
        assert names(hub)[b"data@main"] == node
        assert hub.lookup(hub.lookup(node, b"a").node, b".").size == 1
    assert names(hub)[b"data@v0"] == tag


def test_any_worker_knows_a_node(workers: Callable[[], HubWithBranches], own: Repository) -> None:
    own.create_data_set("empty")
    for name in (b"data@main", b"empty@main", b"empty"):
        attr = workers().lookup(ROOT, name)
        assert workers().getattr(attr.node) == attr
    main = workers().lookup(ROOT, b"data@main").node
    assert workers().lookup(main, b"same").size
    assert [row[0] for row in workers().readdir(main, 0)][:3] == [b".", b"..", b"again"]
    with pytest.raises(NotFound):
        workers().getattr(main + 1)


def test_what_is_below_may_not_be_kept(hub: HubWithBranches) -> None:
    main = hub.lookup(ROOT, b"data@main").node
    assert hub.lookup(main, b"same").entry_timeout == 0
    assert hub.negative_timeout(main) == 0
    for _, attr, _ in hub.readdir(main, 2):
        assert attr.entry_timeout == 0
    whole = list(hub.readdir(main, 0))
    for index in range(len(whole)):
        assert list(hub.readdir(main, whole[index][2])) == whole[index + 1 :]


def test_a_directory_that_something_is_mounted_on(hub: HubWithBranches, daemon: Daemon) -> None:
    attr = hub.lookup(ROOT, b"data@main")
    assert hub.getattr(attr.node, 17) == attr
    assert daemon.asked == [("data@main", 17)]
    daemon.mounted.add("data@main")
    with pytest.raises(StaleHandle):
        hub.getattr(attr.node, 17)


def test_a_branch_with_changes_shows_nothing(hub: HubWithBranches, own: Repository) -> None:
    main = hub.lookup(ROOT, b"data@main").node
    assert hub.lookup(main, b"same")
    overlays = own.store.overlays
    overlays.claim("data", "main", overlays.open("data", "main").id)
    with pytest.raises(Conflict):
        hub.lookup(main, b"same")
    with pytest.raises(Conflict):
        list(hub.readdir(main, 2))
    assert stat.S_ISDIR(hub.lookup(ROOT, b"data@main").mode)
    assert b"data@main" in names(hub)
    overlays.discard("data", "main")
    assert hub.lookup(main, b"same")


def test_a_data_set_without_a_version(hub: HubWithBranches, own: Repository) -> None:
    own.create_data_set("empty")
    attr = hub.lookup(ROOT, b"empty@main")
    assert names(hub)[b"empty@main"] == attr.node
    assert [name for name, *_ in hub.readdir(attr.node, 0)] == [b".", b".."]
    with pytest.raises(NotFound):
        hub.lookup(attr.node, b"any")
    link = hub.lookup(ROOT, b"empty")
    assert stat.S_ISLNK(link.mode)
    assert hub.readlink(link.node) == b"empty@main"
    for name in (b"empty@other", b"empty@", b"empty@latest", b"empt@main"):
        with pytest.raises(NotFound):
            hub.lookup(ROOT, name)
    commit(own, {b"a": b"1"}, data_set="empty")
    assert hub.lookup(ROOT, b"empty@main").node == attr.node  # the mount on it stays
    assert names(hub)[b"empty@main"] == attr.node
    assert hub.lookup(attr.node, b"a").size == 1


def test_listings_are_gone_on_with(hub: HubWithBranches, own: Repository) -> None:
    for name in ("one", "two", "three"):
        own.create_data_set(name)
    whole = list(hub.readdir(ROOT, 0))
    assert len(whole) == 2 + 2 + 3
    for index in range(len(whole)):
        assert list(hub.readdir(ROOT, whole[index][2])) == whole[index + 1 :]


def test_directories_are_made(hub: HubWithBranches, own: Repository) -> None:
    made = hub.mkdir(ROOT, b"data@exp")
    assert made.node == hub.lookup(ROOT, b"data@exp").node
    assert made.entry_timeout == 0
    fresh = hub.mkdir(ROOT, b"fresh")
    assert stat.S_ISDIR(fresh.mode)
    assert stat.S_ISLNK(hub.lookup(ROOT, b"fresh").mode)
    assert fresh.node != hub.lookup(ROOT, b"fresh").node
    with pytest.raises(AlreadyExists):
        hub.mkdir(ROOT, b"data@exp")
    for parent, name in (
        (hub.lookup(ROOT, b"data@v0").node, b"x"),
        (hub.lookup(ROOT, b"data@main").node, b"x"),
        (ROOT, b"d\xff"),
    ):
        with pytest.raises(ReadOnly):
            hub.mkdir(parent, name)


def test_deleted_and_made_again(hub: HubWithBranches, own: Repository, daemon: Daemon) -> None:
    head = own.resolve("data", "main").commit
    own.set_branch("data", "exp", head, expected=None, why="")
    node = hub.lookup(ROOT, b"data@exp").node
    own.delete_ref("data", "exp", kind="branch")
    with pytest.raises(NotFound):
        hub.lookup(ROOT, b"data@exp")
    with pytest.raises(NotFound):
        hub.lookup(node, b"same")
    with pytest.raises(NotFound):
        hub.getattr(node)
    assert daemon.asked == []  # nobody waits for it to be mounted
    own.set_branch("data", "exp", head, expected=None, why="")
    assert hub.lookup(ROOT, b"data@exp").node == node
    assert hub.lookup(node, b"same").size


def test_a_tag_is_none_of_them(hub: HubWithBranches, own: Repository) -> None:
    head = own.resolve("data", "main").commit
    own.set_branch("data", "name", head, expected=None, why="")
    assert is_name(hub.lookup(ROOT, b"data@name").node)
    own.delete_ref("data", "name", kind="branch")
    own.set_tag("data", "name", head, why="")
    assert not is_name(hub.lookup(ROOT, b"data@name").node)


def test_other_calls(hub: HubWithBranches) -> None:
    main = hub.lookup(ROOT, b"data@main").node
    assert not hub.keeps_listing(main)
    assert hub.listxattr(main) == []
    assert hub.lookup(main, b".") == hub.lookup(ROOT, b"data@main")
    assert hub.lookup(main, b"..") == hub.getattr(ROOT)
    assert stat.S_IMODE(hub.getattr(ROOT).mode) == 0o755


@pytest.fixture
def plain(made: Made) -> Iterator[Hub]:
    with Repository.open(made.path) as repo:
        yield Hub(repo)


def test_all_else_is_as_in_the_hub_of_snapshots(hub: HubWithBranches, plain: Hub) -> None:
    """The stores are two, but the versions are made alike."""
    for name in (b"data@latest", b"data", b"data@{2999-01-01}"):
        assert stat.S_ISLNK(hub.lookup(ROOT, name).mode)
        assert stat.S_ISLNK(plain.lookup(ROOT, name).mode)
    for name in (b"", b"@", b"data@v9", b"dat@main", b"\xff", b"data@\xff", b"data@@"):
        with pytest.raises(NotFound):
            hub.lookup(ROOT, name)
        with pytest.raises(NotFound):
            plain.lookup(ROOT, name)
