"""Merging into, and restoring in, branches that are mounted in a hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.branches import happens_soon, is_served
from tests.support.hub import Hub, a_hub

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A mounted hub: v1, and the branches main and exp, which has one more file."""
    source = tmp_path / "source"
    (source / "labels").mkdir(parents=True)
    (source / "labels/a").write_text("a in v1")
    (source / "labels/b").write_text("b in v1")
    (source / "big").write_bytes(os.urandom(1 << 20))
    with a_hub(tmp_path) as made:
        made.import_(source, "v1")
        made.vfs("branch", "data", "exp")
        made.mount()
        (made["exp"] / "new").write_text("from exp")
        made.vfs("commit", "data@exp", "-m", "new")
        yield made


def test_a_merge_shows_in_a_mounted_branch_and_in_the_hub(hub: Hub) -> None:
    (hub["main"] / "labels/a").rename(hub["main"] / "labels/z")
    hub.vfs("commit", "data@main", "-m", "renamed")
    (hub["exp"] / "labels/a").write_text("a in exp")
    hub.vfs("commit", "data@exp", "-m", "changed")
    hub.vfs("merge", "data@exp", "into", "data@main")
    happens_soon(lambda: (hub["main"] / "new").exists() and is_served(hub, "main"))
    for version in ("main", "main~0"):
        assert (hub[version] / "new").read_text() == "from exp"
        assert (hub[version] / "labels/z").read_text() == "a in exp"
        assert sorted(os.listdir(hub[version] / "labels")) == ["b", "z"]
    assert (hub["main^2"] / "labels/a").read_text() == "a in exp"
    assert not (hub["main^1"] / "new").exists()
    (hub["main"] / "more").touch()  # and it is written to


def test_changes_that_are_not_committed_stay(hub: Hub) -> None:
    (hub["main"] / "labels/a").write_text("changed")
    for command in (
        ("merge", "data@exp", "into", "data@main"),
        ("cherry-pick", "data@exp", "--on", "data@main"),
        ("revert", "data@main"),
        ("restore", "data@exp", "--into", "data@main", "-m", "all of exp"),
        ("branch", "data", "main", "--move-to", "exp"),
        ("branch", "data", "--rename", "main", "other"),
    ):
        done = hub.vfs(*command, check=False)
        assert (done.returncode, "not committed" in done.stderr) == (1, True), command
        assert "vfs commit data@main" in done.stderr
    assert (hub["main"] / "labels/a").read_text() == "changed"


def test_what_is_restored_in_a_mounted_branch_is_a_change_of_it(hub: Hub) -> None:
    main = hub["main"]
    (main / "labels/a").write_text("again")
    (main / "labels/c").write_text("in no version")
    (main / "big").unlink()
    hub.vfs("commit", "data@main", "-m", "second")
    (main / "labels/d").write_text("not committed")
    before = hub.store.joinpath("data.mdb").stat().st_blocks
    hub.vfs("restore", "data@v1:labels", "data@v1:big", "--into", "data@main")
    assert sorted(os.listdir(main / "labels")) == ["a", "b"]
    assert (main / "labels/a").read_text() == "a in v1"
    assert (main / "big").read_bytes() == (hub["v1"] / "big").read_bytes()
    assert (hub.store.joinpath("data.mdb").stat().st_blocks - before) * 512 < 1 << 20
    status = hub.vfs("status", "data@main").stdout.splitlines()
    assert status == ["A  big", "M  labels/a", "D  labels/c"]
    hub.vfs("commit", "data@main", "-m", "as in v1")
    assert hub.vfs("diff", "data@v1", "data@main").stdout == ""


def test_attributes_of_directories_are_restored_without_touching_what_is_in_them(
    hub: Hub,
) -> None:
    main = hub["main"]
    (main / "labels").chmod(0o700)
    os.setxattr(main / "labels", "user.note", b"private")
    hub.vfs("commit", "data@main", "-m", "private")
    (main / "labels/new").write_text("kept")
    hub.vfs("commit", "data@main", "-m", "more")
    with (main / "labels/b").open() as opened:
        hub.vfs("restore", "data@v1", "--into", "data@main")
        assert opened.read() == "b in v1"
    assert (main / "labels").stat().st_mode & 0o777 != 0o700
    assert os.listxattr(main / "labels") == []
    assert not (main / "labels/new").exists()
    hub.vfs("commit", "data@main", "-m", "as in v1")
    assert hub.vfs("diff", "data@v1", "data@main").stdout == ""


def test_restoring_in_another_place_makes_the_way_to_it(hub: Hub) -> None:
    hub.vfs("restore", "data@v1:labels/a", "--into", "data@main:deep/er/copy")
    assert (hub["main"] / "deep/er/copy").read_text() == "a in v1"
    missing = hub.vfs("restore", "data@v1:nothing", "--into", "data@main", check=False)
    assert missing.returncode == 1
    assert "no 'nothing'" in missing.stderr


def test_a_renamed_branch_is_there_under_its_new_name(hub: Hub) -> None:
    hub.vfs("branch", "data", "--rename", "exp", "trial")
    happens_soon(lambda: is_served(hub, "trial") and not hub["exp"].exists())
    assert (hub["trial"] / "new").read_text() == "from exp"
    (hub["trial"] / "new").write_text("more")
    hub.vfs("branch", "data", "main", "--move-to", "trial")
    happens_soon((hub["main"] / "new").exists)
    assert (hub["main"] / "new").read_text() == "from exp"
