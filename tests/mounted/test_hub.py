"""The hub, seen through the kernel: what it shows, under which names and numbers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, a_hub
from tests.support.import_trees import tree_on_disk
from tests.support.mounting import wait_until

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    """v1 is the source, v2 differs in `a/b/new` alone."""
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        (source / "a/b/new").write_bytes(b"new")
        made.import_(source, "v2")
        yield made


def test_a_version_is_what_was_imported(hub: Hub, source: Path) -> None:
    hub.mount()
    assert tree_on_disk(hub["v2"]) == tree_on_disk(source)
    assert not (hub["v1"] / "a/b/new").exists()


def test_holes_take_no_blocks(hub: Hub) -> None:
    hub.mount()
    assert (hub["v1"] / "sparse").stat().st_blocks < 2048


def test_equal_entries_have_equal_numbers_in_all_versions(hub: Hub) -> None:
    hub.mount("--read-only")
    for name in ("large", "other", "empty", "a/file", "a/b/c", "fifo"):
        assert _facts(hub["v1"] / name) == _facts(hub["v2"] / name)
    for changed in ("", "a", "a/b"):
        assert _number(hub["v1"] / changed) != _number(hub["v2"] / changed)
    assert _number(hub["v2"]) != _number(hub["main"])  # a root has a number of its own
    assert _facts(hub["v2"] / "a") == _facts(hub["main"] / "a")


def test_numbers_survive_a_remount(hub: Hub) -> None:
    hub.mount()
    before = _numbers(hub.mountpoint)
    hub.unmount()
    hub.mount("--workers", 1)
    assert _numbers(hub.mountpoint) == before


def test_hard_links_are_one_inode_and_equal_files_are_counted_apart(hub: Hub) -> None:
    hub.mount()
    one, two = (hub["v1"] / "a/file").stat(), (hub["v1"] / "a/b/hard").stat()
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    assert (hub["v1"] / "other").stat().st_nlink == 1


def test_names_lead_to_revisions(hub: Hub) -> None:
    hub.mount()
    top = hub.mountpoint
    assert sorted(os.listdir(top)) == ["data@main", "data@v1", "data@v2"]
    latest = str((top / "data@latest").readlink())
    assert len(latest) == len("data@") + 64
    assert str((top / f"data@{latest[5:13]}").readlink()) == latest
    assert str((top / "data@{2999-01-01}").readlink()) == latest
    assert str((top / "data@main~0").readlink()) == latest
    assert str((top / "data").readlink()) == "data@main"
    assert (top / latest / "a/b/new").read_bytes() == b"new"
    assert not (top / "data@main~1/a/b/new").exists()
    assert (top / "data@main~1/other").read_bytes() == b"hi\n"


@pytest.mark.parametrize(
    "name",
    [
        "dta@v1",
        "data@",
        "data@v9",
        "data@main~9",
        "data@{1999-01-01}",
        "@",
        "data@v1@v2",
        "x" * 255,
    ],
)
def test_other_names_are_not_there(hub: Hub, name: str) -> None:
    hub.mount()
    assert not (hub.mountpoint / name).exists()
    assert not (hub.mountpoint / os.fsdecode(b"data@\xff")).exists()
    with pytest.raises(OSError, match="too long"):
        os.lstat(hub.mountpoint / ("x" * 256))


def test_new_versions_show_without_a_remount(hub: Hub, source: Path) -> None:
    hub.mount("--read-only")
    assert not hub["v3"].exists()
    old_root = _number(hub["main"])
    held = os.open(hub["main"], os.O_RDONLY)
    try:
        (source / "third").write_bytes(b"3")
        hub.import_(source, "v3")
        wait_until((hub["v3"] / "third").exists)
        wait_until((hub["main"] / "third").exists)
        assert _number(hub["main"]) != old_root
        # Who was in the old version stays in it.
        assert "third" not in os.listdir(held)
        assert "other" in os.listdir(held)
    finally:
        os.close(held)
    hub.vfs("tag", "data", "v3", "--delete")
    wait_until(lambda: not hub["v3"].exists())


_WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda v: (v / "fresh").touch(),
    "write": lambda v: (v / "other").open("r+b"),
    "append": lambda v: (v / "other").open("ab"),
    "truncate": lambda v: os.truncate(v / "other", 0),
    "mkdir": lambda v: (v / "fresh").mkdir(),
    "rmdir": lambda v: (v / "empty").rmdir(),
    "unlink": lambda v: (v / "other").unlink(),
    "rename": lambda v: (v / "other").rename(v / "fresh"),
    "link": lambda v: (v / "fresh").hardlink_to(v / "other"),
    "symlink": lambda v: (v / "fresh").symlink_to("other"),
    "mkfifo": lambda v: os.mkfifo(v / "fresh"),
    "chmod": lambda v: (v / "other").chmod(0o600),
    "chown": lambda v: os.chown(v / "other", 5, 5),
    "utime": lambda v: os.utime(v / "other"),
    "setxattr": lambda v: os.setxattr(v / "other", "user.x", b"y"),
    "removexattr": lambda v: os.removexattr(v / "large", "user.note"),
}


@pytest.mark.parametrize("options", [(), ("--read-only",)])
@pytest.mark.parametrize("what", _WRITES)
def test_every_write_is_refused(hub: Hub, what: str, options: tuple[str, ...]) -> None:
    hub.mount(*options)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
        _WRITES[what](hub["v1"])
    assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError) as caught:  # noqa: PT011
        (hub.mountpoint / "fresh").touch()
    assert caught.value.errno == errno.EROFS


def test_nothing_is_made_in_a_read_only_hub(hub: Hub) -> None:
    hub.mount("--read-only")
    for name in ("fresh", "data@fresh", "data@main/fresh"):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
            (hub.mountpoint / name).mkdir()
        assert caught.value.errno == errno.EROFS
    assert os.statvfs(hub.mountpoint).f_flag & os.ST_RDONLY
    assert os.statvfs(hub["main"]).f_flag & os.ST_RDONLY


def test_statfs_tells_of_the_disk_that_holds_the_store(hub: Hub) -> None:
    hub.mount()
    shown, disk = os.statvfs(hub.mountpoint), os.statvfs(hub.store)
    assert shown.f_blocks * shown.f_frsize == disk.f_blocks * disk.f_frsize
    assert shown.f_namemax == 255


def test_one_revision_can_be_mounted_alone(hub: Hub, source: Path) -> None:
    hub.mount("data@v2")
    assert tree_on_disk(hub.mountpoint) == tree_on_disk(source)
    assert (hub.mountpoint / "a/..").samefile(hub.mountpoint)


def test_a_listing_can_be_gone_on_with(hub: Hub) -> None:
    hub.mount()
    with os.scandir(hub["v1"]) as listing:
        first = next(listing).name
        rest = [item.name for item in listing]
    assert sorted([first, *rest]) == sorted(os.listdir(hub["v1"]))


def test_two_versions_share_what_is_cached_of_a_file(hub: Hub) -> None:
    hub.mount()
    with (hub["v1"] / "large").open("rb") as one, (hub["v2"] / "large").open("rb") as two:
        assert os.fstat(one.fileno()).st_ino == os.fstat(two.fileno()).st_ino
        assert one.read() == two.read()


def _facts(path: Path) -> os.stat_result:
    """Return all that stat tells but for the time of access, which tools do not compare."""
    return os.lstat(path)


def _number(path: Path) -> int:
    return os.lstat(path).st_ino


def _numbers(top: Path) -> dict[str, int]:
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            found[path] = os.lstat(path).st_ino
    return found
