"""merge, cherry-pick, revert, restore, and branches that are renamed and moved, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import FIRST, Run, Tree, build
from vfs.repo.repository import Repository


def put(store: Path, branch: str, tree: Tree) -> None:
    with Repository.open(store) as repo, repo.store.ingest() as ingest:
        root = build(ingest, b"", tree)
        repo.commit_root("data", branch, lambda _: root, ingest=ingest, message=branch, author="me")


@pytest.fixture
def parted(new_store: Path, change: Run) -> Path:
    """The branches main (v2) and exp (from v1); both changed README."""
    assert change("branch", "data", "exp", "--from", "v1").exit_code == 0
    put(new_store, "exp", {**FIRST, b"README": b"exp\n", b"sub": {b"a": b"exp"}})
    return new_store


def test_conflicts_are_listed_and_nothing_is_done(parted: Path, change: Run) -> None:
    before = change("ls", "data", "--json").stdout
    done = change("merge", "data@exp", "into", "data@main")
    assert done.exit_code == 1
    assert done.stdout == "conflict    modified/modified   README (content)\n"
    assert "1 conflict; nothing was changed" in done.stderr
    assert "--keep-both" in done.stderr
    told = json.loads(change("merge", "data@exp", "into", "data", "--json").stdout)
    assert (told["action"], told["commit"]) == ("conflicts", None)
    (conflict,) = told["conflicts"]
    assert (conflict["path"], conflict["fields"]) == ("README", ["content"])
    assert conflict["settled"] is None
    assert [conflict[side]["size"] for side in ("base", "ours", "theirs")] == [6, 7, 4]
    assert change("ls", "data", "--json").stdout == before


@pytest.mark.parametrize(
    ("options", "content", "said"),
    [
        (["--ours"], "second\n", "took ours"),
        (["--theirs", "READ*"], "exp\n", "took theirs"),
    ],
)
def test_conflicts_are_settled(
    parted: Path, change: Run, options: list[str], content: str, said: str
) -> None:
    trial = change("merge", "data@exp", "--into", "data", "--dry-run", *options)
    assert "data@main would get a new version: " in trial.stdout
    done = change("merge", "data@exp", "--into", "data", "-m", "Both", "--author", "Ada", *options)
    assert done.exit_code == 0
    assert done.stdout.startswith(
        f"{said:<12}modified/modified   README (content)\ndata@main is now"
    )
    assert change("cat", "data:README").stdout == content
    assert change("cat", "data:sub/a").stdout == "exp"
    log = json.loads(change("log", "data", "-n", "1", "--json").stdout)
    assert (log["message"], log["author"], len(log["parents"])) == ("Both", "Ada", 2)
    shown = change("show", "data")
    assert "Merge:" in shown.stdout
    assert f"against the first parent, {log['parents'][0][:12]}" in shown.stderr
    assert change("fsck", "--data").exit_code == 0
    graph = change("log", "data", "--graph", "--oneline").stdout
    assert "|\\" in graph
    assert "nothing to do" in change("merge", "data@exp", "into", "data").stdout


def test_who_names_the_version_that_a_merge_took_a_file_from(parted: Path, change: Run) -> None:
    assert change("merge", "data@exp", "into", "data", "--keep-both").exit_code == 0
    found = {
        line.split()[-1]: line.split()[0] for line in change("who", "data").stdout.splitlines()
    }
    ids = {
        name: json.loads(change("log", f"data@{name}", "-n", "1", "--json").stdout)["commit"][:12]
        for name in ("main", "exp", "v2")
    }
    assert found["README~exp"] == ids["main"]  # the name is new
    assert found["run"] == ids["v2"]
    assert change("diff", "data@main^1", "data@main", "--name-status").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ("merge", "data@exp"),
        ("merge", "data@exp", "into"),
        ("merge", "data@exp", "onto", "data"),
        ("merge", "data@exp", "into", "data", "--into", "data"),
        ("merge", "data@exp", "into", "data", "--no-ff", "--ff-only"),
        ("restore", "data@v1:a", "data@v2:a"),
        ("restore", "data@v1:a", "data@v1:b", "--into", "data:c"),
        ("branch", "data", "--rename", "exp"),
        ("branch", "data", "exp", "other"),
        ("branch", "data", "exp", "--delete", "--move-to", "v1"),
    ],
)
def test_wrong_command_lines(parted: Path, change: Run, args: tuple[str, ...]) -> None:
    done = change(*args)
    assert done.exit_code == 2
    assert done.stderr.startswith("vfs: ")


def test_revert_and_cherry_pick(parted: Path, change: Run) -> None:
    assert change("revert", "data@v2").exit_code == 0
    assert change("diff", "data@v1", "data").stdout == ""
    assert change("cherry-pick", "data@exp", "--on", "data@main").exit_code == 0
    assert change("cat", "data:README").stdout == "exp\n"
    reasons = [line["why"] for line in json.loads(change("reflog", "data", "--json").stdout)]
    assert reasons[:2] == ["cherry-pick: exp", 'revert: Revert "Second"']


def test_restore_in_a_branch_that_is_not_mounted_is_a_version(parted: Path, change: Run) -> None:
    done = change("restore", "data@v1:README", "data@exp:sub", "--into", "data@main")
    assert done.exit_code == 2  # of two versions
    done = change("restore", "data@v1:README", "data@v1:sub", "--into", "data@main", "--json")
    assert json.loads(done.stdout)["changes"]["modified"]["files"] == 1
    assert change("cat", "data:README").stdout == "first\n"
    assert change("restore", "data@exp:sub", "--into", "data:from/exp", "-m", "sub").exit_code == 0
    assert change("cat", "data:from/exp/a").stdout == "exp"
    missing = change("restore", "data@v1:subb")
    assert (missing.exit_code, "did you mean 'sub'?" in missing.stderr) == (1, True)


def test_branches_are_renamed_and_moved(parted: Path, change: Run) -> None:
    assert change("branch", "data", "--rename", "exp", "trial").exit_code == 0
    names = [line["name"] for line in json.loads(change("branch", "data", "--json").stdout)]
    assert names == ["main", "trial"]
    (begun,) = json.loads(change("reflog", "data@trial", "--json").stdout)
    (ended, *_) = json.loads(change("reflog", "data@exp", "--json").stdout)
    assert (begun["why"], begun["old"]) == ("branch renamed from exp", None)
    assert (ended["why"], ended["new"]) == ("branch renamed to trial", None)
    assert ended["old"] == begun["new"]
    for new in ("main", "v1"):
        refused = change("branch", "data", "--rename", "trial", new)
        assert (refused.exit_code, "already" in refused.stderr) == (1, True)
    unknown = change("branch", "data", "--rename", "trail", "x")
    assert "did you mean 'trial'?" in unknown.stderr
    moved = change("branch", "data", "main", "--move-to", "v1")
    assert "--move-to" in moved.stderr  # how to go back
    assert change("diff", "data@v1", "data").stdout == ""
    assert change("fsck").exit_code == 0


def test_a_tag_is_no_branch_to_merge_into(parted: Path, change: Run) -> None:
    done = change("merge", "data@exp", "into", "data@v1")
    assert (done.exit_code, "is a tag and never changes" in done.stderr) == (1, True)
