"""Transactions of the Python client against a model: a tree of dictionaries."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs import Client, Transaction, Version
from vfs.errors import (
    InvalidName,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    VfsError,
)

EXAMPLES = int(os.environ.get("VFS_TEST_TRANSACTIONS", "40"))

Tree = dict[str, Any]  # a name to bytes, or to a Tree

NAMES = st.sampled_from("ab")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, st.binary(max_size=3)),
    st.tuples(st.just("remove"), PATHS, st.booleans()),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("copy"), PATHS, PATHS),
    st.tuples(st.just("mkdir"), PATHS, st.none()),
)
Step = tuple[str, str, Any]


def find(tree: Tree, path: str) -> Any:
    here: Any = tree
    for name in path.split("/"):
        if not isinstance(here, dict):
            raise NotADirectory(path)
        if name not in here:
            raise NotFound(path)
        here = here[name]
    return here


def put(tree: Tree, path: str, what: Any) -> None:
    *above, last = path.split("/")
    here = tree
    for name in above:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            raise NotADirectory(path)
    here[last] = what


def remove(tree: Tree, path: str) -> None:
    *above, last = path.split("/")
    here = find(tree, "/".join(above)) if above else tree
    del here[last]


def is_within(path: str, top: str) -> bool:
    return f"{path}/".startswith(f"{top}/")


def do(tree: Tree, step: Step) -> None:
    """Do a step to the model, or raise what the transaction is to raise."""
    what, path, rest = step
    if what == "write":
        try:
            if isinstance(find(tree, path), dict):
                raise IsADirectory(path)
        except NotFound:
            pass
        put(tree, path, rest)
    elif what == "remove":
        found = find(tree, path)
        if isinstance(found, dict) and found and not rest:
            raise NotEmpty(path)
        remove(tree, path)
    elif what in ("move", "copy"):
        if is_within(rest, path) or (what == "move" and is_within(path, rest)):
            raise InvalidName(path)
        put(tree, rest, copy.deepcopy(find(tree, path)))
        if what == "move":
            remove(tree, path)
    else:
        try:
            found = find(tree, path)
        except NotFound:
            put(tree, path, {})
        else:
            if not isinstance(found, dict):
                raise NotADirectory(path)


def attempt(new: Transaction, step: Step) -> None:
    what, path, rest = step
    action: Callable[[], None] = {
        "write": lambda: new.write_bytes(path, rest),
        "remove": lambda: new.remove(path, recursive=bool(rest)),
        "move": lambda: new.move(path, rest),
        "copy": lambda: new.copy(path, rest),
        "mkdir": lambda: new.mkdir(path),
    }[what]
    action()


def tree_of(version: Version | Transaction, path: str = "") -> Tree:
    return {
        info.name: tree_of(version, info.path) if info.is_dir else version.read_bytes(info.path)
        for info in version.ls(path)
    }


@settings(max_examples=EXAMPLES)
@given(st.lists(st.lists(STEPS, max_size=12), min_size=1, max_size=3))
def test_transactions_do_what_the_model_does(versions: list[list[Step]]) -> None:
    model: Tree = {}
    with tempfile.TemporaryDirectory() as home, ExitStack() as undo:
        client = Client.create(Path(home) / "store")
        undo.callback(client.close)
        client.create_data_set("data")
        for steps in versions:
            with client.commit("data", "x") as new:
                for step in steps:
                    before = copy.deepcopy(model)
                    try:
                        do(model, step)
                    except VfsError:
                        model = before
                        with pytest.raises(VfsError):
                            attempt(new, step)
                    else:
                        attempt(new, step)
                    assert tree_of(new) == model, step
            if "main" in [ref.name for ref in client.refs("data")]:
                assert tree_of(client.open("data")) == model
