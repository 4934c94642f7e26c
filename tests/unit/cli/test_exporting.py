"""The commands export and backup, and fsck --repair: lines, JSON, exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.full_store import changing, make_file, remove
from tests.unit.cli.conftest import BIG, Run
from vfs.cli.main import vfs
from vfs.ids import object_id
from vfs.model.overlay import ROOT_INO
from vfs.repo.repository import Repository

VFS = [sys.executable, "-m", "vfs"]


def on(store: Path, *args: str) -> Result:
    return CliRunner().invoke(vfs, ["--store", str(store), *args])


# ------------------------------------------------------------------------------------- export


def test_a_directory(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("export", "data@v1", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("exported data@v1: 5 files, 250 KiB; ")
    assert (out / "big").read_bytes() == BIG
    assert (out / "sub/deep/b").read_bytes() == b"BB"
    again = run("export", "data@v2:sub", str(out))
    assert again.exit_code == 1
    assert "--replace" in again.stderr
    assert run("export", "--replace", "data@v2:sub", str(out)).exit_code == 0
    assert sorted(os.listdir(out)) == ["a", "deep"]


def test_like_an_earlier_one(run: Run, tmp_path: Path) -> None:
    old, out = str(tmp_path / "old"), str(tmp_path / "out")
    assert run("export", "data@v1", old).exit_code == 0
    result = run("export", "--like", old, "--link", "--json", "data@v1", out)
    document = json.loads(result.stdout)
    assert (document["files"], document["taken"]) == (5, 4)  # one is a symlink
    assert (tmp_path / "old/big").samefile(tmp_path / "out/big")
    result = run("export", "--like", old, "--link", "--verify", "--replace", "data@v1", out)
    assert result.stderr.startswith("exported data@v1: 5 files, 4 of them shared, 250 KiB; ")


def test_json(change: Run, new_store: Path, tmp_path: Path) -> None:
    remove(new_store, "objects", object_id(b"latin"))
    result = change("export", "data@v2", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "caf\\xe9" in result.stderr
    assert not (tmp_path / "out").exists()
    partial = change("export", "--partial", "--json", "data@v2", str(tmp_path / "out"))
    document = json.loads(partial.stdout)
    assert document["problem_count"] == 1
    assert document["problems"][0]["path_base64"] == "Y2Fm6Q=="
    assert document["directories"] == 4
    assert document["bytes"] == len(BIG) + len(b"second\n") + len(b"ABB")


def test_an_archive(prepared: Path, tmp_path: Path) -> None:
    command = [*VFS, "--store", str(prepared), "export", "--tar", "data@v1"]
    done = subprocess.run(command, capture_output=True, check=True)
    (tmp_path / "archive.tar").write_bytes(done.stdout)
    with tarfile.open(tmp_path / "archive.tar") as archive:
        assert archive.getnames()[:3] == [".", "./README", "./big"]
    assert done.stderr.startswith(b"exported data@v1: 5 files")


def test_wrong_command_lines(run: Run, tmp_path: Path) -> None:
    for args in (
        ("data@v1",),
        ("--tar", "data@v1", str(tmp_path / "out")),
        ("--tar", "--replace", "data@v1"),
        ("--tar", "--json", "data@v1"),
        ("--tar", "--like", str(tmp_path), "data@v1"),
        ("--link", "data@v1", str(tmp_path / "out")),
        ("--verify", "data@v1", str(tmp_path / "out")),
    ):
        assert run("export", *args).exit_code == 2
    assert run("export", "data@v1:README", str(tmp_path / "out")).exit_code == 1
    assert run("export", "data@nothing", str(tmp_path / "out")).exit_code == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("args", [("export", "--tar", "data@v1"), ("backup", "-")])
def test_nothing_binary_is_written_to_a_terminal(prepared: Path, args: tuple[str, ...]) -> None:
    master, slave = pty.openpty()
    command = [*VFS, "--store", str(prepared), *args]
    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, check=False)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


def test_uncommitted_changes_are_told(change: Run, new_store: Path, tmp_path: Path) -> None:
    with Repository.open(new_store) as repo, changing(repo, "main") as branch:
        make_file(branch, ROOT_INO, b"new", b"new")
    result = change("export", "data", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert "data@main has changes that are not committed" in result.stderr
    assert not (tmp_path / "out/new").exists()
    assert "not committed" not in change("export", "data@v1", str(tmp_path / "v1")).stderr


# ------------------------------------------------------------------------------------- backup


def test_a_backup_and_a_store_of_it(run: Run, prepared: Path, tmp_path: Path) -> None:
    file, store = tmp_path / "backup", tmp_path / "store"
    result = run("backup", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("wrote a backup of 20")
    assert run("backup", str(file)).exit_code == 0
    assert "sound: a backup" in run("backup", "--verify", str(file)).stderr
    assert on(store, "backup", "--restore", str(file)).exit_code == 0
    assert on(store, "log", "data", "--json").stdout == run("log", "data", "--json").stdout
    refused = on(store, "backup", "--restore", str(file))
    assert refused.exit_code == 1
    assert "name another place with --store" in refused.stderr


def test_a_backup_through_pipes(prepared: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made = subprocess.run(
        [*VFS, "--store", prepared, "backup", "-"], capture_output=True, check=True
    )
    for args in (["backup", "--verify", "-"], ["backup", "--restore", "-"]):
        command = [*VFS, "--store", store, *args]
        subprocess.run(command, input=made.stdout, capture_output=True, check=True)
        short = subprocess.run(command, input=made.stdout[:-1], capture_output=True, check=False)
        assert short.returncode == 1
    assert on(store, "fsck", "--data").exit_code == 0


def test_what_is_no_backup(run: Run, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 500)
    for args in (("--verify",), ("--restore",), ()):
        result = on(
            tmp_path / "store" if args else prepared, "backup", *args, str(tmp_path / "file")
        )
        assert result.exit_code == 1
        assert "no backup" in result.stderr
    assert run("backup", "--verify", "--restore", str(tmp_path / "file")).exit_code == 2
    assert run("backup", "--verify", str(tmp_path / "none")).exit_code == 1
    assert os.listdir(tmp_path) == ["file"]


# ------------------------------------------------------------------------------------- repair


def test_a_repair_from_a_backup(change: Run, new_store: Path, tmp_path: Path) -> None:
    oid = object_id(b"BB")
    file = tmp_path / "backup"
    assert change("backup", str(file)).exit_code == 0
    remove(new_store, "objects", oid)
    remove(new_store, "refs", b"data\0v1")
    dry = change("fsck", "--repair", "--dry-run", "--from", str(file))
    assert dry.exit_code == 1
    assert dry.stdout.count("would repair: ") == 2
    without = json.loads(change("fsck", "--repair", "--json").stdout)
    assert len(without["repaired"]) == 1
    assert without["repaired"][0].startswith("data@v1: the tag is ")
    assert [damage["object"] for damage in without["damages"]] == [oid.hex()]
    result = change("fsck", "--repair", "--from", str(file))
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("repaired: data@")
    assert f"the chunk {oid.hex()} is stored again, from {file}" in line
    assert "no damage" in result.stderr
    assert change("cat", "data@v1:sub/deep/b").stdout == "BB"


def test_options_of_a_repair_stand_with_it_alone(run: Run, prepared: Path) -> None:
    assert run("fsck", "--dry-run").exit_code == 2
    assert run("fsck", "--from", str(prepared)).exit_code == 2
    assert run("fsck", "--repair", "--from", "/no/where").exit_code == 2
