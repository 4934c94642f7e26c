"""Which versions changed a path, and which made each entry what it is: with merges, too."""

from __future__ import annotations

import random

import pytest

from tests.support.trees import Tree, store_tree
from vfs.ids import ObjectId
from vfs.model.commit import Commit
from vfs.repo.history import Filter, entry_or_none, history
from vfs.repo.repository import Repository
from vfs.repo.treediff import all_pairs
from vfs.repo.who import Introductions
from vfs.store.layout import Kind


class History:
    """Commits that no reference names, a nanosecond apart."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self.count = 0

    def commit(self, tree: Tree, *parents: ObjectId) -> ObjectId:
        self.count += 1
        with self.repo.store.ingest() as ingest:
            root = store_tree(ingest, b"", tree)
            record = Commit(
                root=root,
                parents=parents,
                time_ns=self.count,
                author=f"a{self.count}",
                message=f"m{self.count}",
            )
            return ingest.add_object(Kind.COMMIT, record.encode())


@pytest.fixture
def made(repo: Repository) -> History:
    return History(repo)


def shown(repo: Repository, start: ObjectId, *paths: str, **options: object) -> list[ObjectId]:
    wanted = Filter(
        paths=[tuple(path.encode().split(b"/")) for path in paths],
        **options,  # type: ignore[arg-type]
    )
    return [version.id for version in history(repo, start, wanted) if version.shown]


def test_versions_in_which_a_path_changed(repo: Repository, made: History) -> None:
    a = made.commit({b"d": {b"f": b"1", b"g": b"1"}})
    b = made.commit({b"d": {b"f": b"1", b"g": b"2"}}, a)
    c = made.commit({b"d": {b"f": b"2", b"g": b"2"}}, b)
    d = made.commit({b"d": {b"g": b"2"}}, c)
    assert shown(repo, d) == [d, c, b, a]
    assert shown(repo, d, "d/f") == [d, c, a]
    assert shown(repo, d, "d/g") == [b, a]
    assert shown(repo, d, "d") == [d, c, b, a]
    assert shown(repo, d, "d/f", "d/g") == [d, c, b, a]
    assert shown(repo, d, "d/f/x", "none") == []
    assert shown(repo, d, since_ns=2, until_ns=3) == [c, b]
    assert shown(repo, d, matches=[lambda commit: commit.author in ("a1", "a4")]) == [d, a]


def test_of_a_merge_the_side_is_followed_that_has_the_same(repo: Repository, made: History) -> None:
    base = made.commit({b"f": b"1", b"g": b"1"})
    left = made.commit({b"f": b"2", b"g": b"1"}, base)
    right = made.commit({b"f": b"1", b"g": b"2"}, base)
    merge = made.commit({b"f": b"2", b"g": b"2"}, left, right)
    assert shown(repo, merge, "f") == [left, base]
    assert shown(repo, merge, "g") == [right, base]
    assert shown(repo, merge, "f", "g") == [merge, right, left, base]
    own = made.commit({b"f": b"3", b"g": b"2"}, left, right)
    assert shown(repo, own, "f") == [own, left, base]


def test_unrelated_trees_are_not_read(repo: Repository, made: History) -> None:
    start: tuple[ObjectId, ...] = ()
    other: Tree = {b"%d" % n: {b"f": b"%d" % n} for n in range(50)}
    for number in range(5):
        start = (made.commit({b"a": {b"b": b"%d" % number}, b"other": other}, *start),)
    wanted = repo.commit(start[0]).root
    unread = entry_or_none(repo.nodes, wanted, (b"other",))
    assert unread is not None
    read: list[ObjectId] = []
    get = repo.reader.get

    def counted(oid: ObjectId) -> bytes:
        read.append(oid)
        return get(oid)

    repo.reader.get = counted  # type: ignore[method-assign]
    assert len(shown(repo, start[0], "a/b")) == 5
    assert read
    assert unread.content not in read


def naive(repo: Repository, oid: ObjectId, path: tuple[bytes, ...]) -> ObjectId:
    """Return what git log -1 -- PATH would, by reading everything."""
    entry = entry_or_none(repo.nodes, repo.commit(oid).root, path)
    for parent in repo.commit(oid).parents:
        if entry_or_none(repo.nodes, repo.commit(parent).root, path) == entry:
            return naive(repo, parent, path)
    return oid


@pytest.mark.parametrize("seed", range(25))
def test_who_in_any_history(repo: Repository, made: History, seed: int) -> None:
    chance = random.Random(seed)
    trees: dict[ObjectId, dict[bytes, dict[bytes, bytes]]] = {}
    commits: list[ObjectId] = []
    for _ in range(chance.randint(1, 14)):
        parents = chance.sample(commits[-4:], min(len(commits), chance.choice((1, 1, 1, 2, 3))))
        tree = {name: dict(inner) for name, inner in trees[parents[0]].items()} if parents else {}
        for other in parents[1:]:
            for name, inner in trees[other].items():
                tree.setdefault(name, {}).update(
                    {n: data for n, data in inner.items() if chance.random() < 0.6}
                )
        for _ in range(chance.randint(0, 3)):
            name, inner_name = chance.choice((b"x", b"y")), chance.choice((b"a", b"b", b"c"))
            if chance.random() < 0.3:
                tree.get(name, {}).pop(inner_name, None)
            else:
                tree.setdefault(name, {})[inner_name] = chance.choice((b"1", b"2", b"3"))
        oid = made.commit(tree, *parents)
        trees[oid] = tree
        commits.append(oid)
    start = commits[-1]
    root = repo.commit(start).root
    everything = Introductions(repo, start, (), recursive=True)
    top = Introductions(repo, start, ())
    for path, _, entry in all_pairs(repo.nodes, store_empty(repo), root.content):
        assert entry is not None
        parts = tuple(path.split(b"/"))
        expected = naive(repo, start, parts)
        assert everything.of(path) == expected
        assert shown(repo, start, path.decode())[0] == expected
        if len(parts) == 1:
            assert top.of(path) == expected
        else:
            assert Introductions(repo, start, parts[:1]).of(parts[1]) == expected


def store_empty(repo: Repository) -> ObjectId:
    with repo.store.ingest() as ingest:
        return store_tree(ingest, b"", {}).content
