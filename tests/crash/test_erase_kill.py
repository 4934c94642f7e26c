"""An erase that is killed at any moment can be finished, and nothing else is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.erasing import all_blocks, contents, has_marker, make_store, quiet
from tests.support.stores import finish, start_child
from vfs.repo.erasing import Query, carry_out, make_plan, resume
from vfs.repo.fsck import check_store
from vfs.repo.repository import Repository

pytestmark = [pytest.mark.crash]

KILLS = int(os.environ.get("VFS_TEST_ERASE_KILLS", "6"))
PATHS = ("people/**/jane*",)

# Small transactions, so that there are many moments between them.
CHILD = """
import sys
from pathlib import Path
from tests.support.erasing import quiet
from vfs.repo.erasing import Query, carry_out, make_plan
from vfs.repo.repository import Repository
from vfs.store import erasures, rewriting

erasures.MARKED_AT_ONCE = 2
rewriting.BATCH_SEGMENTS = 1
with Repository.open(Path(sys.argv[1])) as repo:
    query = Query(reason="killed", data_set="data", paths=("people/**/jane*",))
    plan = make_plan(repo, query, quiet)
    print("ready", flush=True)
    carry_out(repo, plan, quiet)
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("erase-kill")
    make_store(directory / "store", directory / "source")
    return directory / "store"


def duration(prepared: Path, scratch: Path) -> float:
    """Return how long the part takes that is to be killed."""
    shutil.copytree(prepared, scratch)
    child = start_child(CHILD, scratch)
    assert child.stdout is not None
    child.stdout.readline()
    begun = time.monotonic()
    finish(child)
    shutil.rmtree(scratch)
    return time.monotonic() - begun


def test_kill_at_random_moments(prepared: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    longest = duration(prepared, tmp_path / "timed")
    with Repository.open(prepared) as repo:
        before = contents(repo)
    moments = []
    for turn in range(KILLS):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(prepared, store)
        child = start_child(CHILD, store)
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(timeout=random.uniform(0, longest))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
        report = check_store(store, data=True)
        assert report.damages == [], turn
        moments.append(report.counts.get("erased objects not yet overwritten", 0))
        with Repository.open(store) as repo:
            repo.store.check_readers()
            assert contents(repo) == before
            if resume(repo, quiet) is None and report.counts.get("erased objects", 0) == 0:
                query = Query(reason="again", data_set="data", paths=PATHS)
                carry_out(repo, make_plan(repo, query, quiet), quiet)
            assert contents(repo) == before
            assert not has_marker(all_blocks(repo))
            assert not has_marker((store / "data.mdb").read_bytes())
            assert repo.store.erasures.unfinished() is None
            assert repo.store.audit.verify().problems == ()
        report = check_store(store, data=True)
        assert report.damages == []
        assert report.counts.get("erased objects not yet overwritten", 0) == 0


def test_two_at_once_finish_the_same(prepared: Path, tmp_path: Path) -> None:
    """One goes on with what was begun; the other one is told so, or finds it done."""
    store = tmp_path / "store"
    shutil.copytree(prepared, store)
    with Repository.open(store) as repo:
        before = contents(repo)
        query = Query(reason="begun", data_set="data", paths=PATHS)
        repo.store.erasures.begin(query.facts(), time_ns=1, who="w")
    resuming = CHILD.replace(
        CHILD[CHILD.index("    query =") :],
        "    from vfs.repo.erasing import resume\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    from vfs.errors import Conflict\n"
        "    try:\n"
        "        resume(repo, quiet)\n"
        "    except Conflict as error:\n"
        "        assert 'removes something' in str(error)\n",
    )
    both = [start_child(resuming, store) for _ in range(2)]
    for child in both:
        assert child.stdout is not None
        child.stdout.readline()
    for child in both:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in both:
        finish(child)
    with Repository.open(store) as repo:
        assert contents(repo) == before
        assert not has_marker(all_blocks(repo))
        ends = [line.action for _, line in repo.store.audit.lines()].count("erase.end")
        assert ends == 1
    assert check_store(store, data=True).damages == []
