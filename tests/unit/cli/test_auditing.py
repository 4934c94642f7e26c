"""vfs audit."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import Run


def test_changes_are_listed_the_last_one_first(change: Run) -> None:
    change("tag", "data", "good", "main~1")
    change("tag", "data", "good", "main", "--force")
    change("create", "other")
    found = json.loads(change("audit", "data", "--json", "-n", "2").stdout)
    assert [line["action"] for line in found] == ["ref.move", "ref.make"]
    assert found[0]["facts"]["forced"] is True
    assert found[0]["facts"]["old"] == found[1]["facts"]["new"]
    table = change("audit", "-n", "1").stdout
    assert "data_set.make" in table
    assert "other" in table


def test_since_leaves_out_what_is_older(change: Run) -> None:
    assert json.loads(change("audit", "--json", "--since", "2100-01-01").stdout) == []
    assert "no such line" in change("audit", "--since", "2100-01-01").stderr


def test_a_head_that_was_noted_is_found_again(change: Run) -> None:
    head = json.loads(change("audit", "--verify", "--json").stdout)["head"]
    change("tag", "data", "later")
    again = change("audit", "--verify", "--expect", head)
    assert again.exit_code == 0
    assert "1 came since" in again.stderr
    lost = change("audit", "--verify", "--expect", "ab" * 32)
    assert lost.exit_code == 1
    assert "no line has the head" in lost.stderr


def test_what_can_not_be_a_head_is_wrong_usage(change: Run) -> None:
    assert change("audit", "--verify", "--expect", "abc").exit_code == 2
    assert change("audit", "--expect", "ab" * 32).exit_code == 2
