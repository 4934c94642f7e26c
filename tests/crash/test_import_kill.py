"""An import that is killed, or interrupted, at any moment leaves nothing that shows."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.import_trees import tree_in_store, tree_on_disk
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash]

KILLS = int(os.environ.get("VFS_TEST_KILLS", "12"))

# Says when it begins to read, so that moments are counted from there.
CHILD = """
import sys
from pathlib import Path
from vfs.model.names import parse_target
from vfs.repo.importer import ImportOptions, import_source
from vfs.repo.repository import Repository

with Repository.open(Path(sys.argv[1])) as repo:
    print("ready", flush=True)
    options = ImportOptions(message="killed")
    import_source(repo, Path(sys.argv[2]), parse_target(sys.argv[3]), options)
    print("done", flush=True)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    shuffle = random.Random(1)
    source = tmp_path / "source"
    for directory in range(20):
        (source / f"{directory}").mkdir(parents=True)
        for file in range(60):
            (source / f"{directory}/{file}").write_bytes(shuffle.randbytes(5000))
    (source / "large").write_bytes(shuffle.randbytes(30 << 20))
    os.link(source / "large", source / "linked")
    return source


def test_kill_at_random_moments(tmp_path: Path, source: Path) -> None:
    store = tmp_path / "store"
    shuffle = random.Random()
    with Repository.create(store) as repo:
        repo.create_data_set("data")
        (tmp_path / "first").mkdir()
        (tmp_path / "first/file").write_bytes(b"old version")
        first = import_source(
            repo, tmp_path / "first", parse_target("data"), ImportOptions(message="1")
        )
        old = tree_in_store(repo, repo.commit(first.commit).root)
    for turn in range(KILLS):
        data_set = f"data{turn}"
        with Repository.open(store) as repo:
            repo.create_data_set(data_set)
        child = start(store, source, data_set)
        try:
            child.wait(timeout=shuffle.uniform(0, 0.6))
        except subprocess.TimeoutExpired:
            child.send_signal(shuffle.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]))
        out, _ = child.communicate(timeout=60)
        with Repository.open(store) as repo:
            repo.store.check_readers()
            assert tree_in_store(repo, repo.commit(first.commit).root) == old
            refs = repo.refs(data_set)
            assert refs or b"done" not in out
            for ref in refs:
                assert tree_in_store(repo, repo.commit(ref.commit).root) == tree_on_disk(source)
            # The same import succeeds, whatever the killed one left.
            options = ImportOptions(message="again")
            result = import_source(repo, source, parse_target(data_set), options)
            assert tree_in_store(repo, repo.commit(result.commit).root) == tree_on_disk(source)


def test_an_interrupt_ends_promptly(tmp_path: Path, source: Path) -> None:
    store = tmp_path / "store"
    with Repository.create(store) as repo:
        repo.create_data_set("data")
    child = start(store, source, "data")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    with Repository.open(store) as repo:
        if child.returncode:
            assert not repo.refs("data")


def start(store: Path, source: Path, data_set: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, store, source, data_set],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child
