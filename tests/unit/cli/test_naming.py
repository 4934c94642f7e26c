"""init, create, tag and branch: what changes a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.cli.conftest import Run
from vfs.cli.main import vfs


def commits(change: Run, kind: str) -> dict[str, str]:
    return {ref["name"]: ref["commit"] for ref in json.loads(change(kind, "data", "--json").stdout)}


@pytest.mark.parametrize("how", ["argument", "option", "environment"])
def test_init_and_create(tmp_path: Path, how: str) -> None:
    path = str(tmp_path / "deep" / "store")
    runner = CliRunner()
    args = {"argument": ["init", path], "option": ["--store", path, "init"]}.get(how, ["init"])
    env = {"VFS_STORE": path}
    made = runner.invoke(vfs, args, env=env if how == "environment" else {})
    assert (made.exit_code, made.stdout) == (0, f"made a store in {path}\n")
    assert runner.invoke(vfs, ["init"], env=env).exit_code == 1
    created = runner.invoke(vfs, ["create", "one", "two"], env=env)
    assert created.stdout == "made the data set one\nmade the data set two\n"
    again = runner.invoke(vfs, ["create", "two"], env=env)
    assert again.exit_code == 1
    assert "'two'" in again.stderr


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    runner = CliRunner(env={"VFS_STORE": str(tmp_path / "store")})
    missing = runner.invoke(vfs, ["ls"])
    assert missing.exit_code == 1
    assert "init" in missing.stderr
    runner.invoke(vfs, ["init"])
    empty = runner.invoke(vfs, ["ls"])
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "vfs create NAME" in empty.stderr
    assert runner.invoke(vfs, ["ls", "--json"]).stdout == "[]\n"


def test_tags_are_made_listed_moved_and_deleted(change: Run) -> None:
    before = commits(change, "tag")
    assert list(before) == ["v1", "v2"]
    assert "set the tag data@latest-good: " in change("tag", "data", "latest-good").stdout
    assert change("tag", "data", "old", "main~1").exit_code == 0
    after = commits(change, "tag")
    assert after["latest-good"] == before["v2"]
    assert after["old"] == before["v1"]

    refused = change("tag", "data", "old", "v2")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert change("tag", "data", "old", "v2", "--force").exit_code == 0
    assert commits(change, "tag")["old"] == before["v2"]

    deleted = change("tag", "data", "old", "-d")
    assert deleted.stdout == f"deleted the tag data@old, which was {before['v2'][:12]}\n"
    assert "old" not in commits(change, "tag")
    assert [line.split()[0] for line in change("tag", "data").stdout.splitlines()] == [
        "TAG",
        "latest-good",
        "v1",
        "v2",
    ]


def test_branches_are_made_listed_and_deleted(change: Run) -> None:
    tags = commits(change, "tag")
    assert change("branch", "data", "fix", "--from", "v1").exit_code == 0
    assert change("branch", "data", "next").exit_code == 0
    assert commits(change, "branch") == {"fix": tags["v1"], "main": tags["v2"], "next": tags["v2"]}
    assert change("branch", "data", "fix").exit_code == 1
    assert change("branch", "data", "-d", "fix").exit_code == 0
    assert list(commits(change, "branch")) == ["main", "next"]


@pytest.mark.parametrize(("kind", "name"), [("branch", "main"), ("tag", "v1")])
def test_what_is_deleted_can_be_brought_back(change: Run, kind: str, name: str) -> None:
    before = commits(change, kind)
    change("tag", "data", "v2", "-d")
    deleted = change(kind, "data", name, "-d")
    offered, _, command = deleted.stderr.strip().partition(": vfs ")
    assert offered == "to bring it back"
    assert name not in commits(change, kind)
    assert change(*command.split()).exit_code == 0
    assert commits(change, kind)[name] == before[name]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tag", "data", "main", "-d"], "no tag 'main'"),
        (["branch", "data", "v1", "-d"], "no branch 'v1'"),
        (["tag", "data", "-d", "v3"], "there are: v1, v2"),
        (["tag", "data", "x", "nowhere"], "no revision 'nowhere'"),
        (["tag", "data", "latest"], "'latest'"),
        (["branch", "data", "a b"], "'a b'"),
        (["tag", "dta"], "did you mean 'data'?"),
    ],
)
def test_refusals(change: Run, args: list[str], says: str) -> None:
    result = change(*args)
    assert result.exit_code == 1
    assert says in result.stderr


def test_nothing_to_list(change: Run) -> None:
    for name in ("v1", "v2"):
        change("tag", "data", name, "-d")
    listed = change("tag", "data")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "data has no tag" in listed.stderr
    assert change("tag", "data", "--json").stdout == "[]\n"
