"""Attributes that tell of the past: read by name, and left alone by what copies attributes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tests.support.hub import Hub, a_hub

pytestmark = pytest.mark.mounted
BIG = b"".join(b"line %d\n" % number for number in range(80_000))  # several chunks


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Version v1, and v2 in which `new` is new and `changed` another."""
    directory = tmp_path_factory.mktemp("past")
    source = directory / "source"
    (source / "dir/deep").mkdir(parents=True)
    (source / "old").write_bytes(b"old")
    (source / "big").write_bytes(BIG)
    (source / "dir/deep/file").write_bytes(b"deep")
    (source / "changed").write_bytes(b"1")
    os.setxattr(source / "old", "user.own", b"kept")
    os.setxattr(source / "old", "user.vfs.commit", b"from elsewhere")
    (source / "linked").hardlink_to(source / "old")
    with a_hub(directory) as hub:
        hub.import_(source, "v1")
        (source / "changed").write_bytes(b"22")
        (source / "new").write_bytes(b"new")
        hub.import_(source, "v2")
        hub.mount()
        yield hub


def past(path: Path, name: str) -> str:
    try:
        return os.getxattr(path, f"user.vfs.{name}").decode()
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return "none"


def commit_of(hub: Hub, revision: str) -> str:
    text = hub.vfs("log", f"data@{revision}", "-n", "1", "--json").stdout
    return str(json.loads(text.splitlines()[0])["commit"])


def test_what_a_version_says_of_its_directories(hub: Hub) -> None:
    for version in ("v1", "v2"):
        commit = commit_of(hub, version)
        for path in (hub[version], hub[version] / "dir", hub[version] / "dir/deep"):
            assert past(path, "commit") == commit
            assert past(path, "data_set") == "data"
            assert past(path, "revision") == f"data@{version}"
            assert json.loads(past(path, "provenance"))["kind"] == "import"
            assert past(path, "blake3") == "none"
    assert past(hub["v2"] / "dir/deep", "introduced").startswith(commit_of(hub, "v1") + " 20")
    assert past(hub["v2"], "introduced").startswith(commit_of(hub, "v2"))


@pytest.mark.parametrize(
    ("name", "version"),
    [("old", "v1"), ("linked", "v1"), ("big", "v1"), ("dir/deep/file", "v1"), ("changed", "v2"),
     ("new", "v2")],
)  # fmt: skip
def test_a_file_names_the_commit_that_brought_it(hub: Hub, name: str, version: str) -> None:
    path, commit = hub["v2"] / name, commit_of(hub, version)
    assert past(path, "commit") == commit
    assert past(path, "revision") == f"data@{commit}"
    assert past(path, "introduced").startswith(f"{commit} 20")
    assert past(path, "introduced").endswith(" A Tester")
    assert past(path, "blake3") == blake3(path.read_bytes()).hexdigest()
    assert past(path, "nothing") == "none"


def test_one_version_alone_speaks_of_itself(hub: Hub, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    hub.vfs("mount", "data@v2", alone)
    try:
        for path in (alone, alone / "dir", alone / "old"):
            assert past(path, "commit") == commit_of(hub, "v2")
            assert past(path, "revision") == "data@v2"
        assert past(alone / "old", "introduced").startswith(commit_of(hub, "v1"))
        assert past(alone / "dir", "introduced").startswith(commit_of(hub, "v1"))
    finally:
        hub.vfs("umount", alone)


def test_nothing_of_it_is_listed_or_copied(hub: Hub, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", hub["v2"], tmp_path / "cp"], check=True, timeout=60)
    subprocess.run(["rsync", "-aX", f"{hub['v2']}/", tmp_path / "rsync"], check=True, timeout=60)
    for top in (hub["v2"], hub["main"], tmp_path / "cp", tmp_path / "rsync"):
        assert os.listxattr(top / "old") == ["user.own"]
        assert os.listxattr(top / "dir") == []
    assert past(tmp_path / "cp/old", "commit") == "none"


def refused(path: Path) -> list[int | None]:
    numbers = []
    for change in (
        lambda: os.setxattr(path, "user.vfs.commit", b"x"),
        lambda: os.removexattr(path, "user.vfs.commit"),
    ):
        with pytest.raises(OSError, match="Errno") as caught:
            change()
        numbers.append(caught.value.errno)
    return numbers


def test_nobody_writes_it(hub: Hub) -> None:
    assert refused(hub["v2"] / "old") == [errno.EROFS] * 2
    assert refused(hub["main"] / "old") == [errno.EPERM] * 2
    assert refused(hub["main"]) == [errno.EPERM] * 2


def test_on_a_branch_what_is_as_committed_has_a_past(hub: Hub) -> None:
    hub.vfs("branch", "data", "trial")
    branch, head = hub["trial"], commit_of(hub, "v2")
    for name in ("old", "linked", "big", "dir", "dir/deep/file", "."):
        assert past(branch / name, "commit") == head
        assert past(branch / name, "revision") == "data@trial"
    assert past(branch / "old", "introduced").startswith(commit_of(hub, "v1"))
    assert past(branch / "changed", "introduced").startswith(head)
    assert past(branch / "big", "blake3") == blake3(BIG).hexdigest()

    with (branch / "big").open("r+b") as file:
        file.write(b"other")
    (branch / "dir/deep/file").rename(branch / "dir/deep/moved")
    shutil.copyfile(branch / "old", branch / "copy")
    (branch / "old").chmod(0o600)  # `linked` is the same file
    for name in ("big", "dir/deep/moved", "copy", "old", "linked", "dir/deep"):
        assert past(branch / name, "revision") == "data@trial"
        for what in ("commit", "introduced", "provenance", "blake3"):
            assert past(branch / name, what) == "none", (name, what)
    assert past(branch / "dir", "commit") == past(branch / "changed", "commit") == head

    hub.vfs("commit", "data@trial", "-m", "all of it")
    new = commit_of(hub, "trial")
    assert new != head
    for name in ("big", "dir/deep/moved", "copy", "old", "linked", "dir/deep", "dir"):
        assert past(branch / name, "commit") == new
        if name != "dir":
            assert past(branch / name, "introduced").startswith(new)
    assert past(branch / "big", "blake3") == blake3(b"other" + BIG[5:]).hexdigest()
    assert json.loads(past(branch / "big", "provenance"))["kind"] == "commit"
