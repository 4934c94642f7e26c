"""The commands gc and retention, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.versions import commit
from tests.unit.cli.conftest import Run
from vfs.repo.gc.schedule import is_due, schedule
from vfs.repo.repository import Repository


@pytest.fixture
def history(new_store: Path) -> Path:
    """Two more versions of `data`, behind the tags v1 and v2."""
    with Repository.open(new_store) as repo:
        for number in (3, 4):
            commit(repo, {b"f": b"%d" % number * 10_000})
    return new_store


def test_a_preview_changes_nothing(history: Path, change: Run) -> None:
    change("retention", "data", "--keep-last", "1")
    result = change("gc", "--dry-run", "--keep", "0")
    assert result.exit_code == 0
    assert "would remove" in result.stdout
    assert "retention of data (last 1)" in result.stdout
    first = json.loads(change("gc", "-n", "--json", "--keep", "0").stdout)
    assert first["dry_run"] is True
    assert len(first["expired"]) == 1  # v1, v2 and the newest stay
    assert json.loads(change("gc", "-n", "--json", "--keep", "0").stdout) == first
    done = json.loads(change("gc", "--json", "--keep", "0").stdout)
    for name in ("objects", "object_bytes", "stored_bytes", "expired"):
        assert done[name] == first[name]
    again = json.loads(change("gc", "--json", "--keep", "0").stdout)
    assert (again["objects"], again["expired"]) == (0, [])


def test_whoever_asks_for_a_pruned_version_is_told(history: Path, change: Run) -> None:
    change("retention", "data", "--keep-last", "1")
    change("gc")
    for command in (
        ("ls", "data@main~1"),
        ("cat", "data@main~1:f"),
        ("tag", "data", "x", "main~1"),
    ):
        result = change(*command)
        assert result.exit_code == 1
        assert "was removed" in result.stderr
        assert "retention of data (last 1)" in result.stderr
    lines = change("log", "data", "--oneline").stdout.splitlines()
    assert ["content was removed" in line for line in lines] == [False, True, False, False]
    assert change("log", "data").stdout.count("Gone:   its content, ") == 1
    records = [json.loads(line) for line in change("log", "data", "--json").stdout.splitlines()]
    assert records[1]["pruned"]["reason"] == "retention of data (last 1)"
    assert change("log", "data", "--stat", "--graph").exit_code == 0
    for command in (("log", "data", "--", "f"), ("show", "data"), ("who", "data")):
        assert change(*command).exit_code == 0  # compared with what is there


def test_rules_are_set_shown_and_cleared(history: Path, change: Run) -> None:
    assert "whole history" in change("retention").stderr
    result = change("retention", "data", "--keep-daily", "30", "--keep-within", "12h")
    assert result.exit_code == 0
    assert "daily 30, within 0.5 d" in result.stdout
    (row,) = json.loads(change("retention", "--json").stdout)
    assert (row["data_set"], row["daily"], row["within_seconds"]) == ("data", 30, 43_200)
    change("retention", "data", "--keep-weekly", "2")
    assert change("retention", "data").stdout.split()[-2:] == ["weekly", "2"]
    change("retention", "data", "--clear")
    assert json.loads(change("retention", "--json").stdout) == []


@pytest.mark.parametrize(
    "args",
    [
        ("retention", "--keep-last", "1"),
        ("retention", "data", "--clear", "--keep-last", "1"),
        ("gc", "--keep", "7"),
        ("gc", "--keep", "soon"),
        ("gc", "--repack", "101"),
    ],
)
def test_wrong_command_lines(history: Path, change: Run, args: tuple[str, ...]) -> None:
    assert change(*args).exit_code == 2


def test_rules_of_no_data_set(history: Path, change: Run) -> None:
    assert change("retention", "dat", "--keep-last", "1").exit_code == 1


def test_a_schedule(history: Path, change: Run) -> None:
    assert "daily" in change("gc", "--auto", "daily", "--keep", "7d").stdout
    with Repository.open(history) as repo:
        assert schedule(repo.store) == ("daily", 7 * 86_400)
        assert is_due(repo.store)
    change("gc")
    with Repository.open(history) as repo:
        assert not is_due(repo.store)
    change("gc", "--auto", "off")
    with Repository.open(history) as repo:
        assert schedule(repo.store) is None
