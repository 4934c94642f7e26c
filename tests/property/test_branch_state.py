"""A branch against a model in plain Python, through checkpoints, failures, crashes and commits.

After a crash the branch must be as it was when the last checkpoint that was stored began; until
then, whatever goes on, it must be what the same operations make of the model.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.trees import store_file, store_tree
from tests.support.versions import commit
from vfs.errors import NotEmpty, NotFound, StaleHandle, StoreFull
from vfs.fs.attrs import BLOCK_BYTES
from vfs.fs.branch import checkpoint as checkpoints
from vfs.fs.branch.attributes import SetAttr
from vfs.fs.branch.branch import Branch
from vfs.fs.branch.checkpoint import Checkpoint
from vfs.fs.branch.names import RENAME_EXCHANGE, RENAME_NOREPLACE
from vfs.model.entry import Entry, Extra, Link
from vfs.model.overlay import LINKED_INO, ROOT_INO
from vfs.repo.branches import commit_overlay
from vfs.repo.repository import Repository
from vfs.store.layout import number_key
from vfs.store.overlayrows import keys_from

PICKS = st.integers(0, 999)
NAMES = st.sampled_from((b"a", b"b", b"c", b"hard1", b"dir"))
OFFSETS = st.sampled_from((0, 0, 1, 100, 4000, 4096, 8191, 20_000, 65_536, 100_000, 150_000))
LENGTHS = st.sampled_from((1, 50, 4096, 5000, 16_384, 40_000))
SIZES = st.sampled_from((0, 0, 1, 100, 4096, 5000, 16_384, 70_000, 150_001))
SEEDS = st.integers(0, 9)
KINDS = st.sampled_from((stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO))
MODES = st.sampled_from((0o600, 0o644, 0o755))
ALL_PAGES = 1 << 50

Place = tuple["Node", bytes]


@dataclass(eq=False)
class Node:
    """An inode of the model."""

    ino: int
    mode: int
    uid: int
    gid: int
    data: bytearray = field(default_factory=bytearray)  # or the target of a symlink
    children: dict[bytes, Node] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    mtime_ns: int | None = None
    names: int = 1
    parent: Node | None = None

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def nlink(self) -> int:
        if not self.names or not self.is_dir:
            return self.names
        return 2 + sum(child.is_dir for child in self.children.values())

    def holds(self, other: Node) -> bool:
        """Say whether *other* is this directory or above it."""
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False


def pattern(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


BASE: dict[bytes, Any] = {
    b"a": b"a small file",
    b"big": pattern(1, 180_000),
    b"dir": {b"x": pattern(2, 5000), b"b": {b"y": b"deep", b"empty": b""}, b"hard1": "LINK"},
    b"hard1": "LINK",
    b"hard2": "LINK",
    b"link": Entry(
        b"", stat.S_IFLNK | 0o777, 1, 2, 5, 3, bytes(32), 0, Extra(target=b"a/b").encode()
    ),  # type: ignore[arg-type]
}
LINKED_DATA = pattern(3, 30_000)


def make_store(path: Path) -> None:
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        with repo.store.ingest() as ingest:
            entry = store_file(ingest, b"", LINKED_DATA)
            link = Extra(link=Link(b"12345678", 3)).encode()
            tree = with_links(BASE, entry._replace(extra=link))
            store_tree(ingest, b"", tree)
        commit(repo, tree)


def with_links(tree: dict[bytes, Any], link: Entry) -> dict[bytes, Any]:
    return {
        name: with_links(value, link)
        if isinstance(value, dict)
        else link
        if value == "LINK"
        else value
        for name, value in tree.items()
    }


def base_model(ino: int = ROOT_INO, tree: dict[bytes, Any] = BASE) -> Node:
    """Return the model of the first version; inode numbers are filled in from the branch."""
    links: list[Node] = []

    def build(tree: dict[bytes, Any]) -> Node:
        node = Node(0, stat.S_IFDIR | 0o755, 1, 2)
        for name, value in tree.items():
            if isinstance(value, dict):
                child = build(value)
                child.parent = node
            elif value == "LINK":
                if not links:
                    links.append(Node(0, stat.S_IFREG | 0o644, 1, 2, bytearray(LINKED_DATA)))
                    links[0].names = 0
                child = links[0]
                child.names += 1
            elif isinstance(value, Entry):
                child = Node(0, value.mode, 1, 2, bytearray(b"a/b"))
            else:
                child = Node(0, stat.S_IFREG | 0o644, 1, 2, bytearray(value))
            node.children[name] = child
        return node

    return build(tree)


class Machine(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        shutil.copytree(self.template, self.directory / "store")
        self.repo = Repository.open(self.directory / "store")
        self.root = base_model()
        self.stored = copy.deepcopy(self.root)
        self.seen_stored: dict[tuple[bytes, ...], object] | None = None
        self.open()

    def teardown(self) -> None:
        try:
            self.check_all()
        finally:
            self.branch.close()
            self.repo.close()
            shutil.rmtree(self.directory)

    def open(self) -> None:
        self.branch = Branch(self.repo.store, "data", "main")
        self.repo.store.overlays.sweep()
        self.handles: dict[int, tuple[Node, bool]] = {}
        self.orphans: list[Node] = []
        self.checkpoint: Checkpoint | None = None
        self.is_stored = False
        self.pending: tuple[Node, Any] | None = None
        self.number(self.root, ROOT_INO, {})

    def number(self, node: Node, ino: int, seen: dict[int, int]) -> None:
        """Take over the inode numbers of the branch."""
        assert seen.setdefault(id(node), ino) == ino, "two inodes for one file"
        node.ino = ino
        for name, child in node.children.items():
            self.number(child, self.branch.inodes.lookup(ino, name)[0], seen)

    # choosing

    def nodes(self) -> list[tuple[Node, Node, bytes]]:
        found = []

        def walk(node: Node) -> None:
            for name, child in sorted(node.children.items()):
                found.append((child, node, name))
                if child.is_dir:
                    walk(child)

        walk(self.root)
        return found

    def pick_dir(self, number: int) -> Node:
        found = [self.root, *(node for node, _, _ in self.nodes() if node.is_dir)]
        return found[number % len(found)]

    def pick_file(self, number: int) -> Node | None:
        found = [node for node, _, _ in self.nodes() if node.is_file]
        found += [node for node, _ in self.handles.values() if not node.names]
        return found[number % len(found)] if found else None

    def pick(self, number: int) -> tuple[Node, Node, bytes] | None:
        found = self.nodes()
        return found[number % len(found)] if found else None

    # changing

    @rule(at=PICKS, name=NAMES, kind=KINDS, mode=MODES)
    def make(self, at: int, name: bytes, kind: int, mode: int) -> None:
        parent = self.pick_dir(at)
        if name in parent.children:
            return
        target = b"some/where" if kind == stat.S_IFLNK else b""
        ino, _ = self.branch.names.make(parent.ino, name, kind | mode, 7, 8, target=target)
        node = Node(ino, kind | mode, 7, 8, bytearray(target))
        node.parent = parent if node.is_dir else None
        parent.children[name] = node
        parent.mtime_ns = None

    @rule(at=PICKS, offset=OFFSETS, length=LENGTHS, seed=SEEDS, keep=st.booleans())
    def write(self, at: int, offset: int, length: int, seed: int, keep: bool) -> None:
        node = self.pick_file(at)
        if node is None:
            return
        handle = self.branch.files.open(node.ino, os.O_RDWR)
        self.handles[handle] = node, True
        self.do_write(handle, node, offset, pattern(seed, length))
        if not keep:
            self.branch.files.release(handle)
            del self.handles[handle]

    @precondition(lambda self: self.handles)
    @rule(at=PICKS, offset=OFFSETS, length=LENGTHS, seed=SEEDS)
    def write_open(self, at: int, offset: int, length: int, seed: int) -> None:
        handle, (node, writes) = sorted(self.handles.items())[at % len(self.handles)]
        if writes:
            self.do_write(handle, node, offset, pattern(seed, length))

    @rule(at=PICKS, seed=SEEDS, keep=st.booleans())
    def replace(self, at: int, seed: int, keep: bool) -> None:
        """Write all of a file anew."""
        node = self.pick_file(at)
        if node is not None:
            self.branch.attributes.truncate(node.ino, privileged=True)
            node.data.clear()
            self.write(at, 0, 1000 * seed + 1, seed, keep)

    def do_write(self, handle: int, node: Node, offset: int, data: bytes) -> None:
        assert self.branch.files.write(handle, offset, data) == len(data)
        if len(node.data) < offset:
            node.data += bytes(offset - len(node.data))
        node.data[offset : offset + len(data)] = data

    @rule(at=PICKS, size=SIZES)
    def truncate(self, at: int, size: int) -> None:
        node = self.pick_file(at)
        if node is None:
            return
        self.branch.attributes.setattr(node.ino, SetAttr(size=size))
        del node.data[size:]
        node.data += bytes(size - len(node.data))

    @rule(at=PICKS, mode=MODES, uid=st.sampled_from((0, 1000)), mtime_ns=st.integers(0, 9))
    def set_attributes(self, at: int, mode: int, uid: int, mtime_ns: int) -> None:
        found = self.pick(at)
        if found is None:
            return
        node = found[0]
        self.branch.attributes.setattr(node.ino, SetAttr(mode=mode, uid=uid, mtime_ns=mtime_ns))
        node.mode = stat.S_IFMT(node.mode) | mode
        node.uid = uid
        node.mtime_ns = mtime_ns

    @rule(at=PICKS, value=st.binary(max_size=3))
    def set_xattr(self, at: int, value: bytes) -> None:
        found = self.pick(at)
        if found is not None:
            self.branch.attributes.setxattr(found[0].ino, b"user.x", value)
            found[0].xattrs[b"user.x"] = value

    @rule(at=PICKS, to=PICKS, name=NAMES)
    def link(self, at: int, to: int, name: bytes) -> None:
        found, parent = self.pick(at), self.pick_dir(to)
        if found is None or found[0].is_dir or name in parent.children:
            return
        self.branch.names.link(found[0].ino, parent.ino, name)
        parent.children[name] = found[0]
        found[0].names += 1
        parent.mtime_ns = None

    @rule(at=PICKS)
    def remove(self, at: int) -> None:
        found = self.pick(at)
        if found is None:
            return
        node, parent, name = found
        if not node.is_dir:
            self.branch.names.unlink(parent.ino, name)
        elif node.children:
            with pytest.raises(NotEmpty):
                self.branch.names.rmdir(parent.ino, name)
            return
        else:
            self.branch.names.rmdir(parent.ino, name)
        del parent.children[name]
        parent.mtime_ns = None
        self.lose(node)

    def lose(self, node: Node) -> None:
        node.names -= 1
        if not node.names:
            self.orphans.append(node)

    @rule(at=PICKS, to=PICKS, name=NAMES, flags=st.sampled_from((0, 0, 0, RENAME_NOREPLACE)))
    def rename(self, at: int, to: int, name: bytes, flags: int) -> None:
        found, new = self.pick(at), self.pick_dir(to)
        if found is None:
            return
        node, old, old_name = found
        there = new.children.get(name)
        if node.is_dir and new.holds(node):
            return  # the kernel sees to that
        if there is not None and (
            flags
            or there.is_dir != node.is_dir
            or (there.is_dir and there.children)
            or (there.is_dir and old.holds(there))
        ):
            return
        self.branch.names.rename(old.ino, old_name, new.ino, name, flags)
        if there is node:
            return
        del old.children[old_name]
        if there is not None:
            self.lose(there)
        new.children[name] = node
        if node.is_dir:
            node.parent = new
        old.mtime_ns = new.mtime_ns = None

    @rule(at=PICKS, other=PICKS)
    def rename_over(self, at: int, other: int) -> None:
        there = self.pick(other)
        if there is not None:
            directories = [self.root, *(node for node, _, _ in self.nodes() if node.is_dir)]
            self.rename(at, directories.index(there[1]), there[2], 0)

    @rule(at=PICKS, other=PICKS)
    def exchange(self, at: int, other: int) -> None:
        one, two = self.pick(at), self.pick(other)
        if one is None or two is None or one[1:] == two[1:]:
            return
        if any(a[1].holds(b[0]) for a, b in ((one, two), (two, one))):
            return
        self.branch.names.rename(one[1].ino, one[2], two[1].ino, two[2], RENAME_EXCHANGE)
        one[1].children[one[2]], two[1].children[two[2]] = two[0], one[0]
        for node, parent in ((one[0], two[1]), (two[0], one[1])):
            if node.is_dir:
                node.parent = parent
        one[1].mtime_ns = two[1].mtime_ns = None

    # open files

    @rule(at=PICKS, writes=st.booleans())
    def open_file(self, at: int, writes: bool) -> None:
        node = self.pick_file(at)
        if node is not None:
            flags = os.O_RDWR if writes else os.O_RDONLY
            self.handles[self.branch.files.open(node.ino, flags)] = node, writes

    @precondition(lambda self: self.handles)
    @rule(at=PICKS)
    def release(self, at: int) -> None:
        handle = sorted(self.handles)[at % len(self.handles)]
        self.branch.files.release(handle)
        del self.handles[handle]

    @precondition(lambda self: self.orphans)
    @rule()
    def forget(self) -> None:
        """The kernel forgets what has no name and is not open."""
        used = [node for node, _ in self.handles.values()]
        gone = [node for node in self.orphans if node not in used]
        self.branch.inodes.forget([node.ino for node in gone])
        self.orphans = [node for node in self.orphans if node in used]
        for node in gone:
            if not node.ino & LINKED_INO:
                with pytest.raises(StaleHandle):
                    self.branch.inodes.row(node.ino)

    # checkpoints

    @precondition(lambda self: self.checkpoint is None)
    @rule(settle=st.booleans())
    def begin(self, settle: bool) -> None:
        seen = self.observe()
        self.checkpoint = self.branch.begin_checkpoint(settle=settle)
        if self.checkpoint is not None:
            self.pending = copy.deepcopy(self.root), seen
            self.is_stored = False

    @precondition(lambda self: self.checkpoint is not None and not self.is_stored)
    @rule()
    def store(self) -> None:
        assert self.checkpoint is not None
        assert self.pending is not None
        self.branch.store_checkpoint(self.checkpoint)
        self.is_stored = True
        self.stored, self.seen_stored = self.pending

    @precondition(lambda self: self.checkpoint is not None and not self.is_stored)
    @rule(late=st.booleans())
    def fail(self, late: bool) -> None:
        assert self.checkpoint is not None
        if late:

            def write(batch: object) -> None:
                raise StoreFull("no room")

            real, self.branch._stage.write = self.branch._stage.write, write
            with pytest.raises(StoreFull):
                self.branch.store_checkpoint(self.checkpoint)
            self.branch._stage.write = real
        self.branch.fail_checkpoint()
        self.checkpoint = None

    @precondition(lambda self: self.is_stored)
    @rule()
    def end(self) -> None:
        if self.checkpoint is not None:
            self.branch.end_checkpoint(self.checkpoint)
        self.checkpoint, self.is_stored = None, False

    @rule()
    def flush(self) -> None:
        if self.checkpoint is None:
            self.begin(settle=False)
        if self.checkpoint is not None:
            if not self.is_stored:
                self.store()
            self.end()

    # ends

    @rule()
    def crash(self) -> None:
        self.branch.close()
        self.repo.close()
        self.repo = Repository.open(self.directory / "store")
        self.root = copy.deepcopy(self.stored)
        self.open()
        self.check_all()
        assert self.seen_stored in (None, self.observe())
        self.check_rows()

    @rule(message=st.sampled_from(("one", "two")))
    def commit(self, message: str) -> None:
        commit_overlay(self.repo, "data", "main", message=message, author="A", allow_empty=True)
        # The overlay is clean: opened again, it is made anew, and commits don't keep all times.
        self.seen_stored = None

    @rule()
    def commit_and_reopen(self) -> None:
        """The overlay begins anew: inode numbers change, and nothing else."""
        self.flush()
        self.flush()  # what was changed while the first one ran
        self.commit("m")
        self.crash()

    # checking

    def observe(self) -> dict[tuple[bytes, ...], object]:
        """All that the branch shows, by path."""
        seen: dict[tuple[bytes, ...], object] = {}

        def look(path: tuple[bytes, ...], ino: int) -> None:
            row = self.branch.inodes.row(ino)
            data = self.read(ino) if stat.S_ISREG(row.mode) else row.target
            seen[path] = (
                ino, row.mode, row.uid, row.gid, row.nlink, row.size, row.mtime_ns, row.ctime_ns,
                row.atime_ns, row.xattrs, data,
            )  # fmt: skip
            if stat.S_ISDIR(row.mode):
                for name, child, listed, _ in list(self.branch.names.list(ino)):
                    assert listed == self.branch.inodes.row(child)
                    assert self.branch.inodes.lookup(ino, name) == (child, listed)
                    if stat.S_ISDIR(listed.mode):
                        assert self.branch.inodes.lookup(child, b"..")[0] == ino
                    look((*path, name), child)

        look((), ROOT_INO)
        return seen

    def read(self, ino: int) -> bytes:
        handle = self.branch.files.open(ino, os.O_RDONLY)
        plan = self.branch.files.plan_read(handle, 0, 1 << 30)
        data = b"" if plan is None else self.branch.files.read_now(plan)
        self.branch.files.release(handle)
        return data

    def expected(self) -> Iterator[tuple[tuple[bytes, ...], Node]]:
        def walk(path: tuple[bytes, ...], node: Node) -> Iterator[tuple[tuple[bytes, ...], Node]]:
            yield path, node
            for name, child in node.children.items():
                yield from walk((*path, name), child)

        return walk((), self.root)

    @invariant()
    def check_all(self) -> None:
        seen = self.observe()
        wanted = dict(self.expected())
        assert seen.keys() == wanted.keys()
        for path, node in wanted.items():
            self.check_node(path, node, seen[path])
        for node in [*self.orphans, *(node for node, _ in self.handles.values())]:
            row = self.branch.inodes.row(node.ino)
            assert row.nlink == node.nlink
            if node.is_file:
                assert self.read(node.ino) == node.data
        with pytest.raises(NotFound):
            self.branch.inodes.lookup(ROOT_INO, b"nothing")

    def check_node(self, path: tuple[bytes, ...], node: Node, seen: Any) -> None:
        ino, mode, uid, gid, nlink, size, mtime_ns, _, _, xattrs, data = seen
        assert (ino, mode, uid, gid, nlink, xattrs) == (
            node.ino, node.mode, node.uid, node.gid, node.nlink, tuple(node.xattrs.items()),
        ), path  # fmt: skip
        if node.is_file:
            assert data == node.data, path
            row = self.branch.inodes.row(ino)
            blocks = self.branch.files.blocks(ino, row)
            assert 0 <= blocks * 512 <= -(-size // BLOCK_BYTES) * BLOCK_BYTES
            assert size == len(data)
        elif not node.is_dir:
            assert data == node.data
        assert node.mtime_ns in (None, mtime_ns), path

    def check_rows(self) -> None:
        """What is stored holds together, and nothing is there that nobody can reach."""
        overlay = self.branch.overlay
        rows = self.repo.store.overlays.rows(overlay)
        env = self.repo.store._env
        with env.read() as txn:
            stored = {
                table: [
                    int.from_bytes(key[:8], "big")
                    for key in keys_from(txn, env.tables[table], number_key(overlay))
                ]
                for table in ("overlay_inodes", "overlay_links", "overlay_patches", "overlay_names")
            }
        places: dict[int, set[tuple[int, bytes]]] = {ROOT_INO: set()}
        for node, parent, name in self.nodes():
            places.setdefault(node.ino, set()).add((parent.ino, name))
        for inos in stored.values():
            assert set(inos) <= places.keys()
        assert not rows.orphans()
        for ino in stored["overlay_inodes"]:
            row = rows.inode(ino)
            assert row is not None
            links = set(rows.links(ino))
            if row.nlink > 1 and not stat.S_ISDIR(row.mode):
                assert links == places[ino]
                assert row.parent == 0 or (row.parent, row.name) in links
            else:
                assert not links
                assert ino == ROOT_INO or places[ino] == {(row.parent, row.name)}
            assert row.patches in (0, len(rows.patches(ino, 0, ALL_PAGES)))


def test_branch_against_model(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So small that every way to store a file is taken.
    monkeypatch.setattr(checkpoints, "PATCHED_MAX_BYTES", 12_000)
    monkeypatch.setattr(checkpoints, "PATCHES_MIN", 6)
    monkeypatch.setattr(checkpoints, "PATCHES_MAX", 8)
    Machine.template = tmp_path_factory.mktemp("template") / "store"
    make_store(Machine.template)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            stateful_step_count=60,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
