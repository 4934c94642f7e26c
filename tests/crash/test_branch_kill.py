"""A branch's process is killed at any moment of a load: what was confirmed is there, and in order.

The tree is what the first so many steps of the load leave, all of those that were confirmed among
them. VFS_TEST_KILLS says how often that is tried.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from tests.support.branch import Branch, a_branch
from tests.support.branch_kill import kill_server
from tests.support.branch_pair import check_committed
from tests.support.branch_steps import LOST, Progress, Step, Steps, make_start, perform
from tests.support.mounting import ROOT, wait_until
from tests.support.tree_ops import Facts, differences, tree_of

pytestmark = [pytest.mark.mounted, pytest.mark.crash, pytest.mark.slow]

KILLS = int(os.environ.get("VFS_TEST_KILLS", "8"))
PAGE = 4096
SIZE, MTIME, CONTENT = 5, 6, 8  # of what tree_of says


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[Branch]:
    if os.geteuid() != 0:
        pytest.skip("only root can do all of it")
    for turn in range(KILLS):
        make_start(tmp_path / f"source/{turn}")
    with a_branch(tmp_path, tmp_path / "source") as branch:
        branch.mount()
        yield branch
        branch.unmount()


def test_killed_at_any_moment(branch: Branch, tmp_path: Path) -> None:
    moments = random.Random()
    for turn in range(KILLS):
        seed = moments.randrange(2**32)
        ours, theirs = branch.mountpoint / f"{turn}", tmp_path / f"reference/{turn}"
        make_start(theirs)
        # Every 1.5 s there is a checkpoint that nobody waits for.
        seconds = moments.uniform(0, moments.choice((0.05, 0.3, 2.5)))
        with load(ours, seed, tmp_path / f"progress{turn}") as child:
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
                raise AssertionError(f"turn {turn}: the load ended: {child.communicate()[1]}")
            if turn % 4:
                kill_server(branch)
            else:
                branch.kill()
                branch.mount()
            _, said = child.communicate(timeout=60)
            # A page that was mapped when its server went is a bus error.
            assert child.returncode in (LOST, -signal.SIGBUS), said
        progress = Progress.read(tmp_path / f"progress{turn}")
        try:
            found = check_prefix(ours, theirs, seed, progress)
        except AssertionError as exc:
            raise AssertionError(
                f"turn {turn}, seed {seed}, {seconds} s, {progress}: {exc}"
            ) from exc
        print(f"turn {turn}: {progress}, found {found}")
        changed = branch.vfs("status", "data@main").stdout
        assert bool(changed) == (found > 0)
        branch.commit(f"turn {turn}")
        check_committed(branch, ours)
        branch.vfs("fsck")


@contextmanager
def load(directory: Path, seed: int, progress: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the steps in another process; the first has begun."""
    progress.write_bytes(bytes(24))
    script = "tests.support.branch_steps"
    child = subprocess.Popen(
        [sys.executable, "-m", script, directory, progress, str(seed)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: Progress.read(progress).begun)
        yield child
    finally:
        child.kill()
        child.communicate()


def check_prefix(ours: Path, theirs: Path, seed: int, progress: Progress) -> float:
    """Make the steps on ext4 until both are the same; return how many that were.

    The last may be there in part: a half.
    """
    found = tree_of(ours)
    steps = islice(Steps(seed), progress.begun)
    for step in islice(steps, progress.confirmed):
        make(theirs, step)
    nearest = differences(found, tree_of(theirs))
    for number in range(progress.confirmed, progress.begun):
        if not nearest:
            return number
        step = next(steps)
        before, old = tree_of(theirs), content(theirs, step)
        make(theirs, step)
        after = tree_of(theirs)
        nearest = min(nearest, differences(found, after), key=len)
        if number == progress.done and step.writes and nearest:
            new = content(theirs, step)
            if is_part(found, before, after, step) and is_mix(content(ours, step), old, new, step):
                return number + 0.5
    assert not nearest, "no state it was in; the nearest differs in\n" + "\n".join(nearest)
    return progress.begun


def make(directory: Path, step: Step) -> None:
    here = Path.cwd()
    os.chdir(directory)
    try:
        perform(step)
    finally:
        os.chdir(here)


def content(directory: Path, step: Step) -> bytes:
    path = directory / step.path
    return path.read_bytes() if step.writes and path.is_file() else b""


def is_part(found: Facts, before: Facts, after: Facts, step: Step) -> bool:
    """Say whether all but the data is as before or after the step."""
    if found.keys() != after.keys():
        return False
    file = after[step.path][-1]  # by the name that stands for all of its names
    above = os.path.dirname(step.path)
    for path, facts in found.items():
        if path == above:
            good = facts in (before[path], after[path])
        elif after[path][-1] == file:
            data = (SIZE, MTIME, CONTENT)
            good = without(facts, data) == without(after[path], data)
            good &= facts[MTIME] in (after[path][MTIME], before.get(path, after[path])[MTIME])
        else:
            good = facts == after[path]
        if not good:
            return False
    return True


def without(facts: tuple[object, ...], indices: tuple[int, ...]) -> list[object]:
    return [fact for index, fact in enumerate(facts) if index not in indices]


def is_mix(found: bytes, old: bytes, new: bytes, step: Step) -> bool:
    """Say whether each page is the old or the new one, as far as the file has grown."""
    if not len(old) <= len(found) <= len(new):
        return False
    old = old.ljust(len(new), b"\0")
    # The kernel may send a page of memory while it is being written to.
    unit = 1 if step.verb == "map_write" else PAGE
    for start in range(0, len(found), unit):
        end = min(start + unit, len(found))
        if found[start:end] not in (old[start:end], new[start:end]):
            return False
    return True
