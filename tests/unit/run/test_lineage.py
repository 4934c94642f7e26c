"""Who made what a version holds, and what was made of it, on histories made up for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.versions import commit
from vfs.errors import NotFound
from vfs.ids import ObjectId
from vfs.repo.repository import Repository
from vfs.run.lineage import Makers, made_from, made_of

TREES = st.lists(
    st.dictionaries(
        st.sampled_from((b"a", b"b")),
        st.sampled_from((b"1", b"2"))
        | st.dictionaries(st.sampled_from((b"x", b"y")), st.sampled_from((b"1", b"2"))),
        max_size=2,
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with Repository.create(tmp_path_factory.mktemp("lineage") / "store") as made:
        yield made


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with Repository.create(tmp_path / "store") as made:
        for name in ("data", "models", "final"):
            made.create_data_set(name)
        yield made


def flat(tree: dict[bytes, Any], prefix: tuple[bytes, ...] = ()) -> dict[Any, bytes]:
    found: dict[Any, bytes] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, (*prefix, name))
        else:
            found[*prefix, name] = value
    return found


@given(TREES)
def test_the_makers_of_a_path_are_those_that_brought_its_files(
    shared: Repository, trees: list[dict[bytes, Any]]
) -> None:
    data_set = f"d{len(shared.data_sets())}"
    shared.create_data_set(data_set)
    made_by: dict[Any, ObjectId] = {}
    before: dict[Any, bytes] = {}
    for tree in trees:
        oid = commit(shared, tree, data_set=data_set).commit
        now = flat(tree)
        made_by = {
            path: made_by[path] if before.get(path) == value else oid for path, value in now.items()
        }
        before = now
    head = shared.resolve(data_set).commit
    for path in {(), *before, *(path[:1] for path in before)}:
        below = {oid for one, oid in made_by.items() if one[: len(path)] == path}
        assert set(Makers(shared).of(head, path)) == below, path


def run(repo: Repository, data_set: str, tree: dict[bytes, Any], *inputs: dict[str, Any]) -> Any:
    provenance = {"kind": "run", "version": 1, "inputs": list(inputs)}
    return commit(repo, tree, data_set=data_set, provenance=provenance).commit


def source(data_set: str, oid: ObjectId, path: str = "", **more: Any) -> dict[str, Any]:
    facts = {"name": data_set, "data_set": data_set, "revision": "main", "commit": oid.hex()}
    return {**facts, "path": path, **more}


def read(*paths: str, of: int = 9, files: int | None = None) -> dict[str, Any]:
    return {"files": len(paths) if files is None else files, "of": of, "paths": list(paths)}


def test_forth_and_back_through_runs(repo: Repository) -> None:
    first = commit(repo, {b"x": b"1", b"y": b"1"}).commit
    second = commit(repo, {b"x": b"1", b"y": b"2"}).commit
    model = run(repo, "models", {b"m": b"m"}, source("data", second))
    by_hand = commit(repo, {b"m": b"m", b"readme": b"r"}, data_set="models").commit
    final = run(repo, "final", {b"f": b"f"}, source("models", by_hand, "m"))
    lineage = made_from(repo, final, ())
    assert lineage.made_by == (final,)
    assert lineage.steps.keys() == {final, model, second, first}  # the README has no part in it
    assert [one.made_by for one in lineage.steps[model].sources] == [(second, first)]
    assert made_from(repo, by_hand, (b"readme",)).steps.keys() == {by_hand}
    with pytest.raises(NotFound):
        made_from(repo, final, (b"nothing",))

    back = made_of(repo, "data", second, ())
    assert [use.run for use in back.used_by] == [model]
    assert [use.run for use in back.steps[model].used_by] == [final]
    assert made_of(repo, "data", first, ()).used_by == []
    # The same record in another version was seen, too; another record of that name was not.
    assert [use.run for use in made_of(repo, "data", first, (b"x",)).used_by] == [model]
    assert made_of(repo, "data", first, (b"y",)).used_by == []


def test_paths_and_ledgers_say_who_saw_a_record(repo: Repository) -> None:
    data = commit(repo, {b"d": {b"x": b"1", b"y": b"2"}, b"z": b"3"}).commit

    def users(*path: bytes) -> list[tuple[ObjectId, bool | None]]:
        return [(use.run, use.read) for use in made_of(repo, "data", data, path).used_by]

    below = run(repo, "models", {b"m": b"1"}, source("data", data, "d"))
    exact = run(repo, "models", {b"m": b"2"}, source("data", data, "d", read=read("x")))
    whole = run(repo, "models", {b"m": b"3"}, source("data", data, read=read("d/y")))
    every = run(repo, "models", {b"m": b"4"}, source("data", data, read=read(of=3, files=3)))
    none = run(repo, "models", {b"m": b"5"}, source("data", data, read=read()))
    long = {"files": 5, "of": 9, "paths": None}
    unnamed = run(repo, "models", {b"m": b"6"}, source("data", data, read=long))
    assert set(users(b"d", b"x")) == {(below, None), (exact, True), (every, True), (unnamed, None)}
    assert set(users(b"d", b"y")) == {(below, None), (whole, True), (every, True), (unnamed, None)}
    assert set(users(b"z")) == {(every, True), (unnamed, None)}
    assert none not in dict(users())
    assert len(users(b"d")) == 5
