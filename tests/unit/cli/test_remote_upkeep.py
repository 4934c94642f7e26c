"""fsck, gc and erase of a remote, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.cli.conftest import Run
from vfs.cli.main import vfs

WHY = ("--reason", "request 17", "--yes")


@pytest.fixture
def shared(tmp_path: Path, change: Run) -> Path:
    assert change("remote", "add", "origin", f"file://{tmp_path}/remote").exit_code == 0
    assert change("push", "--all").exit_code == 0
    return tmp_path / "remote"


def test_fsck(change: Run, shared: Path) -> None:
    clean = change("fsck", "--remote", "origin", "--data")
    assert clean.exit_code == 0
    assert "no damage" in clean.stderr
    assert change("fsck", "--remote", "--repair").exit_code == 2
    assert change("fsck", "--remote", "nowhere").exit_code == 1
    for path in (shared / "packs").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    found = change("fsck", f"--remote=file://{shared}", "--json")
    assert found.exit_code == 1
    record = json.loads(found.stdout)
    assert record["clean"] is False
    assert any("data@main" in damage["places"] for damage in record["damages"])


def test_gc(change: Run, shared: Path) -> None:
    assert change("gc", "--grace", "1d").exit_code == 2
    assert change("gc", "--retention").exit_code == 2
    assert change("gc", "--remote", "--compact").exit_code == 2
    quiet = change("gc", "--remote", "--dry-run")
    assert "nothing is to be removed" in quiet.stdout
    for tag in ("v1", "v2"):
        assert change("push", f"data@{tag}", "--delete").exit_code == 0
    assert change("retention", "data", "--keep-last", "1").exit_code == 0
    noted = change("gc", "--remote", "--keep", "0")
    assert "not applied there without --retention" in noted.stderr
    begun = json.loads(change("gc", "--remote", "--keep", "0", "--retention", "--json").stdout)
    assert len(begun["expired"]) == 1
    assert begun["condemned_packs"] == 1
    assert begun["due"] is not None
    again = change("gc", "--remote")
    assert "is removed by the first" in again.stderr
    ended = json.loads(change("gc", "--remote", "--grace", "0", "--json").stdout)
    assert (ended["removed_packs"], ended["due"]) == (1, None)
    assert change("fsck", "--remote", "--data").exit_code == 0


def test_erase(change: Run, shared: Path, tmp_path: Path) -> None:
    assert (
        CliRunner().invoke(vfs, ["clone", f"file://{shared}", str(tmp_path / "clone")]).exit_code
        == 0
    )
    here = change("erase", "data", "--path", "sub/a", *WHY)
    assert here.exit_code == 0
    assert "the remote origin may have it still: vfs erase --remote origin" in here.stderr
    there = change("erase", "--remote", "origin")
    assert there.exit_code == 0, there.stderr
    assert "erased 1 chunk from the remote origin, which were in 1 pack" in there.stdout
    assert "not reached: copies that the service keeps itself" in there.stderr
    assert change("fsck", "--remote", "--data").exit_code == 0
    told = CliRunner().invoke(vfs, ["--store", str(tmp_path / "clone"), "fetch"])
    assert "were erased from the remote on" in told.stderr
    assert "request 17" in told.stderr
    both = change("erase", "data", "--path", "sub/deep/b", *WHY, "--remote", "origin", "--json")
    record = json.loads(both.stdout)
    assert record["erased"] is True
    assert record["remotes"] == [{"remote": "origin", "chunks": 1, "packs": 1, "unknown_packs": 0}]
    (shared / "packs" / ("ab" * 32)).write_bytes(b"of a push that was killed")
    unsure = change("erase", "--remote", "origin")
    assert unsure.exit_code == 1
    assert "1 pack of unfinished pushes" in unsure.stderr
