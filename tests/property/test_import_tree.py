"""Any tree, imported, then changed at will and imported again, reads back as it is on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from tests.support.import_trees import tree_in_store, tree_on_disk
from vfs.model.names import parse_target
from vfs.repo.importer import (
    ImportOptions,
    assemble,
    import_source,
    index,
    names,
    pipeline,
    trust,
    walk,
)
from vfs.repo.repository import Repository

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"a.b", b"a-", b"ab", b"\xff", b"\xc3\xa9", b"A"]),
    st.binary(min_size=1, max_size=12).filter(
        lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
    ),
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
CONTENTS = st.one_of(
    st.binary(max_size=50),
    st.integers(0, 60).map(lambda n: bytes(range(256)) * 16 * n),
)
TIMES = st.integers(-(2**33) * 10**9, 2**33 * 10**9)
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("dir"), PATHS, st.none()),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("symlink"), PATHS, NAMES),
    st.tuples(st.just("fifo"), PATHS, st.none()),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("remove"), PATHS, st.none()),
    st.tuples(st.just("chmod"), PATHS, st.integers(0, 0o7777)),
    st.tuples(st.just("utime"), PATHS, TIMES),
    st.tuples(st.just("hole"), PATHS, st.integers(1, 1 << 20)),
)


def write(full: bytes, value: bytes) -> None:
    with open(full, "wb") as file:
        file.write(value)


def remove(full: bytes, _value: None) -> None:
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)
    else:
        os.unlink(full)


# "link" and "rename" get the whole path of where they lead.
ACTIONS: dict[str, Callable[[bytes, Any], object]] = {
    "write": write,
    "dir": lambda full, _: os.mkdir(full),
    "link": os.link,
    "symlink": lambda full, value: os.symlink(value, full),
    "fifo": lambda full, _: os.mkfifo(full),
    "rename": os.rename,
    "remove": remove,
    "chmod": os.chmod,
    "utime": lambda full, value: os.utime(full, ns=(0, value), follow_symlinks=False),
    "hole": os.truncate,
}


def step(root: bytes, kind: str, path: bytes, value: Any) -> None:
    """Do one thing to the tree; what the system refuses is not done."""
    full = root + b"/" + path
    if kind in {"link", "rename"}:
        value = root + b"/" + value
    with contextlib.suppress(OSError):
        if kind not in {"remove", "rename"}:
            os.makedirs(os.path.dirname(full), exist_ok=True)
        ACTIONS[kind](full, value)


# A fifo would block a write.
def is_safe(action: tuple[str, bytes, Any], root: bytes) -> bool:
    full = root + b"/" + action[1]
    return action[0] != "write" or not os.path.exists(full) or os.path.isfile(full)


@given(rounds=st.lists(st.lists(STEPS, max_size=12), min_size=1, max_size=4), small=st.booleans())
def test_import_again_and_again(rounds: list[list[tuple[str, bytes, Any]]], small: bool) -> None:
    with (
        tempfile.TemporaryDirectory() as base,
        mock.patch.multiple(
            index, RACY_NS=-(10**18), RACY_COARSE_NS=-(10**18), _SEGMENT_ENTRIES=3 if small else 256
        ),
        mock.patch.multiple(trust, KEEP_CTIME=trust.KEEP_CTIME | trust.SHOW_ANOTHERS),
        mock.patch.multiple(pipeline, BATCH_EVENTS=2 if small else 2048),
        mock.patch.multiple(assemble, EDITS_MAX=2 if small else 1024),
        mock.patch.multiple(
            walk,
            OPEN_DIRECTORIES_MAX=2 if small else 128,
            NameBudget=lambda: names.NameBudget(*((3, 2) if small else (500_000, 65_536))),
        ),
    ):
        source = Path(base) / "source"
        source.mkdir()
        root = os.fsencode(source)
        with Repository.create(Path(base) / "store") as repo:
            repo.create_data_set("data")
            target, options = parse_target("data"), ImportOptions(message="")
            for steps in rounds:
                for action in steps:
                    if is_safe(action, root):
                        step(root, *action)
                import_source(repo, source, target, options)
                commit = repo.commit(repo.resolve("data").commit)
                assert tree_in_store(repo, commit.root) == tree_on_disk(source)
                again = import_source(repo, source, target, options)
                assert (again.changed, again.bytes_read) == (False, 0)
            fresh = import_source(repo, source, target, ImportOptions(message="", checksum=True))
            assert not fresh.changed
