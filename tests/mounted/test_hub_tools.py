"""Unmodified Unix tools on the hub give what they give on the original."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, a_hub
from tests.support.import_trees import tree_on_disk

pytestmark = pytest.mark.mounted


@pytest.fixture
def hub(tmp_path: Path, source: Path) -> Iterator[Hub]:
    """v1 is the source; in v2 one line of `a/b/text` is another one."""
    with a_hub(tmp_path) as made:
        (source / "a/b/text").write_text("one\n")
        made.import_(source, "v1")
        (source / "a/b/text").write_text("two\n")
        made.import_(source, "v2")
        made.mount()
        yield made


def run(*command: object, cwd: Path | None = None, code: int = 0) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == code, done
    return done.stdout.decode("utf-8", "surrogateescape")


def test_diff_names_the_changed_file_alone(hub: Hub) -> None:
    output = run("diff", "-rq", "--no-dereference", hub["v1"], hub["v2"], code=1)
    assert output.splitlines() == [f"Files {hub['v1']}/a/b/text and {hub['v2']}/a/b/text differ"]
    changed = run("git", "diff", "--no-index", hub["v1"] / "a", hub["v2"] / "a", code=1)
    assert changed.endswith("-one\n+two\n")
    assert changed.count("diff --git") == 1


def test_du_counts_what_is_shared_once(hub: Hub) -> None:
    lines = run("du", "-sc", hub["v1"], hub["v2"]).splitlines()
    first, second, both = (int(line.split()[0]) for line in lines)
    assert first + second == both
    # a/b/text itself, and the root, `a` and `a/b`, which are other directories now.
    assert second == 4 * 4


def test_cp_gives_the_original_back(hub: Hub, source: Path, tmp_path: Path) -> None:
    run("cp", "-a", hub["v2"], tmp_path / "copy")
    assert tree_on_disk(tmp_path / "copy") == tree_on_disk(source)


def test_rsync_gives_the_original_back(hub: Hub, source: Path, tmp_path: Path) -> None:
    # Without the window rsync leaves a time as it is that is right to the second.
    rsync = ("rsync", "-aHAX", "--modify-window=-1")
    run(*rsync, "--sparse", f"{hub['v2']}/", tmp_path / "copy")
    assert tree_on_disk(tmp_path / "copy") == tree_on_disk(source)
    assert run(*rsync, "--dry-run", "--itemize-changes", f"{hub['v2']}/", source) == ""


def test_tar_gives_the_original_back(hub: Hub, source: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    archive = tmp_path / "archive.tar"
    keep = ("--xattrs", "--xattrs-include=*", "--acls")
    run("tar", "-C", hub["v2"], *keep, "--format=pax", "-Scf", archive, ".")
    run("tar", "-C", tmp_path / "copy", *keep, "-xpf", archive)
    # tar keeps no sockets.
    assert tree_on_disk(tmp_path / "copy") == tree_on_disk(source, skip=frozenset([b"socket"]))


def test_find_lists_what_it_lists_in_the_original(hub: Hub, source: Path) -> None:
    form = r"%P %y %m %n %U %G %T@ %l\0"

    def listing(root: Path) -> list[str]:
        files = run("find", root, "!", "-type", "d", "-printf", form)
        directories = run("find", root, "-type", "d", "-printf", r"%P %m %U %G %T@\0")
        return sorted((files + directories).split("\0"))

    assert listing(hub["v2"]) == listing(source)


def test_checksums_hold(hub: Hub, source: Path, tmp_path: Path) -> None:
    names = [p for p in run("find", ".", "-type", "f", "-print0", cwd=source).split("\0") if p]
    sums = run("sha256sum", *names, cwd=source)
    (tmp_path / "sums").write_text(sums, errors="surrogateescape")
    run("sha256sum", "--check", "--quiet", tmp_path / "sums", cwd=hub["v2"])
