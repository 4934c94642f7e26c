"""remote, push, fetch, pull and clone, as users type them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.conftest import Run
from vfs.cli.main import vfs


@pytest.fixture
def shared(tmp_path: Path, change: Run) -> str:
    url = f"file://{tmp_path}/remote"
    assert change("remote", "add", "origin", url).exit_code == 0
    return url


def test_remotes(change: Run, shared: str) -> None:
    assert json.loads(change("remote", "--json").stdout) == [
        {
            "name": "origin",
            "url": shared,
            "endpoint": None,
            "encrypted": False,
            "key_file": None,
        }
    ]
    assert shared in change("remote").stdout
    assert change("remote", "add", "x").exit_code == 2
    assert change("remote", "list", "x").exit_code == 2
    assert change("remote", "remove", "origin", "--endpoint", "http://x").exit_code == 2
    assert change("remote", "remove", "origin").exit_code == 0
    refused = change("push", "--all")
    assert refused.exit_code == 1
    assert "vfs remote add" in refused.stderr


def test_push_clone_and_pull(change: Run, shared: str, tmp_path: Path) -> None:
    assert change("push").exit_code == 2  # nothing was pushed before
    pushed = json.loads(change("push", "--all", "--json").stdout)
    assert [(one["name"], one["how"]) for one in pushed["moved"]] == [
        ("main", "new"),
        ("v1", "new"),
        ("v2", "new"),
    ]
    again = change("push")
    assert again.exit_code == 0
    assert "3 references up to date" in again.stderr
    cloned = CliRunner().invoke(vfs, ["clone", shared, str(tmp_path / "clone")])
    assert cloned.exit_code == 0
    assert "data@main" in cloned.stdout
    other = ["--store", str(tmp_path / "clone")]
    for line in (["cat", "data@v1:README"], ["log", "data", "--json"], ["ls", "--json"]):
        there, here = CliRunner().invoke(vfs, [*other, *line]), change(*line)
        assert there.exit_code == 0
        if line[0] != "ls":
            assert there.stdout_bytes == here.stdout_bytes
    assert change("tag", "data", "v3").exit_code == 0
    assert change("push", "data@v3").exit_code == 0
    pulled = json.loads(CliRunner().invoke(vfs, [*other, "pull", "--json"]).stdout)
    assert [one["how"] for one in pulled["moved"]] == ["same", "same", "same", "new"]
    assert change("push", "data@v3", "--delete").exit_code == 0
    assert "data@v3" in CliRunner().invoke(vfs, [*other, "fetch", "data"]).stdout
    fetched = json.loads(CliRunner().invoke(vfs, [*other, "fetch", "--json"]).stdout)
    assert [ref["commit"] is None for ref in fetched["refs"]] == [False, False, False, True]


def test_a_bundle(change: Run, tmp_path: Path) -> None:
    bundle = str(tmp_path / "data.vfsbundle")
    assert change("push", "data", "--to", bundle).exit_code == 0
    refused = change("push", "data", "--to", bundle)
    assert refused.exit_code == 1
    assert "is there already" in refused.stderr
    cloned = CliRunner().invoke(vfs, ["clone", bundle, str(tmp_path / "clone"), "--json"])
    assert [one["how"] for one in json.loads(cloned.stdout)["moved"]] == ["new"] * 3
    pulled = change("pull", "--all", "--from", bundle)
    assert "3 references up to date" in pulled.stderr


def test_what_can_not_be_is_told(change: Run, shared: str) -> None:
    change("push", "data@main")
    assert change("push", "data", "--all").exit_code == 2
    assert change("push", "--delete").exit_code == 2
    assert change("push", "data@nothing").exit_code == 1
    assert change("pull", "nothing").exit_code == 1
    assert change("pull", "--from", "nothing").exit_code == 1
    secret = change("remote", "add", "x", "s3://me:SECRET@bucket")
    assert secret.exit_code == 1
    assert "SECRET" not in secret.stderr


def test_completion_offers_remotes(new_store: Path, shared: str) -> None:
    env = {
        "_VFS_COMPLETE": "bash_complete",
        "COMP_LINE": "vfs push --to ",
        "VFS_STORE": str(new_store),
    }
    assert CliRunner().invoke(vfs, [], env=env).stdout == "plain,origin\n"


def test_an_encrypted_remote(change: Run, shared: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert change("remote", "key", str(key)).exit_code == 0
    assert change("push", "--all", "--encrypt", "--key-file", str(key)).exit_code == 0
    assert change("push").exit_code == 0  # the key's path is remembered
    refused = CliRunner().invoke(vfs, ["clone", shared, str(tmp_path / "clone")])
    assert refused.exit_code == 1
    assert "encrypted" in refused.stderr
    arguments = ["clone", shared, str(tmp_path / "other"), "--key-file", str(key)]
    assert CliRunner().invoke(vfs, arguments).exit_code == 0
    bundle = str(tmp_path / "b.vfsbundle")
    arguments = ["push", "data", "--to", bundle, "--key-file", str(key)]
    assert change(*arguments).exit_code == 0
    assert b"vfsindx" not in Path(bundle).read_bytes()  # how each index begins
    assert change("fetch", "--all", "--from", bundle).exit_code == 1
    assert change("fetch", "--all", "--from", bundle, "--key-file", str(key)).exit_code == 0


def test_another_passphrase(change: Run, shared: str, tmp_path: Path) -> None:
    def run(*words: str, passphrase: str, typed: str = "") -> Result:
        return change(*words, env={"VFS_PASSPHRASE": passphrase}, input=typed)

    plain = run("remote", "passphrase", "origin", passphrase="x", typed="y\n")
    assert plain.exit_code == 1  # it is not there yet
    assert run("push", "--all", "--encrypt", passphrase="old words").exit_code == 0
    assert "passphrase" in change("remote").stdout
    wrong = run("remote", "passphrase", "origin", passphrase="x", typed="y\n")
    assert (wrong.exit_code, "does not open" in wrong.stderr) == (1, True)
    done = run("remote", "passphrase", "origin", passphrase="old words", typed="new words\n")
    assert (done.exit_code, "words" in done.output) == (0, False)
    assert run("clone", shared, str(tmp_path / "a"), passphrase="old words").exit_code == 1
    assert run("clone", shared, str(tmp_path / "b"), passphrase="new words").exit_code == 0
    assert len(list((tmp_path / "remote" / "keys").iterdir())) == 1


def test_a_remote_that_is_not_the_one_before(change: Run, shared: str, tmp_path: Path) -> None:
    place = tmp_path / "remote"
    assert change("push", "--all").exit_code == 0
    assert change("branch", "data", "later").exit_code == 0
    assert change("push", "--all").exit_code == 0
    (records,) = (tmp_path / "remote").glob("refs/*/later")
    shutil.rmtree(records)
    for command in (["fetch", "--all"], ["pull", "--all"], ["push", "--all"], ["fsck", "--remote"]):
        done = change(*command)
        assert done.exit_code == 1, command
        assert "not what it was" in done.output + done.stderr
    shutil.rmtree(place)
    other = tmp_path / "other"
    for words in (
        ["init"],
        ["create", "other"],
        ["remote", "add", "origin", shared],
        ["push", "--all"],
    ):
        CliRunner().invoke(vfs, ["--store", str(other), *words])
    done = change("fetch", "--all")
    assert (done.exit_code, "another remote" in done.stderr) == (1, True)
