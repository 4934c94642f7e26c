"""Commits of branches: all of what changed, once, and what an import would have made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.overlay_model import ModelBranch, assert_committed
from tests.support.trees import MTIME_NS, Tree
from tests.support.versions import commit
from vfs.errors import Conflict, CorruptObject, NotFound
from vfs.model.entry import Extra
from vfs.model.names import parse_target
from vfs.model.overlay import ROOT_INO
from vfs.repo import branches
from vfs.repo.branches import commit_overlay, delete_branch
from vfs.repo.branchstatus import overlay_status
from vfs.repo.branchtrees import BranchTrees
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import CommitResult, Repository
from vfs.store.overlaybatch import OverlayBatch
from vfs.store.store import Store

FILE = stat.S_IFREG | 0o644
DIR = stat.S_IFDIR | 0o755
BASE: Tree = {b"dir": {b"deep": {b"f": b"data"}, b"g": b"more"}, b"h": b"x" * 300_000}


def finish(repo: Repository, **options: object) -> CommitResult:
    return commit_overlay(repo, "data", "main", message="m", author="a", **options)  # type: ignore[arg-type]


def status(repo: Repository) -> list[tuple[str, bytes]]:
    return [(change.letter, change.path) for change in overlay_status(repo, "data", "main")]


@pytest.fixture
def branch(repo: Repository) -> ModelBranch:
    commit(repo, BASE)
    return ModelBranch(repo)


def test_the_first_version_can_come_from_a_branch(repo: Repository) -> None:
    branch = ModelBranch(repo)
    with pytest.raises(NotFound, match="nothing to commit"):
        finish(repo)
    directory = branch.make((ROOT_INO, b"dir"), DIR)
    branch.make((directory, b"f"), FILE, b"data")
    branch.flush()
    assert status(repo) == [("A", b"dir"), ("A", b"dir/f")]
    done = finish(repo, provenance={"command": ["vfs", "commit"]})
    assert done.changed
    record = repo.commit(done.commit)
    assert (record.parents, record.author, record.message) == ((), "a", "m")
    assert record.provenance["command"] == ["vfs", "commit"]
    assert record.provenance["kind"] == "commit"
    assert_committed(repo, branch)
    (line,) = repo.reflog("data", "main")
    assert line.why == "commit: m"


def test_the_version_is_the_one_an_import_makes(repo: Repository, tmp_path: Path) -> None:
    """Down to the ids, hard links included."""
    source = tmp_path / "source"
    branch = ModelBranch(repo)
    for path, data in (("b/x", b"one"), ("b/y", b"two"), ("a/z", b"3" * 10_000), ("c", b"")):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    os.link(source / "b/x", source / "a/x")
    os.link(source / "b/y", source / "b0")
    (source / "link").symlink_to("b/x")
    os.mkfifo(source / "fifo")
    made: dict[tuple[int, int], int] = {}
    places = {str(source): ROOT_INO}
    for top, directories, files in os.walk(source):
        for name in (*directories, *files):
            path = f"{top}/{name}"
            st = os.lstat(path)
            key = st.st_dev, st.st_ino
            place = places[top], name.encode()
            data = Path(path).read_bytes() if stat.S_ISREG(st.st_mode) else b""
            if stat.S_ISLNK(st.st_mode):
                data = os.fsencode(os.readlink(path))
            if key in made:
                branch.link(made[key], place)
            else:
                made[key] = places[path] = branch.make(place, st.st_mode, data)
    for path in (source, *source.rglob("*")):
        os.utime(path, ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    owner = {"uid": os.getuid(), "gid": os.getgid(), "mtime_ns": MTIME_NS}
    for ino in (*made.values(), ROOT_INO):
        branch.change(ino, **owner)
    branch.change(ROOT_INO, mode=os.lstat(source).st_mode)
    branch.flush()
    ours = finish(repo)
    repo.create_data_set("imported")
    theirs = import_source(repo, source, parse_target("imported"), ImportOptions(message="m"))
    assert repo.commit(ours.commit).root == repo.commit(theirs.commit).root


def test_nothing_changed_is_no_version(repo: Repository, branch: ModelBranch) -> None:
    head = repo.resolve("data").commit
    assert finish(repo) == CommitResult(head, changed=False, branch="main")
    ino = branch.at((b"dir", b"g"))
    branch.change(ino, mode=stat.S_IFREG | 0o600)
    branch.change(ino, mode=FILE)
    branch.flush()
    assert status(repo) == []
    assert finish(repo) == CommitResult(head, changed=False, branch="main")
    header = repo.store.overlays.header("data", "main")
    assert header is not None
    assert not header.dirty  # so an import may follow
    commit(repo, {b"other": b"x"})


def test_a_claim_without_changes_ends_with_a_commit(repo: Repository, branch: ModelBranch) -> None:
    head = repo.resolve("data").commit
    repo.store.overlays.claim("data", "main", branch.header.id)
    with pytest.raises(Conflict):
        commit(repo, {})
    assert finish(repo) == CommitResult(head, changed=False, branch="main")
    commit(repo, {})


def test_an_empty_version_where_it_is_asked_for(repo: Repository, branch: ModelBranch) -> None:
    head = repo.resolve("data").commit
    first = finish(repo, allow_empty=True)
    assert first.changed
    assert repo.commit(first.commit).root == repo.commit(head).root
    assert repo.commit(first.commit).parents == (head,)
    branch.change(branch.at((b"h",)), mode=stat.S_IFREG | 0o600)
    branch.flush()  # whoever has it mounted goes on
    assert finish(repo, allow_empty=True).changed
    repo.create_data_set("empty")
    done = commit_overlay(repo, "empty", "main", message="m", author="a", allow_empty=True)
    assert list(repo.entries(repo.commit(done.commit).root.content)) == []


def test_what_is_not_there_is_not_committed_to(repo: Repository, branch: ModelBranch) -> None:
    for data_set, name in (("missing", "main"), ("data", "other")):
        with pytest.raises(NotFound):
            commit_overlay(repo, data_set, name, message="m", author="a")
        with pytest.raises(NotFound):
            overlay_status(repo, data_set, name)


def test_an_import_into_a_branch_with_changes_is_refused(
    repo: Repository, branch: ModelBranch, tmp_path: Path
) -> None:
    branch.make((ROOT_INO, b"new"), FILE)
    branch.flush()
    for refused in (
        lambda: commit(repo, {}),
        lambda: import_source(repo, tmp_path, parse_target("data"), ImportOptions(message="m")),
        lambda: repo.delete_ref("data", "main", kind="branch"),
        lambda: delete_branch(repo, "data", "main"),
    ):
        with pytest.raises(Conflict, match="not committed") as caught:
            refused()
        assert "vfs commit data@main" in caught.value.hint
    delete_branch(repo, "data", "main", force=True)
    assert repo.refs("data") == []


def test_a_branch_that_is_as_committed_is_deleted(repo: Repository, branch: ModelBranch) -> None:
    branch.write(branch.at((b"h",)), b"x" * 300_000)
    branch.change(branch.at((b"h",)), mtime_ns=MTIME_NS)
    repo.store.overlays.claim("data", "main", branch.header.id)
    delete_branch(repo, "data", "main")
    with pytest.raises(NotFound):
        delete_branch(repo, "data", "main")


def test_times_and_parents(repo: Repository, branch: ModelBranch, monkeypatch: object) -> None:
    monkeypatch.setattr(branches, "now_ns", lambda: 5)  # type: ignore[attr-defined]
    old = repo.resolve("data").commit
    branch.write(branch.at((b"h",)), b"new")
    branch.flush()
    done = finish(repo)
    record = repo.commit(done.commit)
    assert record.parents == (old,)
    assert record.time_ns == repo.commit(old).time_ns + 1


def test_a_directory_that_moved_is_not_read(
    repo: Repository, branch: ModelBranch, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repo.entry_at(repo.commit(repo.resolve("data").commit).root, (b"dir",))
    branch.rename((ROOT_INO, b"dir"), (ROOT_INO, b"moved"))
    branch.flush()
    assert status(repo) == [("R", b"moved")]
    trees = []
    make = BranchTrees._make

    def counted(self: BranchTrees, directory: int, names: set[bytes]) -> None:
        trees.append(directory)
        make(self, directory, names)

    monkeypatch.setattr(BranchTrees, "_make", counted)
    finish(repo)
    assert trees == [ROOT_INO]
    root = repo.commit(repo.resolve("data").commit).root
    assert repo.entry_at(root, (b"moved",)).content == before.content
    assert_committed(repo, branch)


def test_patches_are_put_together_and_stay(repo: Repository, branch: ModelBranch) -> None:
    ino = branch.at((b"h",))
    data = b"x" * 100_000 + b"patch" + b"x" * 50_000
    branch.write(ino, data)
    branch.flush(patch=True)
    row = branch.inodes[ino].stored
    assert row is not None
    assert row.patches
    finish(repo)
    assert_committed(repo, branch)
    assert repo.store.overlays.rows(branch.header.id).inode(ino) == row
    branch.write(ino, data[:90_000] + b"y" * 100_000)
    branch.flush(patch=True)
    assert status(repo) == [("M", b"h")]
    finish(repo)
    assert_committed(repo, branch)


def test_patches_that_are_obsolete_do_not_count(repo: Repository, branch: ModelBranch) -> None:
    """A serving process leaves them for a while, for those who still read the old state."""
    ino = branch.at((b"h",))
    branch.write(ino, b"y" + b"x" * 99_999)
    branch.flush(patch=True)
    row = branch.inodes[ino].stored
    assert row is not None
    branch.inodes[ino].stored = row._replace(patches=0)
    branch.inodes[ino].data = b"x" * 100_000
    batch = OverlayBatch(inodes={ino: row._replace(patches=0)}, changed_inodes={ino})
    repo.store.overlays.write("data", "main", branch.header.id, batch)
    finish(repo)
    assert_committed(repo, branch)


def test_a_copy_of_links_where_the_originals_were(repo: Repository) -> None:
    """`mv x y; cp -a y x`: equal in everything, and still two inodes."""
    branch = ModelBranch(repo)
    x = branch.make((ROOT_INO, b"x"), DIR)
    ino = branch.make((x, b"a"), FILE, b"data")
    branch.link(ino, (x, b"b"))
    branch.change(ino, mtime_ns=MTIME_NS)
    branch.flush()
    finish(repo)
    for again in (False, True):
        if again:
            branch = ModelBranch(repo)
        name = b"y%d" % again
        branch.rename((ROOT_INO, b"x"), (ROOT_INO, name))
        x = branch.make((ROOT_INO, b"x"), DIR)
        ino = branch.make((x, b"a"), FILE, b"data")
        branch.link(ino, (x, b"b"))
        branch.change(ino, mtime_ns=MTIME_NS)
        branch.flush()
        finish(repo)
        assert_committed(repo, branch)
    assert_committed(repo, ModelBranch(repo))
    root = repo.commit(repo.resolve("data").commit).root
    groups = set()
    for top in (b"x", b"y0", b"y1"):
        for name in (b"a", b"b"):
            link = Extra.decode(repo.entry_at(root, (top, name)).extra).link
            assert link is not None
            groups.add((top, link.group))
    assert len(groups) == len({group for _, group in groups}) == 3


def test_a_row_that_is_damaged_stops_the_commit(repo: Repository, branch: ModelBranch) -> None:
    head = repo.resolve("data").commit
    ino = branch.at((b"h",))
    branch.write(ino, b"x" * 10_000)
    branch.flush(patch=True)

    def damage(txn: object) -> None:
        with txn.cursor(repo.store._env.tables["overlay_inodes"]) as cursor:  # type: ignore[attr-defined]
            cursor.last()
            cursor.put(bytes(cursor.key()), bytes(cursor.value())[:-1])

    repo.store._env.write(damage)
    with pytest.raises(CorruptObject):
        finish(repo)
    assert repo.resolve("data").commit == head


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A store whose branch has changes; the store is closed."""
    path = tmp_path / "other"
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        commit(repo, BASE)
        branch = ModelBranch(repo)
        branch.write(branch.at((b"h",)), b"new")
        branch.make((ROOT_INO, b"new"), FILE, b"new")
        branch.flush()
    return path


def test_a_commit_that_lost_a_race_takes_what_is_left(
    changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Repository.open(changed) as repo:
        make = BranchTrees.make
        rivals = []

        def slow(self: BranchTrees) -> object:
            if not rivals:
                rivals.append(None)
                rivals.append(finish(repo))
            return make(self)

        monkeypatch.setattr(BranchTrees, "make", slow)
        done = finish(repo)
        assert rivals[1] is not None
        assert rivals[1].changed
        assert done == CommitResult(rivals[1].commit, changed=False, branch="main")
        assert len(list(repo.log("data"))) == 2


def test_status_reads_a_store_that_is_opened_to_be_read(changed: Path) -> None:
    with Repository(Store.open(changed, readonly=True)) as repo:
        assert status(repo) == [("M", b"h"), ("A", b"new")]
