"""Specifications: what they say, and where an error is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vfs.errors import InvalidInput
from vfs.pipeline.chain import check, upstream
from vfs.pipeline.cron import Cron
from vfs.pipeline.spec import Atom, Combined, Spec, parse_spec, read_spec

BASE: dict[str, Any] = {
    "name": "edges",
    "command": ["python3", "edges.py"],
    "input": {"data": "images", "glob": "/*"},
}
TOML = """
name = "edges"
command = ["python3", "edges.py"]
output = "results@edges"
timeout = "10 min"
parallelism = 4

[input]
data = "images@raw"
glob = "/*.png"

[resources]
memory = "2 GiB"

[trigger]
commits = 3
"""
YAML = """
name: edges
command: [python3, edges.py]
output: results@edges
timeout: 10 min
parallelism: 4
input: {data: images@raw, glob: "/*.png"}
resources: {memory: 2 GiB}
trigger: {commits: 3}
"""


def parse(**changes: Any) -> Spec:
    return parse_spec({**BASE, **changes})


def test_toml_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "a.yaml").write_text(YAML)
    spec = read_spec(tmp_path / "a.toml")
    (tmp_path / "a.json").write_text(json.dumps(dict(spec.document)))
    others = [read_spec(tmp_path / name) for name in ("a.yaml", "a.json")]
    assert [dict(other.document) for other in others] == [dict(spec.document)] * 2
    assert (spec.data_set, spec.branch, spec.timeout_s) == ("results", "edges", 600)
    assert (spec.memory, spec.trigger.commits, spec.tries) == (2 << 30, 3, 3)
    assert spec.directory == str(tmp_path)
    assert isinstance(spec.input, Atom)
    assert (spec.input.data_set, spec.input.branch, spec.input.name) == ("images", "raw", "images")
    assert parse_spec(spec.document).transform() == spec.transform()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"comand": 1}, "the specification has an unknown key 'comand'"),
        ({"name": ""}, "the specification.name is a text"),
        ({"name": "-x"}, "'-x' can't name a data set"),
        ({"command": "ls"}, "command has to be a list of texts"),
        ({"command": []}, "command has to be a program"),
        ({"input": {"data": "images"}}, "the specification.input.glob is missing"),
        ({"input": {"data": "images", "glob": "/(a"}}, "input can't be used"),
        ({"input": {"cross": []}}, "input.cross has to be a list"),
        ({"input": {"cross": [{"data": "a", "glob": "/", "x": 1}]}}, "cross[0] has an unknown"),
        ({"input": {"cross": [{"data": "a", "glob": "/"}] * 2}}, "two inputs called 'a'"),
        ({"input": {"join": [{"data": "a", "glob": "/*"}]}}, "join[0].join_on is missing"),
        (
            {"input": {"join": [{"data": "a", "glob": "/(*)", "join_on": "$2"}]}},
            "join_on names a group that '/(*)' has not",
        ),
        ({"input": {"group": [{"cross": []}]}}, "a cross, which can't stand in a group"),
        ({"output": "images"}, "writes to images@main, which it reads"),
        ({"timeout": "soon"}, 'timeout has to be like "90 s"'),
        ({"resources": {"memory": "a lot"}}, "resources.memory has to be like"),
        ({"tries": 0}, "tries has to be an integer of at least 1"),
        ({"tries": True}, "tries has to be an integer of at least 1"),
        ({"env": {"A": 1}}, "env has to be a table of texts"),
        ({"sandbox": "jail"}, 'sandbox has to be "bubblewrap"'),
        ({"image": "x"}, "image stands with sandbox"),
        ({"trigger": {"cron": "* * *"}}, "trigger.cron '* * *' has 3 fields"),
        ({"trigger": {"cron": "61 * * * *"}}, "'61' can't stand in a cron time"),
        ({"trigger": 3}, "the specification.trigger is a number"),
    ],
)
def test_an_error_says_where_and_what(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(**changes)
    assert problem in str(caught.value)


def test_a_file_that_is_no_toml_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "x"\ncommand = = 1\n')
    with pytest.raises(InvalidInput, match=r"a\.toml can't be read: .*line 2"):
        read_spec(tmp_path / "a.toml")


def test_inputs_nest() -> None:
    one, two = ({"data": name, "glob": "/*"} for name in "ab")
    spec = parse(input={"union": [{"cross": [one, two]}, {"data": "c", "glob": "/"}]})
    assert isinstance(spec.input, Combined)
    assert [atom.name for atom in spec.atoms()] == ["a", "b", "c"]


def test_pipelines_that_would_never_be_done_are_refused() -> None:
    one = parse(output="x")
    with pytest.raises(InvalidInput, match="'edges' writes to x@main already"):
        check(parse(name="other", output="x"), [one])
    chain = [one, parse(name="b", input={"data": "x", "glob": "/"})]
    assert upstream(chain) == {"edges": set(), "b": {"edges"}}
    with pytest.raises(InvalidInput, match="what 'edges' reads would be made from what it writes"):
        check(parse(output="x", input={"data": "b", "glob": "/"}), chain)


@pytest.mark.parametrize(
    ("cron", "after", "wanted"),
    [
        ("* * * * *", "2026-11-24T01:02:30", "2026-11-24T01:03:00"),
        ("*/15 * * * *", "2026-11-24T01:45:00", "2026-11-24T02:00:00"),
        ("30 3 * * mon-fri", "2026-11-27T04:00:00", "2026-11-30T03:30:00"),
        ("0 0 1 * 0", "2026-11-24T00:00:00", "2026-11-29T00:00:00"),
        ("0 0 29 feb *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("@monthly", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("0 0 * * 7", "2026-11-24T00:00:00", "2026-11-29T00:00:00"),
    ],
)
def test_cron(cron: str, after: str, wanted: str) -> None:
    from datetime import UTC, datetime

    start = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    end = datetime.fromisoformat(wanted).replace(tzinfo=UTC).timestamp()
    assert Cron(cron).next(start) == end


def test_a_day_that_never_comes() -> None:
    assert Cron("0 0 31 2 *").next(0) is None
