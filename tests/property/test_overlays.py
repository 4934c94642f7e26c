"""The rows of overlays against dicts: any batches, in any order, and records of any content."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.trees import I64, IDS, NAMES, U32, XATTRS
from vfs.ids import NO_CONTENT, object_id
from vfs.model.entry import FLAG_BLOB, KINDS
from vfs.model.overlay import (
    PATCH_BYTES,
    InodeRow,
    OverlayHeader,
    decode_header,
    decode_inode,
    encode_header,
    encode_inode,
)
from vfs.store.overlaybatch import OverlayBatch
from vfs.store.refs import RefChange
from vfs.store.store import Store

U64 = st.integers(0, 2**64 - 1)
SIZES = st.integers(0, 2**63 - 1)


@st.composite
def inode_rows(draw: st.DrawFn) -> InodeRow:
    size, content_bytes = draw(SIZES), draw(SIZES)
    return InodeRow(
        mode=draw(st.sampled_from(sorted(KINDS))) | draw(st.integers(0, 0o7777)),
        uid=draw(U32),
        gid=draw(U32),
        nlink=draw(U32),
        rdev=draw(U64),
        size=size,
        mtime_ns=draw(I64),
        ctime_ns=draw(I64),
        atime_ns=draw(I64),
        content=draw(IDS | st.just(NO_CONTENT)),
        flags=draw(st.sampled_from((0, FLAG_BLOB))),
        content_bytes=content_bytes,
        visible=draw(st.integers(0, min(size, content_bytes))),
        holes=draw(SIZES),
        patches=draw(U64),
        parent=draw(U64),
        name=draw(NAMES | st.just(b"")),
        group=draw(st.sampled_from((b"", b"12345678"))),
        target=draw(st.binary(max_size=40)),
        xattrs=draw(XATTRS),
    )


@given(inode_rows())
def test_any_inode_comes_back(row: InodeRow) -> None:
    assert decode_inode(encode_inode(row)) == row


@given(st.builds(OverlayHeader, U64, st.none() | IDS, st.none() | IDS, U64, U64, st.booleans()))
def test_any_header_comes_back(header: OverlayHeader) -> None:
    assert decode_header(encode_header(header)) == header


# Few of each, so that they meet; numbers whose bytes tempt a prefix to match too much.
INOS = st.sampled_from((1, 2, 255, 256, 257, 1 << 61, (1 << 61) | 1, (1 << 62) | 2))
SHORT = st.sampled_from((b"a", b"ab", b"b", b"\xff", b"\xff" * 255))
PLACES = st.tuples(INOS, SHORT)
PAGES = st.sampled_from((0, 1, 2, 255, 256, 1 << 40))
BODIES = st.integers(0, 2).map(lambda byte: bytes([byte]) * PATCH_BYTES)
ROWS = inode_rows()
BATCHES = st.builds(
    OverlayBatch,
    inodes=st.dictionaries(INOS, st.none() | ROWS, max_size=3),
    names=st.dictionaries(PLACES, st.none() | st.just(0) | INOS, max_size=4),
    links=st.dictionaries(st.tuples(INOS, INOS, SHORT), st.booleans(), max_size=4),
    cuts=st.dictionaries(INOS, PAGES, max_size=2),
    patches=st.dictionaries(st.tuples(INOS, PAGES), st.none() | BODIES, max_size=4),
    orphans=st.dictionaries(INOS, st.booleans(), max_size=2),
    changed_inodes=st.sets(INOS, max_size=3),
    changed_names=st.sets(PLACES, max_size=3),
    next_ino=st.integers(0, 5),
)


class Overlay(RuleBasedStateMachine):
    """One overlay, beside another one with a neighbouring number."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.store = Store.create(self.path / "store")
        self.store.refs.add_data_set("data", 1)
        self.commits = 0
        for branch in ("before", "main", "behind"):
            self.move(branch, None)
            header = self.store.overlays.open("data", branch)
            if branch != "main":
                full = OverlayBatch(
                    names={(1, b"a"): 5, ((1 << 62) | 2, b"\xff" * 255): 6},
                    patches={(1, 0): bytes(PATCH_BYTES)},
                    changed_names={(1, b"a")},
                )
                self.store.overlays.write("data", branch, header.id, full)
        self.header = self.store.overlays.open("data", "main")
        self.inodes: dict[int, InodeRow] = {}
        self.names: dict[tuple[int, bytes], int] = {}
        self.links: set[tuple[int, int, bytes]] = set()
        self.patches: dict[tuple[int, int], bytes] = {}
        self.orphans: set[int] = set()
        self.changed: set[int] = set()
        self.marks: dict[tuple[int, bytes], int | None] = {}
        self.next_ino, self.seq, self.dirty = 1, 0, False

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.path)

    def move(self, branch: str, overlay: int | None) -> RefChange:
        ref = self.store.refs.get("data", branch)
        self.commits += 1
        change = RefChange(
            data_set="data", name=branch, kind="branch", new=object_id(b"%d" % self.commits),
            expected=ref.commit if ref else None, overlay=overlay,
        )  # fmt: skip
        if overlay is None:
            self.store.refs.move([change], time_ns=1, who="", why="")
        return change

    @rule(batch=BATCHES)
    def write(self, batch: OverlayBatch) -> None:
        self.header = self.store.overlays.write("data", "main", self.header.id, batch)
        for place in batch.changed_names:
            self.marks.setdefault(place, self.names.get(place))
        self.changed |= batch.changed_inodes
        self.patches = {
            (ino, page): data
            for (ino, page), data in self.patches.items()
            if page < batch.cuts.get(ino, page + 1)
        }
        for mine, theirs in (
            (self.inodes, batch.inodes), (self.names, batch.names), (self.patches, batch.patches)
        ):  # fmt: skip
            for key, value in theirs.items():  # type: ignore[attr-defined]
                if value is None:
                    mine.pop(key, None)  # type: ignore[attr-defined]
                else:
                    mine[key] = value  # type: ignore[index]
        for there, chosen in ((self.links, batch.links), (self.orphans, batch.orphans)):
            there.update(key for key, is_there in chosen.items() if is_there)  # type: ignore[attr-defined]
            there.difference_update(key for key, is_there in chosen.items() if not is_there)  # type: ignore[attr-defined]
        gone = {ino for ino, row in batch.inodes.items() if row is None}
        self.drop(gone)
        self.next_ino = max(self.next_ino, batch.next_ino)
        self.seq += 1
        self.dirty |= bool(batch.changed_inodes or batch.changed_names)

    def drop(self, gone: set[int]) -> None:
        for ino in gone:
            self.inodes.pop(ino, None)
        self.names = {place: ino for place, ino in self.names.items() if place[0] not in gone}
        self.links = {link for link in self.links if link[0] not in gone}
        self.patches = {key: data for key, data in self.patches.items() if key[0] not in gone}
        self.orphans -= gone
        self.changed -= gone

    @rule(batch=st.none() | BATCHES)
    def commit(self, batch: OverlayBatch | None) -> None:
        """Commit; *batch* comes in between."""
        with self.store.overlays.snapshot("data", "main") as taken:
            assert taken is not None
            change = self.move("main", self.header.id)
            names = dict(self.names)
            self.changed, self.marks, self.dirty = set(), {}, False
            if batch is not None:
                self.write(batch)
                self.marks = {place: names.get(place) for place in self.marks}
                self.dirty = True  # who knows what a write without marks was about
            self.header = self.store.overlays.commit(taken, change, {}, time_ns=1, who="", why="")

    @rule()
    def open_again(self) -> None:
        header = self.store.overlays.open("data", "main")
        is_clean = not (self.dirty and (self.changed or self.marks))
        if is_clean and (self.seq or self.header.head != self.header.origin):
            assert header.id > self.header.id
            self.store.overlays.sweep()
            self.drop(set(self.inodes) | {place[0] for place in self.names})
            self.names, self.links, self.patches = {}, set(), {}
            self.orphans, self.changed, self.marks = set(), set(), {}
            self.next_ino, self.seq, self.dirty = 1, 0, False
        else:
            assert header == self.header
            self.drop(set(self.orphans))
        self.header = header

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        rows = self.store.overlays.rows(self.header.id)
        assert self.store.overlays.header("data", "main") == self.header
        assert (self.header.next_ino, self.header.seq) == (self.next_ino, self.seq)
        assert self.header.dirty == self.dirty
        for ino in (1, 2, 255, 256, 257, 1 << 61, (1 << 61) | 1, (1 << 62) | 2):
            assert rows.inode(ino) == self.inodes.get(ino)
            own = sorted((n, to) for (directory, n), to in self.names.items() if directory == ino)
            assert rows.names(ino) == own
            for name in (b"a", b"ab", b"\xff", b"never"):
                assert rows.name(ino, name) == self.names.get((ino, name))
            links = sorted((directory, name) for of, directory, name in self.links if of == ino)
            assert rows.links(ino) == links
            for first, last in ((0, 1 << 50), (1, 255), (256, 256)):
                assert rows.patches(ino, first, last) == {
                    page: data
                    for (of, page), data in self.patches.items()
                    if of == ino and first <= page <= last
                }
        assert rows.orphans() == sorted(self.orphans)
        with self.store.overlays.snapshot("data", "main") as taken:
            assert taken is not None
            assert list(taken.changed_inodes()) == sorted(self.changed)
            marks = sorted((*place, before) for place, before in self.marks.items())
            assert list(taken.changed_names()) == marks
            assert taken.has_changes() == bool(self.changed or self.marks)
            for ino in (1, 256):
                own_patches = sorted((p, d) for (of, p), d in self.patches.items() if of == ino)
                assert list(taken.all_patches(ino)) == own_patches

    @invariant()
    def others_are_as_they_were(self) -> None:
        for branch in ("before", "behind"):
            header = self.store.overlays.header("data", branch)
            assert header is not None
            rows = self.store.overlays.rows(header.id)
            assert rows.names(1) == [(b"a", 5)]
            assert rows.names((1 << 62) | 2) == [(b"\xff" * 255, 6)]
            assert rows.patches(1, 0, 9) == {0: bytes(PATCH_BYTES)}


Overlay.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestOverlay = Overlay.TestCase
