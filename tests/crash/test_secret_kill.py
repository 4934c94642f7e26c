"""Killed at any write of a change of what opens a remote: the old secret opens it, or the new."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.stores import run_child, start_child
from vfs.errors import RemoteProblem
from vfs.remote.files import FileBucket
from vfs.remote.remote import Remote
from vfs.remote.secrets import Secret
from vfs.remote.unlocking import Lock

pytestmark = pytest.mark.crash

OLD = Lock(lambda _: Secret("key file", bytes(32)), required=True)
NEW = Lock(lambda _: Secret("key file", bytes(31) + b"x"))

CHANGE = """
import sys
from pathlib import Path
from tests.support.remotes import DyingBucket
from vfs.remote.files import FileBucket
from vfs.remote.keys import change_secret
from vfs.remote.secrets import Secret

place, calls = Path(sys.argv[1]), int(sys.argv[2])
old, new = Secret("key file", bytes(32)), Secret("key file", bytes(31) + b"x")
bucket = DyingBucket(FileBucket(place), calls, calls=("put", "delete"))
change_secret(bucket, lambda _: old, lambda _: new)
print(bucket.count)
"""


def opens(place: Path, lock: Lock) -> bool:
    try:
        Remote.connect(FileBucket(place), store=None, lock=lock)
    except RemoteProblem:
        return False
    return True


def test_killed_at_any_write(tmp_path: Path) -> None:
    made, whole = tmp_path / "made", tmp_path / "whole"
    Remote.connect(FileBucket(made), store=None, make=True, lock=OLD)
    shutil.copytree(made, whole)
    calls = int(run_child(CHANGE, whole, 10**9))
    assert calls == 4  # a put and a delete, before and after
    assert (opens(whole, OLD), opens(whole, NEW)) == (False, True)
    for at in range(1, calls + 1):
        killed = tmp_path / f"killed-{at}"
        shutil.copytree(made, killed)
        child = start_child(CHANGE, killed, at)
        child.communicate(timeout=60)
        assert child.returncode == -9
        assert opens(killed, OLD) != opens(killed, NEW)
        assert opens(killed, NEW) == (at > 1)
        if opens(killed, OLD):
            run_child(CHANGE, killed, 10**9)
        assert opens(killed, NEW)
