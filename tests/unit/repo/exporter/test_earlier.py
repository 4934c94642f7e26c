"""What an export takes from an earlier one is what the version holds, whatever was done to that."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.export_source import ACL, make_source
from tests.support.full_store import import_tree, remove
from tests.support.import_trees import Tree, tree_in_store, tree_on_disk
from vfs.errors import ExportProblem
from vfs.ids import object_id
from vfs.model.entry import Entry
from vfs.repo.exporter import ExportOptions, ExportResult, export_directory
from vfs.repo.exporter.stamp import _BY_ROOT, _BY_USER, read_stamp, write_stamp
from vfs.repo.repository import Repository

XFS_BYTES = 400 << 20  # mkfs.xfs refuses less than 300 MiB; the file has holes
EQUAL = 2_000_000_000_000_000_000  # the time of files that only their content tells apart
STAMP = _BY_ROOT if os.geteuid() == 0 else _BY_USER
EXAMPLES = int(os.environ.get("VFS_TEST_EXAMPLES", "10"))


def make_versions(source: Path) -> Iterator[str]:
    """Make a directory, then change it; yield the tag that each state gets."""
    make_source(source)
    for directory in ("train", "test"):
        (source / directory).mkdir()
        for number in range(5):
            path = source / directory / str(number)
            path.write_bytes(f"{directory} {number}".ljust(9).encode())
            os.utime(path, ns=(EQUAL, EQUAL))
    for number in range(600):
        (source / f"train/many {number:03}").write_bytes(b"%d" % number)
    yield "v1"
    (source / "train/1").write_bytes(b"other 1  ")
    (source / "train/many 300").write_bytes(b"-300")
    (source / "train/many 301").unlink()
    (source / "train/many 301b").write_bytes(b"new")
    (source / "train/2").chmod(0o400)
    os.utime(source / "train/1", ns=(EQUAL, EQUAL))
    (source / "only a hole").unlink()
    (source / "only a hole").symlink_to("train")
    (source / "test").rename(source / "exam")
    yield "v2"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("earlier")
    (base / "source").mkdir()
    with Repository.create(base / "store") as repo:
        repo.create_data_set("data")
        for tag in make_versions(base / "source"):
            import_tree(repo, base / "source", "data", tag=tag)
    return base / "store"


@pytest.fixture
def repo(store: Path) -> Iterator[Repository]:
    with Repository.open(store, readonly=True) as repo:
        yield repo


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system with reflinks."""
    base = tmp_path_factory.mktemp("xfs")
    mkfs = shutil.which("mkfs.xfs") or "/usr/sbin/mkfs.xfs"
    if os.geteuid() or not os.path.exists(mkfs):
        pytest.skip("needs root and xfsprogs")
    with (base / "image").open("wb") as file:
        file.truncate(XFS_BYTES)
    subprocess.run([mkfs, "-q", base / "image"], check=True)
    (base / "mnt").mkdir()
    mount = ["mount", "-o", "loop", base / "image", base / "mnt"]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this kernel can't mount XFS")
    yield base / "mnt"
    subprocess.run(["umount", base / "mnt"], check=True)


@pytest.fixture(params=["link", "clone"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """A directory, and whether files are taken as hard links there."""
    if request.param == "link":
        yield tmp_path, True
        return
    base = request.getfixturevalue("xfs") / tmp_path.name
    base.mkdir()
    yield base, False
    shutil.rmtree(base)


def root_of(repo: Repository, tag: str) -> Entry:
    return repo.commit(repo.resolve("data", tag).commit).root


def export(
    repo: Repository, tag: str, out: Path, old: Path | None = None, **options: bool
) -> ExportResult:
    return export_directory(
        repo,
        root_of(repo, tag),
        out,
        ExportOptions(like=old, **options),  # type: ignore[arg-type]
    )


def export_early(repo: Repository, out: Path) -> None:
    """Export v1, stamped one tick of the clock later: else all of it is too new to rely on."""
    export(repo, "v1", out)
    clock = out.with_name("clock")
    clock.touch()
    begun = clock.stat().st_ctime_ns
    while clock.stat().st_ctime_ns == begun:
        os.utime(clock)
    clock.unlink()
    fd = os.open(out, os.O_RDONLY)
    write_stamp(fd, root_of(repo, "v1").content)
    os.close(fd)


def candidates(repo: Repository, tag: str) -> int:
    """Return how many files can be taken: with content, and one name."""
    tree = tree_in_store(repo, root_of(repo, tag))
    return sum(bool(one.get("size")) and not one["links"] for one in tree.values())


def wanted(repo: Repository, tag: str, base: Path) -> Tree:
    """Return the version as this file system can hold it: XFS may be without ACLs."""
    tree = tree_in_store(repo, root_of(repo, tag))
    with suppress(OSError):
        os.setxattr(base, "system.posix_acl_access", ACL)
        os.removexattr(base, "system.posix_acl_access")
        return tree
    for one in tree.values():
        one["xattrs"] = {k: v for k, v in one["xattrs"].items() if not k.startswith(b"system.")}
    return tree


def test_what_did_not_change_is_taken(repo: Repository, here: tuple[Path, bool]) -> None:
    base, link = here
    export_early(repo, base / "v1")
    before = tree_on_disk(base / "v1")
    result = export(repo, "v2", base / "v2", base / "v1", link=link)
    assert tree_on_disk(base / "v2") == wanted(repo, "v2", base)
    assert tree_on_disk(base / "v1") == before
    # New content: train/1, two of many, all of exam. A hard link has one mode, too: train/2.
    assert result.taken == candidates(repo, "v2") - 3 - 5 - link
    assert result.can_take
    inodes = [(base / version / "train/0").stat().st_ino for version in ("v1", "v2")]
    assert (inodes[0] == inodes[1]) == link


def test_in_place_of_the_old_one(repo: Repository, here: tuple[Path, bool]) -> None:
    base, link = here
    export(repo, "v1", base / "out")
    result = export(repo, "v2", base / "out", base / "out", link=link, replace=True)
    assert result.taken > 600
    assert tree_on_disk(base / "out") == wanted(repo, "v2", base)
    assert os.listdir(base) == ["out"]


def test_what_is_known_to_be_the_same_is_not_read(
    store: Path, here: tuple[Path, bool], tmp_path: Path
) -> None:
    """A later stamp makes a change look like one of the export itself."""
    base, link = here
    with Repository.open(store, readonly=True) as repo:
        export_early(repo, base / "v1")
        rot(base / "v1/train/3")
        tree = root_of(repo, "v1").content
        os.setxattr(base / "v1", STAMP, b"1 %s %d" % (tree.hex().encode(), 2**62))
        export(repo, "v1", base / "trusted", base / "v1", link=link)
        assert (base / "trusted/train/3").read_bytes() == b"rot    3 "
        result = export(repo, "v1", base / "verified", base / "v1", link=link, verify=True)
        assert tree_on_disk(base / "verified") == wanted(repo, "v1", base)
        assert result.taken == candidates(repo, "v1") - 1


def test_content_that_the_store_lost_is_taken(store: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(store, tmp_path / "store"))
    with Repository.open(damaged, readonly=True) as repo:
        export(repo, "v1", tmp_path / "v1")
        whole = tree_in_store(repo, root_of(repo, "v1"))
    remove(damaged, "objects", object_id(b"train 0  "))
    with Repository.open(damaged, readonly=True) as repo:
        export(repo, "v1", tmp_path / "out", tmp_path / "v1", link=True)
    assert tree_on_disk(tmp_path / "out") == whole


def test_a_version_that_is_gone_is_compared(repo: Repository, here: tuple[Path, bool]) -> None:
    base, link = here
    export_early(repo, base / "v1")
    stamp = os.getxattr(base / "v1", STAMP)
    os.setxattr(base / "v1", STAMP, stamp[:2] + b"1" * 64 + stamp[66:])
    result = export(repo, "v2", base / "v2", base / "v1", link=link)
    assert tree_on_disk(base / "v2") == wanted(repo, "v2", base)
    assert result.taken > 600


@pytest.mark.parametrize("value", [b"", b"1", b"2 %s 5", b"1 00 5", b"1 %s x", b"1 %s"])
def test_a_stamp_that_is_none(repo: Repository, tmp_path: Path, value: bytes) -> None:
    export(repo, "v1", tmp_path / "v1")
    fd = os.open(tmp_path / "v1", os.O_RDONLY)
    tree = root_of(repo, "v1").content
    found = read_stamp(fd)
    assert found is not None
    assert found.tree == tree
    os.setxattr(fd, STAMP, value.replace(b"%s", tree.hex().encode()))
    assert read_stamp(fd) is None
    os.close(fd)


# ------------------------------------------------------------------ what may happen to an export


def rot(path: Path) -> None:
    """Change content and nothing else that can be set."""
    before = path.stat()
    path.write_bytes(b"rot".ljust(7) + path.name.encode().ljust(2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    times = [path.stat().st_mtime_ns for path in (one, other, one.parent)]
    third = one.with_name("for a moment")
    one.rename(third)
    other.rename(one)
    third.rename(other)
    for path, time_ns in zip((one, other, one.parent), times, strict=True):
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def make_hole(path: Path) -> None:
    before = path.stat()
    os.truncate(path, 0)
    os.truncate(path, before.st_size)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "other content": lambda old: rot(old / "train/0"),
    "large content": lambda old: make_hole(old / "sparse"),
    "files that were exchanged": lambda old: swap(old / "train/0", old / "train/3"),
    "directories that were exchanged": lambda old: swap(old / "train", old / "test"),
    "mode": lambda old: (old / "train/0").chmod(0o777),
    "owner": lambda old: os.geteuid() or os.chown(old / "train/0", 7, 7),
    "attribute": lambda old: os.setxattr(old / "train/0", "user.new", b"x"),
    "no attribute": lambda old: os.removexattr(old / "small", "user.note"),
    "time": lambda old: os.utime(old / "train/0"),
    "gone": lambda old: (old / "train/0").unlink(),
    "fifo": lambda old: replaced(old / "train/0", os.mkfifo),
    "symlink": lambda old: replaced(old / "train/0", lambda path: path.symlink_to("1")),
    "directory": lambda old: replaced(old / "train/0", Path.mkdir),
    "directory gone": lambda old: shutil.rmtree(old / "train"),
    "one more": lambda old: (old / "train/more").touch(),
    "another name": lambda old: os.link(old / "train/0", old / "train/00"),
}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    names=st.lists(st.sampled_from(sorted(DAMAGES)), min_size=1, max_size=3, unique=True),
    to=st.sampled_from(["v1", "v2"]),
)
def test_an_export_that_was_changed(
    repo: Repository, here: tuple[Path, bool], names: list[str], to: str
) -> None:
    base, link = here
    base = base / str(random.getrandbits(64))
    base.mkdir()
    export_early(repo, base / "v1")
    for name in names:
        with suppress(OSError):  # another one took it away
            DAMAGES[name](base / "v1")
    export(repo, to, base / "out", base / "v1", link=link)
    assert tree_on_disk(base / "out") == wanted(repo, to, base)
    shutil.rmtree(base)


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_each_change(repo: Repository, here: tuple[Path, bool], name: str) -> None:
    base, link = here
    export_early(repo, base / "v1")
    DAMAGES[name](base / "v1")
    result = export(repo, "v1", base / "out", base / "v1", link=link)
    assert tree_on_disk(base / "out") == wanted(repo, "v1", base)
    assert result.taken > 0


def test_any_directory_will_do(repo: Repository, here: tuple[Path, bool]) -> None:
    base, link = here
    export_early(repo, base / "v1")
    subprocess.run(["cp", "-a", base / "v1", base / "copy"], check=True)
    result = export(repo, "v1", base / "out", base / "copy", link=link)
    assert tree_on_disk(base / "out") == wanted(repo, "v1", base)
    assert result.taken == candidates(repo, "v1")


def test_where_nothing_can_be_shared(repo: Repository, xfs: Path, tmp_path: Path) -> None:
    export(repo, "v1", xfs / "other")
    result = export(repo, "v1", tmp_path / "out", xfs / "other")
    assert (result.taken, result.can_take) == (0, False)
    assert tree_on_disk(tmp_path / "out") == tree_in_store(repo, root_of(repo, "v1"))
    shutil.rmtree(xfs / "other")


def test_an_old_one_that_is_not_there(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(ExportProblem, match="can't be read"):
        export(repo, "v1", tmp_path / "out", tmp_path / "nothing")
    assert os.listdir(tmp_path) == []
