"""log with paths, filters and a graph; reflog."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.trees import Tree
from tests.support.versions import Clock, commit
from tests.unit.cli.conftest import Run
from vfs.cli.graph import Graph
from vfs.cli.main import vfs
from vfs.clock import NS
from vfs.repo.repository import Repository

DAY_NS = 86_400 * NS


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Four versions, a day apart from 1970-01-02 on."""
    path = tmp_path / "store"
    clock = Clock(monkeypatch)
    trees: Sequence[Tree] = (
        {b"a": b"1", b"d": {b"x": b"1"}},
        {b"a": b"1", b"d": {b"x": b"22"}},
        {b"a": b"2", b"d": {b"x": b"22"}},
        {b"a": b"2", b"d": {}},
    )
    with Repository.create(path) as repo:
        repo.create_data_set("data")
        for number, tree in enumerate(trees, start=1):
            clock.now_ns = number * DAY_NS
            commit(repo, tree, message=f"Day {number}", tag=f"v{number}")
    return lambda *args: CliRunner().invoke(vfs, ["--store", str(path), *args])


def told(run: Run, *args: str) -> list[str]:
    result = run("log", "data", "--json", *args)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line)["message"][-1] for line in result.stdout.splitlines()]


def test_paths(days: Run) -> None:
    assert told(days) == ["4", "3", "2", "1"]
    assert told(days, "--", "a") == ["3", "1"]
    assert told(days, "--", "d/x") == ["4", "2", "1"]
    assert told(days, "-n", "2", "--", "d") == ["4", "2"]
    assert told(days, "--", "/") == ["4", "3", "2", "1"]
    missing = days("log", "data", "--", "none")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "no version had 'none'" in missing.stderr


def test_filters(days: Run) -> None:
    assert told(days, "--since", "1970-01-03T00:00Z", "--until", "1970-01-04") == ["3", "2"]
    assert told(days, "--grep", "day [13]") == ["3", "1"]
    assert told(days, "--author", "EXAMPLE.com", "-n", "1") == ["4"]
    assert told(days, "--author", "nobody") == []
    assert told(days, "--grep", "2", "--", "a") == []
    for wrong in (["--since", "soon"], ["--grep", "("], ["--graph", "--json"]):
        assert days("log", "data", *wrong).exit_code == 2


def test_stat(days: Run) -> None:
    lines = days("log", "data", "--oneline", "--stat").stdout.splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        "[1 deleted; -2 B]", "[1 modified; 0 B]", "[1 modified; +1 B]", "[2 added; +2 B]",
    ]  # fmt: skip
    assert "Change: 1 deleted; -2 B" in days("log", "data", "--stat").stdout
    record = json.loads(days("log", "data", "--stat", "--json", "-n", "1").stdout)
    assert record["changes"] == {
        "deleted": {"files": 1, "directories": 0, "old_bytes": 2, "new_bytes": 0}
    }


def test_graph_of_a_line(days: Run) -> None:
    lines = days("log", "data", "--graph", "--oneline").stdout.splitlines()
    assert [line[:2] for line in lines] == ["* "] * 4
    long = days("log", "data", "--graph", "-n", "2").stdout.splitlines()
    assert long[0].startswith("* commit ")
    assert long[1].startswith("| Author: ")


def draw(*versions: tuple[str, str]) -> str:
    graph = Graph()
    lines = []
    for version, parents in versions:
        own, *rest = graph.rows(version, list(parents), shown=True)
        lines += [f"{own} {version}", *rest]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("versions", "drawn"),
    [
        ("mab bc ac c", "* m\n|\\\n| * b\n* | a\n|/\n* c"),
        ("mabd dc bc ac c", "* m\n|\\\n|\\ \\\n| | * d\n| * | b\n| |/\n* | a\n|/\n* c"),
        ("xa yb za b a", "* x\n| * y\n| | * z\n|_|/\n| * b\n* a"),
        ("xab ya ab b", "* x\n|\\\n| | * y\n|_|/\n* | a\n|/\n* b"),
        ("a b", "* a\n* b"),
    ],
)
def test_graph(versions: str, drawn: str) -> None:
    assert draw(*((word[0], word[1:]) for word in versions.split())) == drawn


def test_a_graph_of_any_history() -> None:
    """Each row has a star in the lane that the rows before lead to, and no lane is left over."""
    for seed in range(200):
        chance = random.Random(seed)
        count = chance.randint(1, 25)
        graph = Graph()
        for number in range(count):
            older = range(number + 1, count)
            parents = chance.sample(older, min(len(older), chance.choice((1, 1, 1, 2, 3))))
            before = len(graph.padding().split())
            rows = graph.rows(number, parents, shown=True)
            assert rows[0].count("*") == 1
            assert len(rows[0].split()) in (before, before + 1)
        assert graph.padding() == ""


def test_reflog(days: Run) -> None:
    lines = days("reflog", "data").stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [f"Day {n}" for n in (4, 3, 2, 1)]
    found = json.loads(days("reflog", "data@main", "--json").stdout)
    assert found[0]["old"] == found[1]["new"]
    assert found[-1]["old"] is None
    assert days("tag", "data", "v1", "--delete").exit_code == 0
    assert days("reflog", "data@v1").stdout.startswith("deleted ")
    never = days("reflog", "data@man")
    assert never.exit_code == 1
    assert "did you mean 'main'?" in never.stderr
