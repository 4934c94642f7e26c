"""Random histories, with collections in between: what has a name is what it was, all else goes."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.garbage import NOW, contents, damages, object_ids, version
from tests.support.versions import commit
from vfs.errors import VfsError
from vfs.ids import NO_CONTENT, ObjectId
from vfs.model.overlay import NEW_INO, InodeRow
from vfs.repo.branches import commit_overlay
from vfs.repo.gc import Rules, collect, save_rules
from vfs.repo.repository import Repository
from vfs.store.overlaybatch import OverlayBatch

EXAMPLES = int(os.environ.get("VFS_TEST_GC_EXAMPLES", "10"))
NAMES = ("a", "b", "c")
FILES = (b"f", b"g", b"h", b"i")
BODIES = [random.Random(seed).randbytes(size) for seed in range(4) for size in (20, 3000, 200_000)]
WHICH = st.integers(0, len(BODIES) - 1)  # not the bodies themselves: hypothesis shows them
TREES = st.dictionaries(
    st.sampled_from(FILES),
    WHICH | st.dictionaries(st.sampled_from(FILES), WHICH),
    max_size=4,
)


def with_bodies(plan: dict[bytes, object]) -> dict[bytes, object]:
    """Return the tree of a plan, which has numbers of bodies."""
    return {
        name: with_bodies(what) if isinstance(what, dict) else BODIES[what]  # type: ignore[index]
        for name, what in plan.items()
    }


class Garbage(RuleBasedStateMachine):
    """References against a dict of what each shows."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.repo = Repository.create(self.path / "store")
        self.shown: dict[tuple[str, str], dict[bytes, object]] = {}
        self.kinds: dict[tuple[str, str], str] = {}
        self.history: dict[ObjectId, dict[bytes, object]] = {}  # of `data`, which has no rules
        self.count = 0

    def teardown(self) -> None:
        self.repo.close()
        shutil.rmtree(self.path)

    @initialize()
    def make(self) -> None:
        for name in ("data", "ruled"):
            self.repo.create_data_set(name)
        save_rules(self.repo.store, "ruled", Rules(last=1))

    @rule(data_set=st.sampled_from(("data", "ruled")), plan=TREES)
    def commit(self, data_set: str, plan: dict[bytes, object]) -> None:
        tree = with_bodies(plan)
        try:
            commit(self.repo, tree, data_set=data_set)  # type: ignore[arg-type]
        except VfsError:
            return  # it was deleted, or has changes
        self._set(data_set, "main", "branch", tree)

    def _set(self, data_set: str, name: str, kind: str, tree: dict[bytes, object]) -> None:
        self.shown[data_set, name] = tree
        self.kinds[data_set, name] = kind

    @rule(data=st.data(), name=st.sampled_from(NAMES), kind=st.sampled_from(("branch", "tag")))
    def name(self, data: st.DataObject, name: str, kind: str) -> None:
        if not self.shown:
            return
        data_set, start = data.draw(st.sampled_from(sorted(self.shown)))
        if (data_set, name) in self.shown:
            return
        oid = self.repo.resolve(data_set, start).commit
        if kind == "branch":
            self.repo.set_branch(data_set, name, oid, expected=None, why="")
        else:
            self.repo.set_tag(data_set, name, oid, why="")
        self._set(data_set, name, kind, self.shown[data_set, start])

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.shown:
            key = data.draw(st.sampled_from(sorted(self.shown)))
            header = self.repo.store.overlays.header(*key)
            self.repo.delete_ref(*key, kind=self.kinds[key], overlay=header)  # type: ignore[arg-type]
            del self.shown[key], self.kinds[key]

    @rule(which=WHICH, then=st.booleans())
    @precondition(lambda self: self.kinds.get(("data", "main")) == "branch")
    def write(self, which: int, then: bool) -> None:
        """Write a file into the branch main, and commit it or not."""
        body = BODIES[which]
        overlays = self.repo.store.overlays
        header = overlays.open("data", "main")
        with self.repo.store.ingest() as ingest:
            (oid,) = ingest.add_chunks([body])
            ingest.flush()
            self.count += 1
            name, ino = b"w%d" % self.count, NEW_INO | header.next_ino
            row = InodeRow(
                stat.S_IFREG | 0o644, 0, 0, 1, 0, len(body), 0, 0, 0, oid, 0, len(body), len(body),
                0, 0, 1, name, b"", b"", (),
            )  # fmt: skip
            subdirs = sum(isinstance(what, dict) for what in self.shown["data", "main"].values())
            top = row._replace(
                mode=stat.S_IFDIR | 0o755, nlink=2 + subdirs, size=0, content=NO_CONTENT,
                content_bytes=0, visible=0, name=b"",
            )  # fmt: skip
            batch = OverlayBatch(
                inodes={1: top, ino: row}, names={(1, name): ino}, changed_inodes={1, ino},
                changed_names={(1, name)}, next_ino=header.next_ino + 1,
            )  # fmt: skip
            overlays.write("data", "main", header.id, batch)
        if then:
            commit_overlay(self.repo, "data", "main", message="written")
            tree = version(self.repo, self.repo.resolve("data").commit)
            assert tree[name] == body
            self.shown["data", "main"] = tree

    @rule(which=st.lists(WHICH, max_size=4))
    def leave(self, which: list[int]) -> None:
        """Leave contents that nothing leads to."""
        bodies = [BODIES[one] for one in which]
        with self.repo.store.ingest() as ingest:
            ingest.add_chunks(bodies, [len(bodies)] if bodies else None)

    @rule()
    def collect(self) -> None:
        kept = {oid: version(self.repo, oid) for oid in self._history()}
        collect(self.repo.store, NOW)
        assert damages(self.repo.store.path) == []
        assert {oid: version(self.repo, oid) for oid in self._history()} == kept
        before = object_ids(self.repo)
        assert collect(self.repo.store, NOW).objects == 0
        assert object_ids(self.repo) == before

    def _history(self) -> set[ObjectId]:
        found: set[ObjectId] = set()
        for data_set, name in self.shown:
            if data_set == "data":
                found |= {oid for oid, _ in self.repo.log(data_set, name)}
        return found

    @invariant()
    def references_show_what_they_showed(self) -> None:
        for (data_set, name), tree in self.shown.items():
            oid = self.repo.resolve(data_set, name).commit
            assert contents(self.repo, self.repo.commit(oid).root.content) == tree


TestGarbage = Garbage.TestCase
TestGarbage.settings = settings(max_examples=EXAMPLES, stateful_step_count=12, deadline=None)
