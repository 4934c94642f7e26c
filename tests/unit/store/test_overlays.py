"""Overlays: one writer, all of a write or nothing, and a branch that nobody moves under it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vfs.errors import Conflict, CorruptObject, NotFound
from vfs.ids import NO_CONTENT, ObjectId, object_id
from vfs.model.entry import Totals
from vfs.model.overlay import PATCH_BYTES, WHITEOUT, InodeRow
from vfs.store.overlaybatch import OverlayBatch
from vfs.store.overlays import SWEPT_ROWS
from vfs.store.refs import RefChange
from vfs.store.store import Store
from vfs.store.tables import OVERLAY_TABLES

FIRST, SECOND, THIRD = (object_id(b"commit %d" % number) for number in range(3))
NEW = 1 << 61
PAGE = bytes(range(256)) * 16


def row(name: bytes = b"f", *, parent: int = 1, **fields: object) -> InodeRow:
    bare = InodeRow(
        stat.S_IFREG | 0o644, 1, 2, 1, 0, 0, 0, 0, 0, NO_CONTENT, 0, 0, 0, 0, 0, parent, name,
        b"", b"", (),
    )  # fmt: skip
    return bare._replace(**fields)  # type: ignore[arg-type]


def move(
    store: Store, new: ObjectId, expected: ObjectId | None, overlay: int | None = None
) -> None:
    change = RefChange(
        data_set="data", name="main", kind="branch", new=new, expected=expected, overlay=overlay
    )
    store.refs.move([change], time_ns=1, who="w", why="y")


def changed(name: bytes = b"f", ino: int = NEW) -> OverlayBatch:
    """A batch that makes a file."""
    return OverlayBatch(
        inodes={ino: row(name)},
        names={(1, name): ino},
        changed_inodes={ino},
        changed_names={(1, name)},
    )


@pytest.fixture
def branch(store: Store) -> Store:
    """A store with a branch data@main at FIRST."""
    store.refs.add_data_set("data", 1)
    move(store, FIRST, None)
    return store


def count(store: Store, table: str) -> int:
    with store._env.read() as txn:
        entries: int = txn.stat(store._env.tables[table])["entries"]
        return entries


def test_an_overlay_begins_at_the_branch(branch: Store) -> None:
    assert branch.overlays.header("data", "main") is None
    header = branch.overlays.open("data", "main")
    assert (header.origin, header.head, header.dirty) == (FIRST, FIRST, False)
    assert branch.overlays.header("data", "main") == header
    assert branch.overlays.open("data", "main") == header


def test_a_data_set_without_versions_has_a_branch_to_write_to(store: Store) -> None:
    store.refs.add_data_set("data", 1)
    header = store.overlays.open("data", "main")
    assert (header.origin, header.head) == (None, None)
    store.overlays.write("data", "main", header.id, changed())
    with pytest.raises(Conflict):
        move(store, FIRST, None)
    move(store, FIRST, None, overlay=header.id)


def test_what_is_no_branch_has_no_overlay(branch: Store) -> None:
    change = RefChange(data_set="data", name="v1", kind="tag", new=FIRST)
    branch.refs.move([change], time_ns=1, who="w", why="y")
    for data_set, name in (("data", "v1"), ("data", "other"), ("missing", "main")):
        with pytest.raises(NotFound):
            branch.overlays.open(data_set, name)


def test_rows_are_read_as_written(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    batch = OverlayBatch(
        inodes={1: row(b""), NEW: row(b"a", nlink=2, patches=2, size=1 << 20)},
        names={(1, b"a"): NEW, (1, b"z"): NEW, (1, b"gone"): WHITEOUT, (2, b"b"): 77},
        links={(NEW, 1, b"a"): True, (NEW, 1, b"z"): True},
        patches={(NEW, 3): PAGE, (NEW, 300): bytes(PATCH_BYTES)},
        orphans={NEW + 1: True},
        changed_inodes={1, NEW},
        changed_names={(1, b"a"), (1, b"gone")},
        next_ino=2,
    )
    after = branch.overlays.write("data", "main", header.id, batch)
    assert after == header._replace(seq=1, next_ino=2, dirty=True)
    assert branch.overlays.header("data", "main") == after
    rows = branch.overlays.rows(header.id)
    assert rows.inode(1) == batch.inodes[1]
    assert rows.inode(NEW) == batch.inodes[NEW]
    assert rows.inode(2) is None
    assert [rows.name(1, name) for name in (b"a", b"gone", b"other")] == [NEW, WHITEOUT, None]
    assert rows.names(1) == [(b"a", NEW), (b"gone", WHITEOUT), (b"z", NEW)]
    assert rows.names(3) == []
    assert rows.links(NEW) == [(1, b"a"), (1, b"z")]
    assert rows.patches(NEW, 0, 1 << 50) == {3: PAGE, 300: bytes(PATCH_BYTES)}
    assert rows.patches(NEW, 3, 299) == {3: PAGE}
    assert rows.patches(NEW, 4, 299) == {}
    assert rows.orphans() == [NEW + 1]
    with branch.overlays.snapshot("data", "main") as taken:
        assert taken is not None
        assert list(taken.changed_inodes()) == [1, NEW]
        assert list(taken.changed_names()) == [(1, b"a", None), (1, b"gone", None)]
        assert taken.tree(1) is None


def test_rows_go_as_they_came(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    rows = branch.overlays.rows(header.id)
    batch = OverlayBatch(
        inodes={NEW: row(), NEW + 1: row()},
        names={(1, b"a"): NEW, (1, b"b"): NEW + 1, (NEW, b"x"): 5},
        links={(NEW, 1, b"a"): True, (NEW + 1, 1, b"b"): True},
        patches={(ino, page): PAGE for ino in (NEW, NEW + 1) for page in range(5)},
        orphans={NEW: True, NEW + 1: True},
        changed_inodes={NEW, NEW + 1},
        changed_names={(NEW, b"x"), (1, b"a")},
    )
    branch.overlays.write("data", "main", header.id, batch)
    again = OverlayBatch(
        inodes={NEW: None},
        names={(1, b"a"): None},
        links={(NEW + 1, 1, b"b"): False},
        cuts={NEW + 1: 2},
        patches={(NEW + 1, 4): bytes(PATCH_BYTES), (NEW + 1, 0): None},
        orphans={NEW + 1: False},
    )
    branch.overlays.write("data", "main", header.id, again)
    assert rows.inode(NEW) is None
    assert rows.names(NEW) == []
    assert rows.names(1) == [(b"b", NEW + 1)]
    assert rows.links(NEW) == rows.links(NEW + 1) == []
    assert rows.patches(NEW, 0, 9) == {}
    assert rows.patches(NEW + 1, 0, 9) == {1: PAGE, 4: bytes(PATCH_BYTES)}
    assert rows.orphans() == []
    with branch.overlays.snapshot("data", "main") as taken:
        assert taken is not None
        assert list(taken.changed_inodes()) == [NEW + 1]
        assert list(taken.changed_names()) == [(1, b"a", None), (NEW, b"x", None)]


def test_a_branch_with_changes_is_moved_by_its_overlay_alone(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    move(branch, SECOND, FIRST)  # clean: nothing is lost
    with pytest.raises(Conflict, match="moved"):
        branch.overlays.write("data", "main", header.id, changed())
    header = branch.overlays.open("data", "main")
    assert header.origin == SECOND
    branch.overlays.write("data", "main", header.id, changed())
    for overlay in (None, header.id - 1):
        with pytest.raises(Conflict, match="not committed") as caught:
            move(branch, THIRD, SECOND, overlay)
        assert "vfs discard data@main" in caught.value.hint
    with pytest.raises(Conflict):
        branch.refs.delete("data", "main", "branch", time_ns=1, who="w", why="y")
    move(branch, THIRD, SECOND, header.id)


def test_a_deleted_branch_takes_its_changes_along(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    old = branch.overlays.write("data", "main", header.id, changed())
    new = branch.overlays.write("data", "main", header.id, changed(b"g", NEW + 1))
    with pytest.raises(Conflict):  # there is more by now
        branch.refs.delete("data", "main", "branch", time_ns=1, who="w", why="y", overlay=old)
    branch.refs.delete("data", "main", "branch", time_ns=1, who="w", why="y", overlay=new)
    assert branch.overlays.header("data", "main") is None
    with pytest.raises(Conflict):
        branch.overlays.write("data", "main", header.id, changed())
    move(branch, FIRST, None)
    again = branch.overlays.open("data", "main")
    assert again.id != header.id
    assert branch.overlays.rows(again.id).names(1) == []


def commit(store: Store, new: ObjectId, *, trees: dict[int, tuple[ObjectId, Totals]]) -> None:
    with store.overlays.snapshot("data", "main") as taken:
        assert taken is not None
        header = taken.header
        change = RefChange(
            data_set="data", name="main", kind="branch", new=new, expected=header.head,
            overlay=header.id,
        )  # fmt: skip
        store.overlays.commit(taken, change, trees, time_ns=1, who="w", why="y")


def test_a_commit_forgets_changes_and_keeps_rows(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    branch.overlays.write("data", "main", header.id, changed())
    tree = object_id(b"tree"), Totals(1, 2, 3, 4)
    commit(branch, SECOND, trees={1: tree})
    ref = branch.refs.get("data", "main")
    assert ref is not None
    assert ref.commit == SECOND
    after = branch.overlays.header("data", "main")
    assert after is not None
    assert (after.id, after.origin, after.head, after.dirty) == (header.id, FIRST, SECOND, False)
    assert branch.overlays.rows(header.id).names(1) == [(b"f", NEW)]
    with branch.overlays.snapshot("data", "main") as taken:
        assert taken is not None
        assert list(taken.changed_inodes()) == list(taken.changed_names()) == []
        assert taken.tree(1) == tree
    branch.overlays.write("data", "main", header.id, changed(b"g", NEW + 1))
    again = branch.overlays.open("data", "main")
    assert (again.id, again.dirty) == (header.id, True)


def test_what_is_written_during_a_commit_belongs_to_the_next(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    branch.overlays.write("data", "main", header.id, changed(b"a", NEW))
    branch.overlays.write("data", "main", header.id, changed(b"b", NEW + 1))
    with branch.overlays.snapshot("data", "main") as taken:
        assert taken is not None
        branch.overlays.write("data", "main", header.id, changed(b"b", NEW + 1))
        branch.overlays.write("data", "main", header.id, changed(b"c", NEW + 2))
        assert list(taken.changed_names()) == [(1, b"a", None), (1, b"b", None)]
        assert taken.name(1, b"c") is None
        change = RefChange(
            data_set="data", name="main", kind="branch", new=SECOND, expected=FIRST,
            overlay=header.id,
        )  # fmt: skip
        args = {"time_ns": 1, "who": "w", "why": "y"}
        after = branch.overlays.commit(taken, change, {}, **args)  # type: ignore[arg-type]
        assert after.dirty
        with pytest.raises(Conflict):  # a second one that began as early
            branch.overlays.commit(taken, change, {}, **args)  # type: ignore[arg-type]
    with branch.overlays.snapshot("data", "main") as later:
        assert later is not None
        # Of each, what it was at the commit: not before the first write.
        assert list(later.changed_names()) == [(1, b"b", NEW + 1), (1, b"c", None)]
    branch.overlays.write("data", "main", header.id, OverlayBatch(names={(1, b"b"): WHITEOUT}))
    branch.overlays.write("data", "main", header.id, OverlayBatch(changed_names={(1, b"b")}))
    with branch.overlays.snapshot("data", "main") as last:
        assert last is not None
        assert next(last.changed_names()) == (1, b"b", NEW + 1)


def test_discarding_gives_a_new_overlay_and_sweeping_the_room_back(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    many = range(NEW, NEW + SWEPT_ROWS + 10)
    batch = OverlayBatch(
        inodes={ino: row(b"%d" % ino) for ino in many},
        names={(1, b"%d" % ino): ino for ino in many},
        patches={(NEW, 0): PAGE},
        changed_inodes=set(many),
    )
    branch.overlays.write("data", "main", header.id, batch)
    branch.overlays.sweep()
    assert count(branch, "overlay_names") == len(many)
    after = branch.overlays.discard("data", "main")
    assert (after.origin, after.dirty, after.seq) == (FIRST, False, 0)
    with pytest.raises(Conflict):
        branch.overlays.write("data", "main", header.id, batch)
    branch.overlays.write("data", "main", after.id, changed())
    branch.overlays.sweep()
    counts = {name: count(branch, name) for name in OVERLAY_TABLES}
    assert counts == {
        **dict.fromkeys(OVERLAY_TABLES, 0),
        "overlays": 1, "overlay_inodes": 1, "overlay_names": 1, "overlay_changes": 2,
    }  # fmt: skip


def test_a_clean_overlay_is_begun_again(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    branch.overlays.write("data", "main", header.id, changed())
    commit(branch, SECOND, trees={})
    again = branch.overlays.open("data", "main")
    assert again.id != header.id
    assert (again.origin, again.head, again.dirty) == (SECOND, SECOND, False)
    branch.overlays.sweep()
    assert count(branch, "overlay_inodes") == 0


def test_what_was_open_and_unlinked_goes_at_the_next_start(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    batch = changed()
    for ino in range(NEW + 1, NEW + 500):
        batch.inodes[ino] = row(nlink=0, patches=1)
        batch.patches[ino, 0] = PAGE
        batch.orphans[ino] = True
        batch.changed_inodes.add(ino)
    branch.overlays.write("data", "main", header.id, batch)
    assert branch.overlays.open("data", "main").id == header.id
    rows = branch.overlays.rows(header.id)
    assert rows.orphans() == []
    assert rows.inode(NEW) is not None
    assert rows.inode(NEW + 1) is None
    assert count(branch, "overlay_patches") == 0


def test_a_damaged_patch_is_never_served(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    branch.overlays.write("data", "main", header.id, OverlayBatch(patches={(NEW, 0): PAGE}))

    def damage(txn: object) -> None:
        with txn.cursor(branch._env.tables["overlay_patches"]) as cursor:  # type: ignore[attr-defined]
            cursor.first()
            key, value = map(bytes, cursor.item())
            cursor.put(key, value[:-1] + b"\0")

    branch._env.write(damage)
    with pytest.raises(CorruptObject):
        branch.overlays.rows(header.id).patches(NEW, 0, 0)


def test_a_patch_is_a_page(branch: Store) -> None:
    header = branch.overlays.open("data", "main")
    with pytest.raises(ValueError, match="patch"):
        branch.overlays.write("data", "main", header.id, OverlayBatch(patches={(NEW, 0): b"x"}))
    assert branch.overlays.header("data", "main") == header  # nothing of it was written


def test_a_store_of_the_first_release_opens(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.create(path) as store:
        store.refs.add_data_set("data", 1)
        move(store, FIRST, None)

        def drop(txn: object) -> None:
            for name in OVERLAY_TABLES:
                txn.drop(store._env.tables[name], delete=True)  # type: ignore[attr-defined]

        store._env.write(drop)
    with Store.open(path, readonly=True) as store:
        assert store.overlays.header("data", "main") is None
        with store.overlays.snapshot("data", "main") as taken:
            assert taken is None
        assert store.refs.get("data", "main") is not None
    with Store.open(path) as store:
        assert store.overlays.open("data", "main").origin == FIRST
        move(store, SECOND, FIRST)


def test_a_map_that_must_grow_under_a_held_snapshot_is_an_error(branch: Store) -> None:
    branch.overlays.open("data", "main")
    with branch.overlays.snapshot("data", "main"):
        assert branch.refs.get("data", "main") is not None
        with pytest.raises(Conflict, match="grown"):
            branch._env._grow()
    branch._env._grow()
