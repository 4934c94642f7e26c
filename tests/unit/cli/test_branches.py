"""commit, status, discard, and deleting a branch that is written to; nobody has it mounted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from tests.support.overlay_model import ModelBranch
from tests.unit.cli.conftest import Run
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository

FILE = stat.S_IFREG | 0o644


@contextmanager
def writing(store: Path) -> Iterator[ModelBranch]:
    """Change the branch main; what was changed is stored at the end."""
    with Repository.open(store) as repo:
        branch = ModelBranch(repo)
        yield branch
        branch.flush()


@pytest.fixture
def changed(new_store: Path) -> Path:
    with writing(new_store) as branch:
        branch.write(branch.at((b"README",)), b"third\n")
        branch.make((branch.at((b"sub",)), b"new\x1b[2J"), FILE, b"new")
        branch.remove((ROOT_INO, b"caf\xe9"))
        branch.rename((ROOT_INO, b"run"), (branch.at((b"devices",)), b"run"))
        branch.rename((branch.at((b"sub",)), b"deep"), (ROOT_INO, b"up"))
        branch.remove((ROOT_INO, b"link"))
        branch.make((ROOT_INO, b"link"), FILE)
    return new_store


LINES = [
    b"M  README",
    b"D  caf\xe9",
    b"R  run -> devices/run",
    b"T  link",
    b"A  sub/new\x1b[2J",
    b"R  sub/deep/ -> up/",
]


def lines(result: Result) -> list[bytes]:
    assert result.exit_code == 0, result.stderr
    return result.stdout_bytes.splitlines()


def versions(change: Run) -> list[dict[str, object]]:
    return [json.loads(line) for line in change("log", "data", "--json").stdout.splitlines()]


def test_status_names_every_change(changed: Path, change: Run) -> None:
    result = change("status", "data")
    assert lines(result) == LINES
    summary = "1 added, 1 deleted, 1 modified, 2 renamed, 1 type changed"
    assert result.stderr.startswith(f"data@main: {summary}; the last version is ")
    found = json.loads(change("status", "data@main", "--json").stdout)
    assert (found["data_set"], found["branch"]) == ("data", "main")
    assert found["commit"] == versions(change)[0]["commit"]
    assert [item["kind"] for item in found["changes"]] == [
        "modified", "deleted", "renamed", "type changed", "added", "renamed",
    ]  # fmt: skip
    assert found["changes"][1] == {
        "path": "caf\ufffd", "path_base64": "Y2Fm6Q==", "kind": "deleted", "directory": False,
    }  # fmt: skip
    assert found["changes"][5] == {
        "path": "up", "kind": "renamed", "directory": True, "old_path": "sub/deep",
        "modified": False,
    }  # fmt: skip


def test_status_of_what_has_no_changes(change: Run) -> None:
    result = change("status", "data")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "data@main: no changes; the last version is" in result.stderr
    change("create", "fresh")
    assert "fresh@main: no changes; it has no version yet" in change("status", "fresh").stderr
    found = json.loads(change("status", "fresh", "--json").stdout)
    assert (found["commit"], found["changes"]) == (None, [])


@pytest.mark.parametrize("command", [["status"], ["commit", "-m", "m"], ["discard", "-y"]])
def test_only_branches_have_changes(change: Run, command: list[str]) -> None:
    for target, word in (("data@v1", "is a tag"), ("data@nope", "no branch"), ("nope", "no data")):
        result = change(command[0], target, *command[1:])
        assert result.exit_code == 1
        assert word in result.stderr
    assert change(command[0], "data@main:path", *command[1:]).exit_code == 2


def test_commit_makes_a_version(
    changed: Path, change: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFS_AUTHOR", "Ada <ada@example.com>")
    result = change("commit", "data", "-m", "Third")
    newest, before, _ = versions(change)
    assert result.stdout.startswith(f"data@main is now {str(newest['commit'])[:12]}: 12 files, ")
    assert newest["parents"] == [before["commit"]]
    assert (newest["message"], newest["author"]) == ("Third", "Ada <ada@example.com>")
    provenance = newest["provenance"]
    assert isinstance(provenance, dict)
    assert (provenance["kind"], provenance["command"][0]) == ("commit", "vfs")
    assert lines(change("status", "data")) == []
    assert change("cat", "data:README").stdout == "third\n"
    assert change("cat", "data:sub/new\x1b[2J").stdout == "new"

    again = change("commit", "data", "-m", "Fourth")
    assert again.stdout == f"nothing changed: data@main is still {str(newest['commit'])[:12]}\n"
    empty = change("commit", "data", "-m", "Fourth", "--author", "Bob", "--allow-empty", "--json")
    record = json.loads(empty.stdout)
    assert (record["changed"], record["files"], record["branch"]) == (True, 12, "main")
    assert [version["author"] for version in versions(change)][:2] == [
        "Bob",
        "Ada <ada@example.com>",
    ]


def test_commit_refuses_what_no_commit_can_hold(changed: Path, change: Run) -> None:
    assert change("commit", "data").exit_code == 2
    long = change("commit", "data", "-m", "x" * 70_000)
    assert long.exit_code == 1
    assert "70,000 bytes" in long.stderr
    nothing = change("create", "fresh") and change("commit", "fresh", "-m", "m")
    assert nothing.exit_code == 1
    assert "nothing to commit" in nothing.stderr


def test_discard_all(changed: Path, change: Run) -> None:
    assert change("discard", "data").stdout == "gave up 6 changes of data@main\n"
    assert lines(change("status", "data")) == []
    assert change("discard", "data").stdout == "gave up 0 changes of data@main\n"
    with Repository.open(changed) as repo, repo.store._env.read() as txn:
        assert not txn.stat(repo.store._env.tables["overlay_inodes"])["entries"]


def test_discard_paths(changed: Path, change: Run) -> None:
    missing = change("discard", "data", "README", "big")
    assert missing.exit_code == 1
    assert "nothing changed at 'big'" in missing.stderr
    assert lines(change("status", "data")) == LINES
    assert change("discard", "data", "README", "link").stdout == "gave up 2 changes of data@main\n"
    assert lines(change("status", "data")) == [LINES[1], *LINES[2:3], *LINES[4:]]
    change("discard", "data", "sub/")  # takes back what was moved out of it
    assert lines(change("status", "data")) == [LINES[1], LINES[2]]
    last = change("discard", "data", "./devices", os.fsdecode(b"caf\xe9"))
    assert last.exit_code == 0, last.stderr
    assert lines(change("status", "data")) == []
    again = change("commit", "data", "-m", "m")
    assert again.exit_code == 0
    tree = change("ls", "-R", "data@v2").stdout
    assert change("ls", "-R", "data").stdout == tree


def test_discard_asks_on_a_terminal(
    changed: Path, change: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def confirm(question: str, **options: object) -> None:
        asked.append(question)

    monkeypatch.setattr("vfs.cli.branches.click.confirm", confirm)
    monkeypatch.setattr("vfs.cli.branches._is_asked", lambda: True)
    change("discard", "data", "README", "--yes")
    assert asked == []
    result = change("discard", "data")
    assert asked == ["give up 5 changes of data@main?"]
    assert lines(result)[:-1] == LINES[1:]


@pytest.mark.parametrize("path", ["..", "a/../b", "x" * 300])
def test_paths_that_no_branch_has(change: Run, path: str) -> None:
    assert change("discard", "data", path).exit_code == 2


def test_a_branch_with_changes_is_not_deleted(changed: Path, change: Run) -> None:
    refused = change("branch", "data", "main", "-d")
    assert refused.exit_code == 1
    assert "not committed" in refused.stderr
    assert "vfs commit data@main" in refused.stderr
    assert change("branch", "data", "main", "--force").exit_code == 2
    assert change("branch", "data", "main", "-d", "--force").exit_code == 0
    assert change("branch", "data", "main", "--from", "v1").exit_code == 0
    assert lines(change("status", "data")) == []


def test_an_import_does_not_go_over_changes(changed: Path, change: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    refused = change("import", str(tmp_path / "f"), "data", "-m", "m")
    assert refused.exit_code == 1
    assert "vfs commit data@main, or vfs discard data@main" in refused.stderr
