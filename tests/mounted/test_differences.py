"""`data@v1..v3` in the hub: directories to copy what changed from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, a_hub
from tests.support.import_trees import tree_on_disk
from vfs.repo.fsck import check_store

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    """Three versions: of `v1..v3` something is added, changed, removed, renamed, and made other."""
    with a_hub(tmp_path) as made:
        (source / "a/gone").write_text("gone\n")
        (source / "type").write_text("a file\n")
        (source / "whole/of/it").mkdir(parents=True)
        (source / "whole/of/file").write_text("whole\n")
        made.import_(source, "v1")
        (source / "a/file").write_text("other\n")
        made.import_(source, "v2")
        (source / "a/gone").unlink()
        (source / "type").unlink()
        (source / "type").mkdir()
        (source / "type/below").write_text("in a directory\n")
        (source / "whole").rename(source / "renamed")
        (source / "a/b/c").chmod(0o700)
        made.import_(source, "v3")
        yield made


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def test_what_is_in_them(hub: Hub) -> None:
    hub.mount()
    top = hub["v1..v3"]
    assert sorted(os.listdir(top)) == ["added", "deleted", "modified"]
    renamed = {"renamed", "renamed/of", "renamed/of/it", "renamed/of/file"}
    assert below(top / "added") == {"type", "type/below", *renamed}
    whole = {"whole", "whole/of", "whole/of/it", "whole/of/file"}
    assert below(top / "deleted") == {"type", "a", "a/gone", *whole}
    assert below(top / "modified") == {"a", "a/file", "a/b", "a/b/c", "a/b/hard"}
    assert (top / "modified/a/file").read_text() == "other\n"
    inode = (top / "modified/a/file").stat().st_ino
    assert inode == (hub["v3"] / "a/file").stat().st_ino
    assert not any(".." in name for name in os.listdir(hub.mountpoint))
    # Any two revisions, also the other way round; a name that was made is found by all workers.
    assert below(hub["v3..v1"] / "added") == below(top / "deleted")
    assert below(hub["main~2.."] / "added") == below(top / "added")
    assert below(hub["v2..v2"]) == {"added", "deleted", "modified"}
    assert {hub["v1..v3"].stat().st_ino for _ in range(20)} == {top.stat().st_ino}
    for name in ("v1..v9", "v1...v3", "..nothing", "v1..v2..v3"):
        assert not hub[name].exists()
    assert os.getxattr(top, "user.vfs.data_set") == b"data"
    assert check_store(hub.store, data=True).damages == []


def test_rsync_makes_the_new_version_of_the_old_one(hub: Hub, tmp_path: Path, source: Path) -> None:
    hub.mount()
    copy, top = tmp_path / "copy", hub["v1..v3"]
    rsync = ("rsync", "-aHAX", "--modify-window=-1")
    run(*rsync, f"{hub['v1']}/", copy)
    deleted = sorted((path.relative_to(top / "deleted") for path in (top / "deleted").rglob("*")),
                     reverse=True)  # fmt: skip
    for path in deleted:
        there = copy / path
        if not there.is_dir() or there.is_symlink():
            there.unlink()
        elif not os.listdir(there):
            there.rmdir()
    for side in ("added", "modified"):
        run(*rsync, f"{top / side}/", copy)
    assert tree_on_disk(copy) == tree_on_disk(source)


def test_a_mount_that_may_not_write_shows_those_that_were_made(hub: Hub, tmp_path: Path) -> None:
    hub.mount()
    made = sorted(below(hub["v1..v2"]))
    hub.unmount()
    hub.mount("--read-only")
    assert sorted(below(hub["v1..v2"])) == made
    assert not hub["v1..v3"].exists()
    assert "is not shown: this mount is read-only" in hub.log
