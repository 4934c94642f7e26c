"""vfs fsck: lines, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tests.support.full_store import remove
from tests.unit.cli.conftest import Run
from vfs.cli.main import vfs
from vfs.ids import object_id


def test_a_clean_store(run: Run) -> None:
    for args in ((), ("--data",)):
        result = run("fsck", *args)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no damage" in result.stderr
    assert json.loads(run("fsck", "--json").stdout)["clean"] is True


def test_a_damaged_store(new_store: Path, change: Run) -> None:
    oid = object_id(b"BB")
    remove(new_store, "objects", oid)
    result = change("fsck")
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    places, _, message = line.partition(": ")
    names = ("main", "v1", "v2")
    assert sorted(places.split(", ")) == [f"data@{name}:sub/deep/b" for name in names]
    assert message == f"the chunk {oid.hex()} is missing"
    assert "1 damage" in result.stderr
    document = change("fsck", "--json")
    assert document.exit_code == 1
    (damage,) = json.loads(document.stdout)["damages"]
    assert damage["object"] == oid.hex()


def test_names_are_printable(new_store: Path, change: Run) -> None:
    remove(new_store, "objects", object_id(b"latin"))
    result = change("fsck")
    assert "data@v2:caf\\xe9" in result.stdout


def test_no_store_and_a_wrong_command_line(tmp_path: Path) -> None:
    def fsck(*args: str) -> int:
        return CliRunner().invoke(vfs, ["--store", str(tmp_path / "none"), "fsck", *args]).exit_code

    assert fsck() == 1
    assert fsck("--nothing") == 2
