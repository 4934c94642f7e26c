"""What a run wrote, as a tree: the same bytes give the same one, all else stays as it was."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import MemoryObjects
from tests.support.trees import Tree, store_file
from vfs.ids import NO_CONTENT
from vfs.model.entry import Entry, directory_entry
from vfs.repo.treediff import all_pairs
from vfs.repo.trees import Nodes, TreeBuilder
from vfs.repo.uncommitted import PassingObjects
from vfs.run.output import normalised

TIME_NS = 77
OWNER = (1, 2)
SMALL = st.recursive(
    st.sampled_from((b"", b"one", b"two")),
    lambda trees: st.dictionaries(st.sampled_from((b"a", b"b", b"c", b"d")), trees, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, Mapping))


def build(objects: MemoryObjects, name: bytes, tree: Tree, old: object, mark: int) -> Entry:
    """Store a tree in which what is not as in *old* has the owner and the time *mark*."""
    builder = TreeBuilder(objects)
    for child, value in sorted(tree.items()):
        before = old.get(child) if isinstance(old, Mapping) else None
        if isinstance(value, Mapping):
            entry = build(objects, child, value, before, mark)
        else:
            assert isinstance(value, bytes)
            entry = store_file(objects, child, value)
        if value != before:
            entry = entry._replace(uid=mark, gid=mark, mtime_ns=mark)
        builder.add(entry)
    return directory_entry(name, *builder.finish(), uid=OWNER[0], gid=OWNER[1], mtime_ns=5)


def contents(objects: PassingObjects, root: Entry) -> dict[bytes, tuple[object, ...]]:
    """Return all entries by path; of a directory only that it is one."""
    found = {}
    for path, _, entry in all_pairs(Nodes(objects), NO_CONTENT, root.content):
        assert entry is not None
        found[path] = (entry.is_dir, entry.mode, None if entry.is_dir else entry.content)
    return found


@given(SMALL, SMALL)
def test_the_same_bytes_are_the_same_tree_whoever_wrote_them(old: Tree, new: Tree) -> None:
    memory = MemoryObjects()
    start = build(memory, b"", old, old, 5)
    made = [build(memory, b"", new, old, mark)._replace(mtime_ns=mark) for mark in (1000, 2000)]
    with PassingObjects(memory) as objects:
        one, other = (normalised(objects, start, root, TIME_NS) for root in made)
        assert one == other
        assert contents(objects, one) == contents(objects, made[0])
        changed = {
            path for path, _, now in all_pairs(Nodes(memory), start.content, made[0].content) if now
        }
        for path, _, entry in all_pairs(Nodes(objects), NO_CONTENT, one.content):
            assert entry is not None
            assert (entry.uid, entry.gid) == OWNER
            assert (entry.mtime_ns == TIME_NS) == (path in changed), path
        assert (one == start) == (old == new)
