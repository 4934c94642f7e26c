"""What is recorded of a run, and what never is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs.errors import InvalidInput, InvalidName, NotFound
from vfs.model.names import Target
from vfs.run.environment import TOTAL_MAX_BYTES, VALUE_MAX_BYTES, is_secret, passed, recorded
from vfs.run.inputs import Wanted, check_names, parse_input
from vfs.run.logs import FILES_KEPT, TAIL_BYTES, RunLog, ids, log_path
from vfs.run.record import COMMAND_MAX_BYTES, RECORD_MAX_BYTES, bounded, check_command


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("HF_TOKEN", "x"),
        ("WANDB_API_KEY", "x"),
        ("db_password", "x"),
        ("PGPASSWORD", "x"),
        ("SENTRY_DSN", "x"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("DATABASE_URL", "postgres://ada:hush@db/models"),
        ("CERT", "-----BEGIN RSA PRIVATE KEY-----\n..."),
    ],
)
def test_what_looks_like_a_secret_is_never_recorded(name: str, value: str) -> None:
    assert recorded({name: value}, [name]) == ({}, [name])
    assert passed({name: value}, [name], everything=False) == {name: value}


@pytest.mark.parametrize("name", ["KEYBOARD", "MONKEY", "COMPASS", "TZ", "OMP_NUM_THREADS"])
def test_what_only_sounds_like_one_is(name: str) -> None:
    assert not is_secret(name, "http://host:80/path")


def test_only_what_matters_or_is_asked_for_is_recorded_and_passed() -> None:
    there = {"TZ": "UTC", "EDITOR": "ed", "PATH": "/bin", "LC_TIME": "C", "RATE": "0.1"}
    assert recorded(there, ["RATE", "MISSING"]) == ({"RATE": "0.1", "TZ": "UTC"}, [])
    assert passed(there, ["RATE"], everything=False).keys() == there.keys() - {"EDITOR"}
    assert passed(there, [], everything=True) == there


@given(st.dictionaries(st.text("ABC", min_size=1), st.text("xé", max_size=VALUE_MAX_BYTES)))
def test_what_is_recorded_is_bounded(there: dict[str, str]) -> None:
    kept, withheld = recorded(there, there)
    assert sum(len((name + value).encode()) for name, value in kept.items()) <= TOTAL_MAX_BYTES
    assert kept.keys() | set(withheld) == there.keys()
    assert not kept.keys() & set(withheld)


def test_inputs_are_called_after_their_data_set_or_as_is_said() -> None:
    assert parse_input("data@v3:a=b") == Wanted("data", Target("data", "v3", (b"a=b",)))
    named = parse_input("my.set=data@v3")
    assert (named.target, named.variable) == (Target("data", "v3"), "VFS_IN_MY_SET")
    for wrong in ("=data", "a/b=data", "..=data", "data@"):
        with pytest.raises(InvalidName):
            parse_input(wrong)
    check_names([parse_input("data"), parse_input("x=data")])
    with pytest.raises(InvalidInput, match="data@v1 and data@v2"):
        check_names([parse_input("data@v1"), parse_input("data@v2")])
    with pytest.raises(InvalidInput):  # one variable
        check_names([parse_input("a.b=data"), parse_input("a-b=data")])


def test_a_record_that_is_too_long_lets_go_of_the_paths() -> None:
    facts = {"name": "x", "read": {"files": 1, "paths": ["p" * 100]}}
    small = {"kind": "run", "inputs": [facts]}
    assert bounded(small) is small
    many = {"kind": "run", "inputs": [{**facts, "read": {"files": 2, "paths": ["p" * 10**5]}}] * 9}
    result = bounded(many)
    assert len(repr(result)) < RECORD_MAX_BYTES < len(repr(many))
    assert all(one["read"] == {"files": 2, "paths": None} for one in result["inputs"])  # type: ignore[union-attr,index,call-overload]
    with pytest.raises(InvalidInput):
        check_command(["x" * COMMAND_MAX_BYTES])


def test_logs_are_bounded_in_number_and_have_the_end_of_what_was_written(tmp_path: Path) -> None:
    names = [f"20260101-000000-{number:06x}" for number in range(FILES_KEPT + 5)]
    for age, name in enumerate(names):
        with RunLog(tmp_path, name) as log:
            log.write(name.encode())
        os.utime(log.path, ns=(age, age))
    assert ids(tmp_path) == names[: -FILES_KEPT - 1 : -1]
    with pytest.raises(NotFound):
        log_path(tmp_path, names[0])
    with pytest.raises(NotFound):
        log_path(tmp_path, "../../secret")
    with RunLog(tmp_path, "20260101-000001-000000") as log:
        log.write(b"a" * 5)
        log.write(b"b" * TAIL_BYTES)
    assert log.facts()["bytes"] == TAIL_BYTES + 5
    assert log.facts()["tail"] == "b" * TAIL_BYTES
