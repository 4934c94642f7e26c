"""Encrypted remotes as users type them: named once, opened in another way, cleaned up."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.conftest import Run
from vfs.cli import progress
from vfs.cli.main import vfs
from vfs.repo.stages import Stage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote"


@pytest.fixture
def key(tmp_path: Path, change: Run) -> Path:
    path = tmp_path / "data.key"
    assert change("remote", "key", str(path)).exit_code == 0
    return path


@pytest.fixture
def sealed(url: str, key: Path, change: Run, tmp_path: Path) -> Path:
    """An encrypted remote that was named with its key once; the directory that it is in."""
    assert change("remote", "add", "origin", url, "--key-file", str(key)).exit_code == 0
    assert change("push", "--all").exit_code == 0
    return tmp_path / "remote"


def cloned(url: str, to: Path, *options: str, passphrase: str = "") -> Result:
    env = {"VFS_PASSPHRASE": passphrase or None}
    return CliRunner().invoke(vfs, ["clone", url, str(to), *options], env=env)


def test_what_is_named_once_holds(
    sealed: Path, url: str, key: Path, change: Run, tmp_path: Path
) -> None:
    assert json.loads((sealed / "vfs.json").read_text())["format"] == 2
    (listed,) = json.loads(change("remote", "--json").stdout)
    assert (listed["encrypted"], listed["key_file"]) == (True, str(key))
    assert cloned(url, tmp_path / "clone", "--key-file", str(key)).exit_code == 0
    again = ["--store", str(tmp_path / "clone"), "pull"]
    assert CliRunner().invoke(vfs, again).exit_code == 0


def test_one_that_was_named_encrypted_is_never_a_plain_one(
    url: str, change: Run, tmp_path: Path
) -> None:
    assert change("remote", "add", "plain", url).exit_code == 0
    assert change("push", "--all", "--to", "plain").exit_code == 0
    assert change("remote", "add", "origin", url, "--encrypt").exit_code == 0
    refused = change("push", "--all", "--to", "origin", env={"VFS_PASSPHRASE": "words"})
    assert "not encrypted" in refused.stderr


def test_a_key_file_that_is_missing_is_told_whatever_the_remote_is(
    url: str, change: Run, tmp_path: Path
) -> None:
    missing = ("--key-file", str(tmp_path / "missing.key"))
    assert change("remote", "add", "plain", url).exit_code == 0
    assert change("push", "--all").exit_code == 0
    for refused in (
        change("push", *missing),
        change("fetch", *missing),
        change("remote", "add", "other", f"{url}2", *missing),
        cloned(url, tmp_path / "clone", *missing),
    ):
        assert refused.exit_code == 1
        assert "missing.key: No such file" in refused.stderr
    assert not (tmp_path / "clone").exists()


def test_a_passphrase_after_a_key_file_and_back(
    sealed: Path, url: str, key: Path, change: Run, tmp_path: Path
) -> None:
    assert cloned(url, tmp_path / "clone", "--key-file", str(key)).exit_code == 0
    done = change("remote", "passphrase", "origin", input="words\n")
    assert "another passphrase" in done.stdout
    assert change("fetch", env={"VFS_PASSPHRASE": "words"}).exit_code == 0
    assert cloned(url, tmp_path / "a", "--key-file", str(key)).exit_code == 1
    assert cloned(url, tmp_path / "b", passphrase="words").exit_code == 0
    # Another store remembers the key file, which opens nothing any more.
    fetch = ["--store", str(tmp_path / "clone"), "fetch"]
    assert CliRunner().invoke(vfs, fetch, env={"VFS_PASSPHRASE": "words"}).exit_code == 0

    change_to = ("remote", "passphrase", "origin", "--new-key-file", str(key))
    assert change(*change_to, env={"VFS_PASSPHRASE": "wrong"}).exit_code == 1
    done = change(*change_to, env={"VFS_PASSPHRASE": "words"})
    assert f"the key file {key}" in done.stdout
    assert change("fetch").exit_code == 0
    assert cloned(url, tmp_path / "c", passphrase="words").exit_code == 1
    assert cloned(url, tmp_path / "d", "--key-file", str(key)).exit_code == 0


def test_options_stand_with_their_action(url: str, key: Path, change: Run) -> None:
    for wrong in (
        ("remote", "remove", "origin", "--key-file", str(key)),
        ("remote", "add", "origin", url, "--new-key-file", str(key)),
        ("remote", "add", "origin", url, "--passphrase-file", str(key)),
        ("remote", "passphrase", "origin", "--encrypt"),
    ):
        assert change(*wrong).exit_code == 2


def test_collected_erased_and_checked(sealed: Path, change: Run) -> None:
    packs = {path.name for path in (sealed / "packs").iterdir()}
    for tag in ("v1", "v2"):
        assert change("push", f"data@{tag}", "--delete").exit_code == 0
    assert change("retention", "data", "--keep-last", "1").exit_code == 0
    begun = json.loads(change("gc", "--remote", "--keep", "0", "--retention", "--json").stdout)
    assert begun["condemned_packs"] == 1
    ended = json.loads(change("gc", "--remote", "--grace", "0", "--json").stdout)
    assert ended["removed_packs"] == 1
    collected = {path.name for path in (sealed / "packs").iterdir()}
    assert collected
    assert not packs & collected
    assert change("fsck", "--remote", "--data").exit_code == 0

    erased = ("--path", "sub/a", "--reason", "request 17", "--yes", "--remote", "origin", "--json")
    record = json.loads(change("erase", "data", *erased).stdout)
    assert record["remotes"] == [{"remote": "origin", "chunks": 1, "packs": 1, "unknown_packs": 0}]
    assert not collected & {path.name for path in (sealed / "packs").iterdir()}
    assert change("fsck", "--remote", "--data").exit_code == 0
    assert change("push").exit_code == 0


def test_a_bar_of_stages_begins_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, a passphrase may be asked for, and a bar would be drawn over it."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    with progress.stage_progress() as on_stage:
        assert terminal.getvalue() == ""
        on_stage(Stage("counting", 7))
    assert "counting" in terminal.getvalue()
